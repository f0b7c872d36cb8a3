//! Losses that are rare and large: small sampling rates, where the bulk of a composition and its tail
//! differ by many orders of magnitude. Bounds from both sides, against closed forms.

use burn_dp_accounting::{Accountant, Adjacency, PldAccountant, PrivacyAccountant, RdpAccountant};
use proptest::prelude::*;

mod common {
    pub mod events;
    pub mod strategies;
}
use common::events::{composed, delta, epsilon, step};
use common::strategies::{any_adjacency, failure};

/// Sampling rate, noise multiplier, runs, δ and ε under add/remove: mpmath 1.3, 60 digits for one run (a
/// closed form in Φ), 25 for two (an integral of it over the other run's output, cut where it is steep).
const GOLDEN: [(f64, f64, u64, f64, f64); 11] = [
    (0.00105, 0.3, 1, 1e-5, 5.764318944464361),
    (0.00105, 1.0, 1, 1e-5, 0.009776198222830226),
    (0.00105, 1.0, 1, 1e-15, 0.904526535304049),
    (0.00105, 10.0, 1, 1e-10, 0.0005934098980440493),
    (1e-5, 0.5, 1, 1e-8, 0.0194117417704742),
    (1e-5, 2.0, 1, 1e-12, 0.00011064747741705785),
    (1e-9, 1.0, 1, 1e-15, 1.314962114530509e-7),
    (1e-9, 0.3, 1, 1e-12, 0.003803581736570369),
    (0.9, 1.0, 1, 1e-5, 4.248585993411131),
    (1e-5, 0.5, 2, 1e-8, 0.0292097315734),
    (1e-9, 1.0, 2, 1e-15, 1.5200083106282e-7),
];

fn bracket(kind: Adjacency, rate: f64, z: f64, count: u64, at: f64) -> (f64, f64) {
    let accountant = composed(PldAccountant::new(kind), &step(rate, z), count);
    let (lower, upper) = accountant.epsilon_bracket(delta(at));
    (lower.value(), upper.value())
}

#[test]
fn brackets_contain_the_exact_epsilon_of_one_run_and_of_two() {
    for (rate, z, count, at, exact) in GOLDEN {
        let (lower, upper) = bracket(Adjacency::AddRemove, rate, z, count, at);
        assert!(lower <= exact && exact <= upper, "{rate} {z} {count}: {lower} {exact} {upper}");
        let width = if count == 1 { 1e-5 } else { 5e-3 };
        assert!(upper - lower <= width * exact, "{rate} {z} {count}: {lower} {exact} {upper}");
    }
}

#[test]
fn many_runs_at_tiny_rates_have_narrow_brackets() {
    for (rate, z, count, at) in [
        (1e-9, 0.3, 1000, 1e-15),
        (1e-9, 1.0, 1000, 1e-15),
        (1e-9, 10.0, 1000, 1e-15),
        (1e-5, 1.0, 10_000, 1e-9),
        (1e-6, 0.5, 1000, 1e-7),
        (1e-7, 2.0, 100, 1e-12),
        (1e-12, 0.3, 100_000, 1e-12),
    ] {
        let (lower, upper) = bracket(Adjacency::AddRemove, rate, z, count, at);
        assert!(lower <= upper && upper <= 1.05 * lower, "{rate} {z} {count}: {lower} {upper}");
    }
}

/// Outcomes differ only if a record was ever drawn, and then only as far as the noise lets them.
#[test]
fn below_the_chance_of_ever_mattering_nothing_is_lost() {
    for (rate, z, count) in [(1e-9, 1.0, 1000_u64), (1e-6, 0.1, 10), (1e-8, 30.0, 1_000_000)] {
        let ever = -(count as f64 * f64::ln_1p(-rate)).exp_m1();
        for kind in [Adjacency::AddRemove, Adjacency::ReplaceOne] {
            let accountant = composed(PldAccountant::new(kind), &step(rate, z), count);
            assert_eq!(accountant.epsilon(delta(ever * 1.001)).value(), 0.0);
            assert!(accountant.delta(epsilon(0.0)) <= ever * 1.001);
        }
    }
}

/// Each step costs little, but the sum of many outputs gives the record away. This proves a lower bound.
#[test]
fn very_many_runs_have_a_lower_bound_and_the_best_upper_bound() {
    for (rate, z, count) in [(1e-3, 1.0, 1_000_000_000), (0.5, 20.0, 100_000_000)] {
        let best = composed(PrivacyAccountant::new(Adjacency::AddRemove), &step(rate, z), count);
        let (upper, _) = best.bound(delta(1e-6));
        let lower = best.lower_bound(delta(1e-6));
        assert!(lower.value() > 0.3 * upper.value() && lower <= upper, "{lower} {upper}");
        let renyi = composed(RdpAccountant::new(Adjacency::AddRemove), &step(rate, z), count);
        assert!(upper <= renyi.epsilon(delta(1e-6)));
    }
}

/// δ of one run at ε in the form that cancels least: q·(Φ(above; 1) − (1 + (e^ε − 1)/q)·Φ(above; 0)), and
/// for adding a record (1 − e^ε(1−q))·Φ(below; 0) − e^ε·q·Φ(below; 1).
fn exact_delta(rate: f64, z: f64, epsilon: f64) -> f64 {
    let tail = |x: f64| 0.5 * libm::erfc(x / z * std::f64::consts::FRAC_1_SQRT_2);
    let output = |share: f64| z * z * share.ln_1p() + 0.5;
    let share = epsilon.exp_m1() / rate;
    let x = output(share);
    let removal = rate * (tail(x - 1.0) - (1.0 + share) * tail(x));
    let share = (-epsilon).exp_m1() / rate;
    if share <= -1.0 {
        return removal;
    }
    let x = output(share);
    let without = (epsilon.exp() * rate - epsilon.exp_m1()) * tail(-x);
    removal.max(without - epsilon.exp() * rate * tail(1.0 - x))
}

/// From 1e-12 to 1e-3.
fn rare() -> impl Strategy<Value = f64> {
    (-27.6..-6.9_f64).prop_map(f64::exp)
}

/// From 0.1 to 20.
fn noise() -> impl Strategy<Value = f64> {
    (-2.3..3.0_f64).prop_map(f64::exp)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn one_run_is_bracketed_by_its_closed_form(q in rare(), z in noise(), at in failure()) {
        let (lower, upper) = bracket(Adjacency::AddRemove, q, z, 1, at);
        prop_assert!(lower <= upper);
        // The slack is for the rounding of the tails in this test. The bounds allow for more.
        let slack = 1e-12 * at + 1e-16 * q.max(1e-6);
        prop_assert!(exact_delta(q, z, upper) <= at + slack, "upper {upper:e}");
        prop_assert!(lower == 0.0 || exact_delta(q, z, lower) >= at - slack, "lower {lower:e}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn brackets_are_brackets_and_monotone(
        q in rare(), z in noise(), log_count in 0.7..11.5_f64, at in failure(), kind in any_adjacency(),
    ) {
        let count = log_count.exp() as u64;
        let (lower, upper) = bracket(kind, q, z, count, at);
        prop_assert!(lower <= upper && upper.is_finite());
        // A lower bound for a cheaper run is also one for a more expensive run.
        let (_, more_runs) = bracket(kind, q, z, count + count / 2, at);
        prop_assert!(lower <= more_runs);
        let (_, less_noise) = bracket(kind, q, z / 1.3, count, at);
        prop_assert!(lower <= less_noise);
        let (_, smaller_delta) = bracket(kind, q, z, count, at / 2.0);
        prop_assert!(lower <= smaller_delta);
        let (one, _) = bracket(kind, q, z, 1, at);
        prop_assert!(one <= upper, "one run costs no more than many");
        let renyi = composed(RdpAccountant::new(kind), &step(q, z), count).epsilon(delta(at));
        prop_assert!(lower <= renyi.value());
    }
}
