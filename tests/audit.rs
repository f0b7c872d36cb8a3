//! Two-world release audit: the real step, with and without one record, must be as hard to tell
//! apart as the accountant says, and no harder.
//!
//! The released update along the canary's gradient is one number. A threshold fixed in advance
//! splits its values. The two error rates, taken up to their 97.5 % confidence bounds, give a lower
//! bound on the separation μ of Gaussian differential privacy (Dong et al. 2019, arXiv 1905.02383;
//! Nasr et al. 2023, arXiv 2302.07956), and so on ε. The bound must not exceed the theory (the step
//! is private), and must come close to it (the audit has power).
//! close to it (the audit has power).

mod common;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn_dp::DpOptimizer;
use burn_dp::privacy::{PrivacyPlan, Steps};
use burn_dp::seed::Seed;
use common::*;
use statrs::distribution::{Beta, ContinuousCDF, Normal};

/// Steps observed in each world.
const TRIALS: u64 = 10_000;
/// Steps that share a seed.
const RUN: u64 = 100;
/// The clipping norm.
const CLIPPING_NORM: f64 = 0.5;
const DELTA: f64 = 1e-5;

#[derive(Module, Debug)]
struct Weights {
    weights: Param<Tensor<1>>,
}

impl Weights {
    fn new() -> Self {
        Self { weights: Param::initialized(0.into(), Tensor::zeros([2], &device()).require_grad()) }
    }

    /// The gradient of a record is the record.
    fn loss(&self, x: Tensor<2>) -> Tensor<1> {
        (x * self.weights.val().unsqueeze()).sum()
    }
}

/// Records along the second axis, whose contributions cancel, and the canary along the first axis.
/// The canary's gradient is twenty times too long.
fn world(canary: bool) -> Tensor<2> {
    let others = Tensor::from_data([[0.0, 3.0], [0.0, -3.0], [0.0, 0.1]], &device());
    let canary_row = Tensor::from_data([[20.0 * CLIPPING_NORM, 0.0]], &device());
    if canary { Tensor::cat(vec![others, canary_row], 0) } else { others }
}

/// <release, canary> / C for every trial.
fn scores(z: f64, canary: bool) -> Vec<f64> {
    let plan = audited(z);
    let batch = world(canary);
    let mut scores = Vec::new();
    for run in 0..TRIALS / RUN {
        let seed = Seed::reproducible(2 * run + u64::from(canary));
        let engine = Path::Mixed.engine(Weights::loss);
        let mut optimizer = DpOptimizer::with_seed(plan.clone(), Reveal, engine, seed);
        for _ in 0..RUN {
            let mut model = Weights::new();
            let logical = optimizer.vouch_for_poisson([batch.clone()]);
            optimizer.step(1.0, &mut model, logical).expect("a step");
            scores.push(trainable(&model)[0] * plan.divisor() / CLIPPING_NORM);
        }
    }
    scores
}

fn audited(z: f64) -> PrivacyPlan {
    builder(flat(CLIPPING_NORM), z).steps(Steps::from(RUN)).build().expect("a plan")
}

/// The 95 % lower bound on ε.
fn epsilon_bound(without: &[f64], with: &[f64]) -> f64 {
    // The canary's contribution is 1 in these units, or 0.
    let threshold = 0.5;
    let false_positives = without.iter().filter(|score| **score > threshold).count();
    let false_negatives = with.iter().filter(|score| **score <= threshold).count();
    let quantile = |rate: f64| standard().inverse_cdf(1.0 - rate);
    let mu = quantile(upper(false_positives, without.len()))
        + quantile(upper(false_negatives, with.len()));
    gaussian_epsilon(mu)
}

/// The upper end of the one-sided 97.5 % interval of Clopper and Pearson (1934).
fn upper(hits: usize, trials: usize) -> f64 {
    let beta = Beta::new(hits as f64 + 1.0, (trials - hits) as f64).expect("not all are hits");
    beta.inverse_cdf(0.975)
}

/// ε at [`DELTA`] of two Gaussians μ standard deviations apart (Balle and Wang 2018, theorem 8).
fn gaussian_epsilon(mu: f64) -> f64 {
    let cdf = |x: f64| standard().cdf(x);
    let delta = |e: f64| cdf(mu / 2.0 - e / mu) - e.exp() * cdf(-mu / 2.0 - e / mu);
    let (mut low, mut high) = (0.0, 100.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if delta(middle) > DELTA { low = middle } else { high = middle }
    }
    high
}

fn standard() -> Normal {
    Normal::standard()
}

#[test]
fn the_theory_is_that_of_one_gaussian_release() {
    assert!((gaussian_epsilon(1.0) - 4.377).abs() < 1e-3);
    assert!((gaussian_epsilon(2.0) - 9.997).abs() < 1e-3);
    for z in [1.0, 0.5] {
        // Without sampling the accountant is exact.
        let accounted = audited(z).epsilon_at(Steps::from(1), delta()).value();
        assert!((accounted / gaussian_epsilon(1.0 / z) - 1.0).abs() < 1e-9);
    }
}

#[test]
fn a_step_is_as_private_as_accounted_and_no_more_at_noise_multiplier_1() {
    hold(1.0);
}

#[test]
fn a_step_is_as_private_as_accounted_and_no_more_at_noise_multiplier_one_half() {
    let bound = hold(0.5);
    // If this noise were claimed to be twice as large, the audit would detect it by far.
    assert!(bound > 1.5 * gaussian_epsilon(1.0));
}

fn hold(z: f64) -> f64 {
    let (without, with) = (scores(z, false), scores(z, true));
    let bound = epsilon_bound(&without, &with);
    let theory = gaussian_epsilon(1.0 / z);
    println!("noise multiplier {z}: epsilon >= {bound:.3}, theory {theory:.3}");
    assert!(bound <= theory, "epsilon >= {bound}, but {theory} is claimed");
    assert!(bound >= 0.85 * theory, "no power: epsilon >= {bound} of {theory}");
    bound
}

/// A model with enough parameters for a million scalars in a few steps.
#[derive(Module, Debug)]
struct Large {
    first: Param<Tensor<2>>,
    second: Param<Tensor<1>>,
}

impl Large {
    fn loss(&self, x: Tensor<2>) -> Tensor<1> {
        (x.sum() * self.second.val().sum()) + self.first.val().sum()
    }
}

#[test]
fn a_million_released_scalars_are_gaussian_with_the_planned_variance() {
    let z = 1.5;
    let plan = audited(z);
    let engine = Path::Mixed.engine(Large::loss);
    let mut optimizer =
        DpOptimizer::with_seed(plan.clone(), Reveal, engine, Seed::reproducible(77));
    let mut scalars = Vec::new();
    while scalars.len() < 1_000_000 {
        let mut model = Large {
            first: Param::initialized(
                1.into(),
                Tensor::zeros([500, 450], &device()).require_grad(),
            ),
            second: Param::initialized(2.into(), Tensor::zeros([25_000], &device()).require_grad()),
        };
        let batch = optimizer.vouch_for_poisson(Vec::<Tensor<2>>::new());
        optimizer.step(1.0, &mut model, batch).expect("a step");
        let unit = plan.divisor() / (z * CLIPPING_NORM);
        scalars.extend(trainable(&model).into_iter().map(|x| x * unit));
    }
    let n = scalars.len() as f64;
    let mean = scalars.iter().sum::<f64>() / n;
    let variance = scalars.iter().map(|x| x * x).sum::<f64>() / n - mean * mean;
    assert!(mean.abs() < 4.0 / n.sqrt(), "mean {mean}");
    assert!((variance - 1.0).abs() < 4.0 * (2.0 / n).sqrt(), "variance {variance}");

    scalars.sort_by(f64::total_cmp);
    let gap = |(i, x): (usize, &f64)| {
        let cdf = standard().cdf(*x);
        (cdf - i as f64 / n).max((i + 1) as f64 / n - cdf)
    };
    let largest = scalars.iter().enumerate().map(gap).fold(0.0, f64::max);
    // P(D > 1.95 / sqrt(n)) = 0.001 (Kolmogorov 1933).
    assert!(largest < 1.95 / n.sqrt(), "D = {largest}");
}
