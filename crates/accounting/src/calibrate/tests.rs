//! The laws of calibration, checked with the exact Gaussian, and the number of evaluations that it takes.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::{Adjacency, GaussianAccountant, RdpAccountant};

fn delta(value: f64) -> Delta {
    Delta::new(value).unwrap()
}

fn target(value: f64) -> Epsilon {
    Epsilon::new(value).unwrap()
}

fn gaussian(z: f64) -> DpEvent {
    DpEvent::gaussian(NoiseMultiplier::new(z).unwrap())
}

fn step(rate: f64, z: f64) -> DpEvent {
    let rate = SamplingRate::new(rate).unwrap();
    DpEvent::poisson_sampled_gaussian(rate, NoiseMultiplier::new(z).unwrap())
}

fn exact() -> GaussianAccountant {
    GaussianAccountant::new(Adjacency::AddRemove)
}

fn epsilon<A: Accountant>(mut accountant: A, event: &DpEvent, count: u64, at: f64) -> f64 {
    accountant.compose(event, count).unwrap();
    accountant.epsilon(delta(at)).value()
}

/// Counts how many accountants are made.
struct Counted(Cell<u32>);

impl Counted {
    fn new() -> Self {
        Self(Cell::new(0))
    }

    fn rdp(&self) -> RdpAccountant {
        self.0.set(self.0.get() + 1);
        RdpAccountant::new(Adjacency::AddRemove)
    }
}

#[test]
fn few_evaluations_are_enough() {
    let mut all = Vec::new();
    for (rate, steps) in [(0.01, 1000), (0.004, 14_062), (0.1, 500), (1.0, 1), (1e-4, 100_000)] {
        for goal in [0.1, 0.5, 1.0, 3.0, 8.0, 30.0] {
            let (noise, most, largest) = (Counted::new(), Counted::new(), Counted::new());
            let (goal, at) = (target(goal), delta(1e-6));
            let run = |z: NoiseMultiplier| Ok(step(rate, z.value()).repeated(steps));
            let z = calibrate_noise_multiplier(goal, at, || noise.rdp(), run).unwrap().value();
            affordable_steps(goal, at, || most.rdp(), &step(rate, z)).unwrap();
            let run = |rate: SamplingRate| Ok(step(rate.value(), z).repeated(steps));
            affordable_sampling_rate(goal, at, || largest.rdp(), run).unwrap();
            all.push([noise.0.get(), most.0.get(), largest.0.get()]);
        }
    }
    for kind in 0..3 {
        let mean = all.iter().map(|counts| f64::from(counts[kind])).sum::<f64>() / all.len() as f64;
        assert!(mean <= 10.0, "{mean} on average: {all:?}");
        assert!(all.iter().all(|counts| counts[kind] <= 24), "{all:?}");
    }
}

#[test]
fn what_costs_nothing_is_free() {
    let (goal, at) = (target(1.0), delta(1e-5));
    let free =
        calibrate_noise_multiplier(goal, at, exact, |z| Ok(DpEvent::gaussian(z).repeated(0)));
    assert_eq!(free.unwrap().value(), 0.0);
    let never = step(0.0, 1.0);
    assert_eq!(affordable_steps(goal, at, exact, &never).unwrap().value(), 1 << 53);
    let run = |rate: SamplingRate| Ok(step(rate.value(), 1.0).repeated(0));
    assert_eq!(affordable_sampling_rate(goal, at, exact, run).unwrap().value(), 1.0);
}

#[test]
fn what_cannot_be_afforded() {
    let (goal, at) = (target(0.01), delta(1e-5));
    assert_eq!(affordable_steps(goal, at, exact, &gaussian(0.5)).unwrap().value(), 0);
    let rdp = || RdpAccountant::new(Adjacency::AddRemove);
    let small = affordable_sampling_rate(goal, at, rdp, |q| Ok(step(q.value(), 0.0))).unwrap();
    assert_eq!(small.value(), 0.0, "without noise, no record may be drawn");
    let fixed = affordable_sampling_rate(goal, at, rdp, |q| {
        Ok(DpEvent::Composed(vec![gaussian(0.5), step(q.value(), 100.0)]))
    });
    assert!(matches!(fixed, Err(Error::Setting(_))));
    let infinite = Epsilon::INFINITY;
    assert!(affordable_steps(infinite, at, exact, &gaussian(1.0)).is_err());
    assert!(affordable_sampling_rate(infinite, at, rdp, |q| Ok(step(q.value(), 1.0))).is_err());
    assert!(affordable_steps(goal, at, exact, &step(0.5, 1.0)).is_err(), "unsupported");
    let wide = affordable_steps(target(1e9), at, exact, &gaussian(1e12).repeated(1 << 60));
    assert!(matches!(wide, Err(Error::Setting(_))), "cannot be counted");
}

#[test]
fn a_target_of_zero_can_be_met() {
    let at = delta(1e-3);
    let z = calibrate_noise_multiplier(target(0.0), at, exact, |z| Ok(DpEvent::gaussian(z)));
    let z = z.unwrap().value();
    // δ(0) = 2Φ(μ/2) − 1 ≈ μ φ(0).
    assert!((z * 1e-3 * (2.0 * std::f64::consts::PI).sqrt() - 1.0).abs() < 1e-5, "{z}");
    let most = affordable_steps(target(0.0), at, exact, &gaussian(2.0 * z)).unwrap();
    assert_eq!(most.value(), 4);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn noise_is_enough_and_hardly_more(
        goal in (-4.0..5.0_f64).prop_map(f64::exp), at in (-34.5..-0.7_f64).prop_map(f64::exp),
        count in 1..10_000_000_u64,
    ) {
        let run = |z: NoiseMultiplier| Ok(DpEvent::gaussian(z).repeated(count));
        let z = calibrate_noise_multiplier(target(goal), delta(at), exact, run).unwrap().value();
        prop_assert!(epsilon(exact(), &gaussian(z), count, at) <= goal);
        prop_assert!(epsilon(exact(), &gaussian(z * (1.0 - 1.1e-6)), count, at) > goal);
    }

    #[test]
    fn one_more_step_is_one_too_many(
        goal in (-4.0..5.0_f64).prop_map(f64::exp), at in (-34.5..-0.7_f64).prop_map(f64::exp),
        z in (-2.3..6.9_f64).prop_map(f64::exp),
    ) {
        let event = gaussian(z);
        let most = affordable_steps(target(goal), delta(at), exact, &event).unwrap().value();
        prop_assert!(most == 0 || epsilon(exact(), &event, most, at) <= goal);
        prop_assert!(epsilon(exact(), &event, most + 1, at) > goal);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_larger_rate_is_too_large(
        goal in (-2.0..3.0_f64).prop_map(f64::exp), at in (-25.0..-5.0_f64).prop_map(f64::exp),
        z in (-0.7..3.0_f64).prop_map(f64::exp), steps in 1..100_000_u64,
    ) {
        let rdp = || RdpAccountant::new(Adjacency::AddRemove);
        let run = |rate: SamplingRate| Ok(step(rate.value(), z).repeated(steps));
        let rate = affordable_sampling_rate(target(goal), delta(at), rdp, run).unwrap().value();
        prop_assert!(rate > 0.0 && epsilon(rdp(), &step(rate, z), steps, at) <= goal);
        let larger = (rate * (1.0 + 1.1e-6)).min(1.0);
        prop_assert!(rate == 1.0 || epsilon(rdp(), &step(larger, z), steps, at) > goal);
    }
}
