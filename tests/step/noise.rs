//! Noise: once per step, of the planned size, never the same twice.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use burn_dp::DpOptimizer;
use burn_dp::privacy::{PrivacyPlan, SamplingRate};
use burn_dp::seed::Seed;

use crate::common::*;

#[test]
fn an_empty_poisson_batch_is_a_step_of_pure_noise_and_is_counted() {
    for (name, clipping) in clippings() {
        for path in PATHS {
            for rate in [0.0, 1e-300, 1e-9] {
                let rate = SamplingRate::new(rate).expect("a rate");
                let plan =
                    builder(clipping.clone(), 1.0).sampling_rate(rate).build().expect("valid");
                let mut optimizer = optimizer(plan.clone(), Reveal, path, 1);
                let mut previous = Vec::new();
                for taken in 1..=3 {
                    let sample = optimizer.sample(1000).expect("a sample");
                    assert!(sample.indices().is_empty());
                    let batch = sample.batches(8, |_| -> Records { unreachable!("no records") });
                    let mut model = Net::new(&device());
                    optimizer.step(1.0, &mut model, batch.expect("a batch")).expect("a step");
                    let noise = trainable(&model);
                    let size = norm(&noise) / (noise.len() as f64).sqrt();
                    let std = plan.noise_std(optimizer.clipping_state()) / DIVISOR;
                    assert!((0.6..1.5).contains(&(size / std)), "{name}, {path:?}: {size}");
                    assert_ne!(noise, previous);
                    previous = noise;
                    assert_eq!(optimizer.steps_taken().value(), taken);
                    assert_eq!(optimizer.ledger().entries(), [(plan.step_event(), taken)]);
                }
            }
        }
    }
}

#[test]
fn an_empty_batch_costs_as_much_as_a_full_one() {
    let plan = plan(flat(BOUND), 1.0);
    let mut full = optimizer(plan.clone(), Reveal, Path::Mixed, 1);
    let mut empty = optimizer(plan, Reveal, Path::Mixed, 2);
    step(&mut full, 1.0, &mut Net::new(&device()), &records(5, 1), 5).expect("a step");
    step(&mut empty, 1.0, &mut Net::new(&device()), &[], 5).expect("a step");
    let spent = full.epsilon(delta()).expect("a known event");
    assert_eq!(spent, empty.epsilon(delta()).expect("a known event"));
    assert!(spent.value() > 1.0);
}

#[test]
fn noise_is_added_once_whatever_the_number_of_physical_batches() {
    let data = records(8, 400);
    for (name, clipping) in clippings() {
        for path in PATHS {
            for physical in [1, 3, 8] {
                let released = |z| release(&plan(clipping.clone(), z), path, &data, physical);
                let noise: Vec<f64> =
                    released(1.0).iter().zip(released(0.0)).map(|(x, sum)| x - sum).collect();
                let expected = release(&plan(clipping.clone(), 1.0), path, &[], 1);
                let error = distance(&noise, &expected);
                assert!(error < 1e-4, "{name}, {path:?}, {physical}: {error}");
            }
        }
    }
}

#[test]
fn the_noise_std_is_that_of_the_plan_for_every_clipping() {
    for (name, clipping) in clippings_in([("first", 0.2), ("", 0.8)]) {
        for z in [0.5, 2.0] {
            let plan = plan(clipping.clone(), z);
            let std = plan.noise_std(&plan.clipping().initial_state());
            // The standard deviation that was accounted for, or more if a count takes its share.
            assert!(std >= z * BOUND && std <= 1.01 * z * BOUND, "{name}: {std}");
            let noise = wide_noise(&plan, 1, 1).remove(0);
            let measured = norm(&noise) / (noise.len() as f64).sqrt();
            // Four standard errors of a standard deviation.
            let error = 4.0 / (2.0 * noise.len() as f64).sqrt();
            assert!((measured / std - 1.0).abs() < error, "{name}, {z}: {measured} for {std}");
        }
    }
}

#[test]
fn noise_is_uncorrelated_across_tensors_steps_and_seeds() {
    let plan = plan(flat(1.0), 1.0);
    let mut streams = Vec::new();
    for seed in [1, 2] {
        for noise in wide_noise(&plan, seed, 3) {
            let (first, second) = noise.split_at(noise.len() / 2);
            streams.extend([first.to_vec(), second.to_vec()]);
        }
    }
    uncorrelated(&streams);
}

#[test]
fn a_run_resumed_from_a_system_seed_draws_fresh_noise() {
    let plan = plan(flat(1.0), 1.0);
    let wide = || Wide::new();
    let engine = || Path::Mixed.engine(Wide::loss);
    let mut run = DpOptimizer::new(plan.clone(), Reveal, engine()).expect("randomness");
    let checkpoint = run.to_checkpoint(&wide()).expect("a checkpoint");
    let mut streams = Vec::new();
    let mut take_step = |optimizer: &mut DpOptimizer<_>| {
        let mut model = wide();
        let batch = optimizer.vouch_for_poisson(Vec::<Tensor<2>>::new());
        optimizer.step(1.0, &mut model, batch).expect("a step");
        streams.push(trainable(&model));
    };
    take_step(&mut run);
    take_step(&mut run);
    for _ in 0..2 {
        let mut resumed = DpOptimizer::new(plan.clone(), Reveal, engine()).expect("randomness");
        resumed.resume(wide(), &checkpoint).expect("a checkpoint of this run");
        assert_eq!(resumed.steps_taken().value(), 0);
        take_step(&mut resumed);
    }
    // The same holds for the optimizer that wrote the checkpoint: its next step must not repeat its
    // first.
    run.resume(wide(), &checkpoint).expect("a checkpoint of this run");
    take_step(&mut run);
    uncorrelated(&streams);
}

/// Two tensors of one shape, enough for statistics.
#[derive(Module, Debug)]
struct Wide {
    first: Linear,
    second: Linear,
}

impl Wide {
    fn new() -> Self {
        let linear = || LinearConfig::new(100, 100).with_bias(false).init(&device());
        Self { first: linear(), second: linear() }
    }

    fn loss(&self, x: Tensor<2>) -> Tensor<1> {
        self.second.forward(self.first.forward(x)).mean()
    }
}

/// The releases of `steps` empty steps, times the divisor.
fn wide_noise(plan: &PrivacyPlan, seed: u64, steps: usize) -> Vec<Vec<f64>> {
    let engine = Path::Mixed.engine(Wide::loss);
    let seed = Seed::reproducible(seed);
    let mut optimizer = DpOptimizer::with_seed(plan.clone(), Reveal, engine, seed);
    let mut releases = Vec::new();
    for _ in 0..steps {
        let mut model = Wide::new();
        let batch = optimizer.vouch_for_poisson(Vec::<Tensor<2>>::new());
        optimizer.step(1.0, &mut model, batch).expect("a step");
        releases.push(trainable(&model).into_iter().map(|x| x * plan.divisor()).collect());
    }
    releases
}

/// Checks that every pair is uncorrelated within six standard errors.
fn uncorrelated(streams: &[Vec<f64>]) {
    for (i, a) in streams.iter().enumerate() {
        for (j, b) in streams.iter().enumerate().skip(i + 1) {
            let product: f64 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            let correlation = product / (norm(a) * norm(b));
            assert!(
                correlation.abs() < 6.0 / (a.len() as f64).sqrt(),
                "{i} and {j}: {correlation}"
            );
        }
    }
}
