//! Sampling is Poisson: every record enters every step independently, with probability q.

use std::collections::HashSet;

use burn_dp::Result;
use burn_dp::privacy::SamplingRate;
use burn_dp::sampling::PoissonSampler;
use burn_dp::seed::Seed;
use proptest::prelude::*;
use rayon::ThreadPoolBuilder;
use statrs::distribution::{Binomial, ChiSquared, ContinuousCDF, Discrete};

/// The records of one region of the keystream (`BLOCK` in `src/sampling/poisson.rs`).
const BLOCK: usize = 1 << 16;

#[test]
fn every_record_enters_with_the_sampling_rate() -> Result<()> {
    const STEPS: u64 = 4_000;
    let sampler = sampler(30, 0.1, 300)?;
    let mut counts = [0_u32; 300];
    for step in 0..STEPS {
        for record in sampler.sample(step) {
            counts[record] += 1;
        }
    }
    let (mean, variance) = (0.1 * STEPS as f64, 0.1 * 0.9 * STEPS as f64);
    let scores = counts.map(|count| (f64::from(count) - mean) / variance.sqrt());
    for (record, score) in scores.iter().enumerate() {
        assert!(score.abs() < 4.5, "record {record}: {score} standard deviations");
    }
    let chi_squared: f64 = scores.iter().map(|score| score * score).sum();
    assert_chi_squared(chi_squared, 300.0);
    Ok(())
}

#[test]
fn batch_sizes_are_binomial() -> Result<()> {
    const STEPS: u64 = 20_000;
    let sampler = sampler(31, 0.05, 100)?;
    let mut observed = [0_u32; 101];
    for step in 0..STEPS {
        observed[sampler.sample(step).len()] += 1;
    }
    let steps = STEPS as f64;
    let sizes = || observed.iter().enumerate().map(|(size, &n)| (size as f64, f64::from(n)));
    let mean = sizes().map(|(size, n)| size * n).sum::<f64>() / steps;
    let variance = sizes().map(|(size, n)| (size - mean).powi(2) * n).sum::<f64>() / steps;
    // Mean n q = 5 and variance n q (1 - q) = 4.75, each within four standard errors.
    assert!((mean - 5.0).abs() < 4.0 * (4.75 / steps).sqrt(), "mean {mean}");
    assert!((variance - 4.75).abs() < 4.0 * 4.75 * (2.2 / steps).sqrt(), "variance {variance}");

    let law = Binomial::new(0.05, 100).expect("a valid distribution");
    // Sizes above 13 are pooled, so that every class expects at least 10.
    let mut classes: Vec<(f64, f64)> =
        (0..14).map(|k| (f64::from(observed[k as usize]), law.pmf(k) * steps)).collect();
    let rest = classes.iter().fold((steps, steps), |(o, e), class| (o - class.0, e - class.1));
    classes.push(rest);
    let chi_squared = classes.iter().map(|(o, e)| (o - e).powi(2) / e).sum();
    assert_chi_squared(chi_squared, 14.0);
    Ok(())
}

#[test]
fn records_enter_independently_of_each_other_and_of_other_steps() -> Result<()> {
    const STEPS: usize = 20_000;
    let sampler = sampler(32, 0.3, 12)?;
    let included: Vec<[bool; 12]> = (0..STEPS as u64)
        .map(|step| {
            let batch = sampler.sample(step);
            core::array::from_fn(|record| batch.contains(&record))
        })
        .collect();
    let score = |pairs: &mut dyn Iterator<Item = (bool, bool)>| {
        let centered = |included: bool| f64::from(u8::from(included)) - 0.3;
        let (sum, n) =
            pairs.fold((0.0, 0.0), |(sum, n), (a, b)| (sum + centered(a) * centered(b), n + 1.0));
        sum / (0.21 * f64::sqrt(n))
    };
    for a in 0..12 {
        for b in 0..12 {
            for lag in [0, 1, 2] {
                if lag == 0 && a == b {
                    continue;
                }
                let pairs = included.iter().zip(&included[lag..]);
                let score = score(&mut pairs.map(|(now, later)| (now[a], later[b])));
                assert!(score.abs() < 4.5, "records {a}, {b}, lag {lag}: {score}");
            }
        }
    }
    Ok(())
}

#[test]
fn rate_zero_draws_nothing_and_rate_one_everything() -> Result<()> {
    for population in [0, 1, 1000, BLOCK, BLOCK + 1] {
        assert!(sampler(33, 0.0, population)?.sample(7).is_empty());
        assert_eq!(sampler(33, 1.0, population)?.sample(7), (0..population).collect::<Vec<_>>());
    }
    Ok(())
}

#[test]
fn small_rates_draw_empty_batches() -> Result<()> {
    let sampler = sampler(34, 1e-3, 100)?;
    let empty = (0..10_000).filter(|&step| sampler.sample(step).is_empty()).count() as f64;
    // 0.999^100 = 0.9048; four standard errors.
    assert!((empty / 1e4 - 0.999_f64.powi(100)).abs() < 4.0 * (0.9048 * 0.0952 / 1e4_f64).sqrt());
    Ok(())
}

#[test]
fn blocks_of_a_large_population_are_sampled_alike_and_independently() -> Result<()> {
    let population = 4 * BLOCK + 123;
    let batch = sampler(35, 0.01, population)?.sample(3);
    let mut offsets = HashSet::new();
    let mut repeated = 0;
    for block in 0..4 {
        let in_block = batch.iter().filter(|&&record| record / BLOCK == block);
        let count = in_block.clone().count() as f64;
        let (mean, std) = (655.36, 25.5);
        assert!((count - mean).abs() < 4.5 * std, "block {block} has {count} records");
        repeated += in_block.filter(|&&record| !offsets.insert(record % BLOCK)).count();
    }
    // Two blocks share 0.01 · 655 = 6.6 offsets by chance; the six pairs share about 39.
    assert!((15..65).contains(&repeated), "{repeated} offsets repeat");
    Ok(())
}

#[test]
fn batches_do_not_depend_on_the_number_of_threads() -> Result<()> {
    let sampler = sampler(36, 0.02, 3 * BLOCK + 1)?;
    let expected = sampler.sample(5);
    for threads in [1, 3, 8] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        assert_eq!(pool.install(|| sampler.sample(5)), expected, "{threads} threads");
    }
    Ok(())
}

#[test]
fn a_child_seed_samples_independently() -> Result<()> {
    let seed = Seed::reproducible(37);
    let rate = SamplingRate::new(0.5)?;
    let batches: Vec<HashSet<usize>> = [&seed, &seed.child(0), &seed.child(1)]
        .into_iter()
        .map(|seed| Ok(PoissonSampler::new(seed, rate, 10_000)?.sample(0).into_iter().collect()))
        .collect::<Result<_>>()?;
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let shared = batches[a].intersection(&batches[b]).count() as f64;
        assert!((shared - 2500.0).abs() < 4.5 * 43.3, "{shared} of 10,000 records shared");
    }
    Ok(())
}

#[test]
fn every_load_from_the_system_samples_anew() -> Result<()> {
    let rate = SamplingRate::new(0.5)?;
    let first = PoissonSampler::new(&Seed::from_os()?, rate, 256)?.sample(0);
    let second = PoissonSampler::new(&Seed::from_os()?, rate, 256)?.sample(0);
    assert_ne!(first, second);
    Ok(())
}

proptest! {
    #[test]
    fn batches_are_ascending_within_range_and_a_function_of_seed_and_step(
        number: u64, step: u64, q in 0.0..=1.0, population in 0_usize..2000,
    ) {
        let batch = sampler(number, q, population)?.sample(step);
        prop_assert!(batch.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(batch.last().is_none_or(|&last| last < population));
        prop_assert_eq!(&batch, &sampler(number, q, population)?.sample(step));
    }

    #[test]
    fn a_higher_rate_draws_a_superset_and_one_more_record_changes_no_other(
        number: u64, step: u64, q in 0.0..0.5, more in 0.0..0.5, population in 0_usize..1000,
    ) {
        let batch = sampler(number, q, population)?.sample(step);
        let higher: HashSet<usize> =
            sampler(number, q + more, population)?.sample(step).into_iter().collect();
        prop_assert!(batch.iter().all(|record| higher.contains(record)));
        let mut neighbor = sampler(number, q, population + 1)?.sample(step);
        neighbor.retain(|&record| record < population);
        prop_assert_eq!(batch, neighbor);
    }
}

fn sampler(seed: u64, q: f64, population: usize) -> Result<PoissonSampler> {
    PoissonSampler::new(&Seed::reproducible(seed), SamplingRate::new(q)?, population)
}

/// The upper tail at 1e-4. The seeds are fixed, so the result never changes.
fn assert_chi_squared(statistic: f64, freedom: f64) {
    let law = ChiSquared::new(freedom).expect("a valid distribution");
    let tail = 1.0 - law.cdf(statistic);
    assert!((1e-4..1.0 - 1e-4).contains(&tail), "chi-squared {statistic} of {freedom}: p = {tail}");
}
