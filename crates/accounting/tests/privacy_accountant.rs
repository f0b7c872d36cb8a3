//! The default accountant: the smallest of the sound bounds, and the questions asked of it.

use burn_dp_accounting::Error;
use burn_dp_accounting::{
    Accountant, Adjacency, DpEvent, Epsilon, GaussianAccountant, Ledger, NoiseMultiplier,
    PldAccountant, PrivacyAccountant, RdpAccountant, RunCount, SamplingRate,
    affordable_sampling_rate, affordable_steps, calibrate_noise_multiplier,
};
use proptest::prelude::*;

mod common {
    pub mod events;
}
use common::events::{best_of, composed, delta, gaussian, step, truncated, zcdp};

const ADJACENCIES: [Adjacency; 3] =
    [Adjacency::AddRemove, Adjacency::ZeroOut, Adjacency::ReplaceOne];

#[test]
fn without_sampling_the_bound_is_exact_and_with_it_numerical() {
    for kind in ADJACENCIES {
        let full = composed(PrivacyAccountant::new(kind), &gaussian(3.0), 10);
        let exact = composed(GaussianAccountant::new(kind), &gaussian(3.0), 10);
        assert_eq!(full.bound(delta(1e-5)), (exact.epsilon(delta(1e-5)), exact.name()));

        let sampled = composed(PrivacyAccountant::new(kind), &step(0.01, 1.0), 100);
        let pld = composed(PldAccountant::new(kind), &step(0.01, 1.0), 100);
        assert_eq!(sampled.bound(delta(1e-5)), (pld.epsilon(delta(1e-5)), pld.name()));
    }
}

#[test]
fn events_that_few_support_leave_the_rest_out() {
    let mut accountant = composed(PrivacyAccountant::new(Adjacency::AddRemove), &step(0.1, 2.0), 9);
    let best = best_of(step(0.01, 1.0).repeated(100), RunCount::geometric(5.0).unwrap());
    accountant.compose(&best, 1).unwrap();
    assert_eq!(accountant.bound(delta(1e-5)).1, RdpAccountant::new(Adjacency::AddRemove).name());

    let concentrated = composed(PrivacyAccountant::new(Adjacency::AddRemove), &zcdp(0.1), 2);
    assert!(concentrated.epsilon(delta(1e-5)).is_finite());

    // Only the loss distribution supports truncated batches, and it does not support zCDP: no accountant
    // is left.
    let cut = truncated(0.1, 1000, 110, gaussian(2.0));
    let mut accountant = composed(PrivacyAccountant::new(Adjacency::ZeroOut), &cut, 10);
    let before = accountant.bound(delta(1e-5));
    assert!(before.0.is_finite());
    let refused = accountant.compose(&zcdp(0.1), 1);
    assert!(matches!(refused, Err(Error::UnsupportedEvent { .. })));
    assert_eq!(accountant.bound(delta(1e-5)), before, "nothing has changed");
}

#[test]
fn many_different_steps_are_left_to_the_renyi_accountant() {
    let steps: Vec<DpEvent> = (0..200).map(|n| step(0.01, 1.0 + f64::from(n) * 1e-3)).collect();
    let event = DpEvent::Composed(steps);
    let best = composed(PrivacyAccountant::new(Adjacency::AddRemove), &event, 1);
    let renyi = composed(RdpAccountant::new(Adjacency::AddRemove), &event, 1);
    assert_eq!(best.epsilon(delta(1e-5)), renyi.epsilon(delta(1e-5)));
}

#[test]
fn the_questions_are_answered_with_the_best_bound() {
    let new = || PrivacyAccountant::new(Adjacency::AddRemove);
    let (target, at) = (Epsilon::new(1.0).unwrap(), delta(1e-6));
    let (rate, z) = (0.004_266_666_666_666_667, 1.1);
    // dp-accounting 0.6.0 affords 2064 steps by its loss distribution on a grid of 1e-4.
    let steps = affordable_steps(target, at, new, &step(rate, z)).unwrap().value();
    assert!((2064..2070).contains(&steps), "{steps} steps");
    let spent = |rate, z, steps| composed(new(), &step(rate, z), steps).epsilon(at);
    assert!(spent(rate, z, steps) <= target && spent(rate, z, steps + 1) > target);

    let run = |q: SamplingRate| Ok(step(q.value(), z).repeated(2000));
    let most = affordable_sampling_rate(target, at, new, run).unwrap().value();
    assert!(spent(most, z, 2000) <= target && spent(most * (1.0 + 1e-4), z, 2000) > target);

    // dp-accounting 0.6.0, tol=1e-4.
    let run = |z: NoiseMultiplier| Ok(step(0.01, z.value()).repeated(1000));
    let least = calibrate_noise_multiplier(target, delta(1e-5), new, run).unwrap().value();
    assert!((least / 1.414_730_469_427_024 - 1.0).abs() < 1e-4, "{least}");
}

#[test]
fn a_ledger_uses_the_best_bound() {
    let pld = composed(PldAccountant::new(Adjacency::AddRemove), &step(0.01, 1.0), 1000);
    let mut ledger = Ledger::new();
    ledger.record(step(0.01, 1.0), 1000).unwrap();
    let epsilon = ledger.epsilon(delta(1e-5), Adjacency::AddRemove).unwrap();
    assert_eq!(epsilon, pld.epsilon(delta(1e-5)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_bound_beats_the_best_and_delta_of_epsilon_is_at_most_delta(
        log_rate in -14.0..0.0_f64, log_z in -2.3..6.9_f64, log_count in 0.0..16.1_f64,
        log_delta in -34.5..-0.7_f64, kind in prop::sample::select(&ADJACENCIES[..]),
    ) {
        let (event, count) = (step(log_rate.exp(), log_z.exp()), log_count.exp() as u64);
        let at = delta(log_delta.exp());
        let best = composed(PrivacyAccountant::new(kind), &event, count);
        let (epsilon, name) = best.bound(at);
        prop_assert!(epsilon.is_finite(), "{name}");
        prop_assert!(epsilon <= composed(PldAccountant::new(kind), &event, count).epsilon(at));
        prop_assert!(epsilon <= composed(RdpAccountant::new(kind), &event, count).epsilon(at));
        prop_assert!(best.delta(epsilon) <= at.value());
    }

    #[test]
    fn calibration_never_overshoots(
        log_rate in -9.0..0.0_f64, count in 1..20_000_u64, log_target in -1.0..3.0_f64,
        log_delta in -23.0..-7.0_f64, kind in prop::sample::select(&ADJACENCIES[..]),
    ) {
        let (rate, at) = (log_rate.exp(), delta(log_delta.exp()));
        let target = Epsilon::new(log_target.exp()).unwrap();
        let new = || PrivacyAccountant::new(kind);
        let run = |z: NoiseMultiplier| Ok(step(rate, z.value()).repeated(count));
        let least = calibrate_noise_multiplier(target, at, new, run).unwrap().value();
        let spent = |z: f64| composed(new(), &step(rate, z), count).epsilon(at);
        prop_assert!(spent(least) <= target);
        prop_assert!(spent(least * (1.0 - 1e-3)) > target);
    }
}
