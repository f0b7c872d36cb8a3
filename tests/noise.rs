//! The noise is Gaussian, has the requested variance, and never repeats.

use std::collections::HashSet;

use burn_dp::Result;
use burn_dp::noise::{add_gaussian, gaussian};
use burn_dp::seed::{Domain, Seed, SeedSource};
use rayon::ThreadPoolBuilder;
use statrs::distribution::{ContinuousCDF, Normal};

const MILLION: usize = 1_000_000;

/// Noise of one block is drawn from one region of the keystream (`BLOCK` in
/// `src/noise/gaussian.rs`).
const BLOCK: usize = 1 << 14;

#[test]
fn a_million_scalars_pass_the_kolmogorov_smirnov_test() -> Result<()> {
    let distance = kolmogorov_distance(standard(&Seed::reproducible(20), 0, 0, MILLION)?);
    // P(D > 1.95 / sqrt(n)) = 0.001 (Kolmogorov 1933).
    assert!(distance < 1.95 / 1e3, "D = {distance}");
    Ok(())
}

#[test]
fn the_kolmogorov_smirnov_test_finds_a_wrong_std_and_a_wrong_mean() -> Result<()> {
    let seed = Seed::reproducible(20);
    let scaled = gaussian(&seed, Domain::GradientNoise, 0, 0, MILLION, 1.02)?;
    assert!(kolmogorov_distance(scaled) > 1.95 / 1e3);
    let mut shifted = vec![0.01; MILLION];
    add_gaussian(&mut shifted, &seed, Domain::GradientNoise, 0, 0, 1.0)?;
    assert!(kolmogorov_distance(shifted) > 1.95 / 1e3);
    Ok(())
}

#[test]
fn a_million_scalars_have_the_moments_and_tails_of_a_gaussian() -> Result<()> {
    let noise = gaussian(&Seed::reproducible(21), Domain::GradientNoise, 4, 0, MILLION, 3.0)?;
    let moment = |power| {
        noise.iter().map(|&z| (f64::from(z) / 3.0).powi(power)).sum::<f64>() / MILLION as f64
    };
    // Var(z^k) is E z^2k - (E z^k)^2 = 1, 2, 15, 96 for k = 1..4; four standard errors each.
    for (power, expected, variance) in
        [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0_f64)]
    {
        let error = (moment(power) - expected).abs();
        assert!(error < 4.0 * (variance / MILLION as f64).sqrt(), "moment {power} off by {error}");
    }
    // The ziggurat draws |z| > 3.654 by a separate method.
    for threshold in [3.0, 3.654, 4.0] {
        let count = noise.iter().filter(|&&z| f64::from(z.abs()) > 3.0 * threshold).count() as f64;
        let expected = 2.0 * normal_cdf(-threshold) * MILLION as f64;
        let error = (count - expected).abs();
        assert!(error < 4.0 * expected.sqrt(), "{count} beyond {threshold}, not {expected}");
    }
    Ok(())
}

#[test]
fn noise_is_uncorrelated_across_tensors_steps_domains_children_and_reloads() -> Result<()> {
    const LEN: usize = 100_000;
    let seed = Seed::reproducible(22);
    let (os, reloaded) = (Seed::from_os()?, Seed::new(SeedSource::OperatingSystem)?);
    let releases = [
        ("base", standard(&seed, 0, 0, LEN)?),
        ("next tensor", standard(&seed, 0, 1, LEN)?),
        ("next step", standard(&seed, 1, 0, LEN)?),
        ("far step", standard(&seed, u64::MAX, 0, LEN)?),
        ("far tensor", standard(&seed, 0, u64::MAX, LEN)?),
        ("other domain", gaussian(&seed, Domain::CountNoise, 0, 0, LEN, 1.0)?),
        ("child", standard(&seed.child(0), 0, 0, LEN)?),
        ("other child", standard(&seed.child(1), 0, 0, LEN)?),
        ("next seed", standard(&Seed::reproducible(23), 0, 0, LEN)?),
        ("from the system", standard(&os, 0, 0, LEN)?),
        ("after a reload", standard(&reloaded, 0, 0, LEN)?),
        ("child from the system", standard(&os.child(0), 0, 0, LEN)?),
    ];
    for (i, (first, a)) in releases.iter().enumerate() {
        for (second, b) in &releases[i + 1..] {
            // Six standard errors: the system's seeds differ from run to run.
            let correlation = correlation(a, b) * (LEN as f64).sqrt();
            assert!(correlation.abs() < 6.0, "{first} and {second}: {correlation} standard errors");
        }
    }
    Ok(())
}

#[test]
fn blocks_of_one_tensor_neither_repeat_nor_correlate() -> Result<()> {
    let noise = standard(&Seed::reproducible(24), 0, 0, 20 * BLOCK)?;
    let blocks: Vec<&[f32]> = noise.chunks_exact(BLOCK).collect();
    for (i, a) in blocks.iter().enumerate() {
        for b in &blocks[i + 1..] {
            let correlation = correlation(a, b) * (BLOCK as f64).sqrt();
            assert!(correlation.abs() < 5.0, "{correlation} standard errors");
        }
    }
    // Four consecutive scalars are 96 random bits. They never occur twice, at any offset.
    let mut seen = HashSet::new();
    assert!(noise.windows(4).all(|w| seen.insert([w[0], w[1], w[2], w[3]].map(f32::to_bits))));
    Ok(())
}

#[test]
fn neighboring_scalars_are_uncorrelated() -> Result<()> {
    let noise = standard(&Seed::reproducible(25), 0, 0, 200_000)?;
    for lag in [1, 2, 3, 4, 8, 16, 32, 64, BLOCK] {
        let n = noise.len() - lag;
        let correlation = correlation(&noise[..n], &noise[lag..]) * (n as f64).sqrt();
        assert!(correlation.abs() < 4.5, "lag {lag}: {correlation} standard errors");
    }
    Ok(())
}

#[test]
fn noise_does_not_depend_on_the_number_of_threads() -> Result<()> {
    let draw = || standard(&Seed::reproducible(26), 3, 1, 5 * BLOCK + 11);
    let expected = draw()?;
    for threads in [1, 2, 3, 8] {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        assert_eq!(pool.install(draw)?, expected, "{threads} threads");
    }
    Ok(())
}

#[test]
fn a_reproducible_run_that_resumes_equals_an_uninterrupted_one() -> Result<()> {
    let seed = Seed::reproducible(27);
    let uninterrupted: Vec<_> = (0..6).map(|t| standard(&seed, t, 0, 50)).collect::<Result<_>>()?;
    let resumed = Seed::new(seed.source())?;
    let tail: Vec<_> = (3..6).map(|t| standard(&resumed, t, 0, 50)).collect::<Result<_>>()?;
    assert_eq!(uninterrupted[3..], tail);
    Ok(())
}

#[test]
fn adding_noise_rounds_the_sum_once() -> Result<()> {
    let seed = Seed::reproducible(28);
    let noise = gaussian(&seed, Domain::GradientNoise, 0, 0, 1000, 0.5)?;
    let mut values = vec![100.0_f32; 1000];
    add_gaussian(&mut values, &seed, Domain::GradientNoise, 0, 0, 0.5)?;
    let unit = f64::from(f32::EPSILON) * 64.0;
    assert!(
        values
            .iter()
            .zip(&noise)
            .all(|(&value, &z)| { (f64::from(value) - 100.0 - f64::from(z)).abs() <= 0.51 * unit })
    );
    Ok(())
}

fn standard(seed: &Seed, step: u64, tensor: u64, len: usize) -> Result<Vec<f32>> {
    gaussian(seed, Domain::GradientNoise, step, tensor, len, 1.0)
}

/// sup |F_n - F| of the standard normal distribution.
fn kolmogorov_distance(mut noise: Vec<f32>) -> f64 {
    noise.sort_by(f32::total_cmp);
    let n = noise.len() as f64;
    noise.iter().enumerate().fold(0.0, |distance, (i, &z)| {
        let cdf = normal_cdf(f64::from(z));
        distance.max(cdf - i as f64 / n).max((i + 1) as f64 / n - cdf)
    })
}

fn normal_cdf(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let product = |x: &[f32], y: &[f32]| -> f64 {
        x.iter().zip(y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}
