//! The Rényi accountant against published values, and the laws that every accountant obeys.

use burn_dp_accounting::Error;
use burn_dp_accounting::{
    Accountant, Adjacency, Delta, DpEvent, Epsilon, NoiseMultiplier, RdpAccountant, SamplingRate,
    calibrate_noise_multiplier,
};
use proptest::prelude::*;
use serde_json::Value;

mod common {
    pub mod events;
    pub mod published;
    pub mod strategies;
}
use common::events::{composed, delta, gaussian, poisson, step};
use common::published::{adjacency, count, number, rows, table};
use common::strategies::{any_adjacency, failure, multiplier, rate};

fn google_orders() -> Vec<f64> {
    let table = table();
    let orders = table["meta"]["google_default_rdp_orders"].as_array().unwrap();
    orders.iter().map(|order| order.as_f64().unwrap()).collect()
}

/// An accountant with the steps of one row, or of one phase of a row.
fn sampled(adjacency: Adjacency, rate: f64, z: f64, steps: u64) -> RdpAccountant {
    composed(RdpAccountant::new(adjacency), &step(rate, z), steps)
}

fn epsilon(adjacency: Adjacency, rate: f64, z: f64, steps: u64, at: f64) -> f64 {
    sampled(adjacency, rate, z, steps).epsilon(delta(at)).value()
}

fn epsilon_of(row: &Value) -> f64 {
    epsilon(
        adjacency(row),
        number(row, "q"),
        number(row, "noise_multiplier"),
        count(row, "steps"),
        number(row, "delta"),
    )
}

#[test]
fn rdp_curve_is_the_exact_one() {
    for row in rows("rdp_curve", "exact_quadrature") {
        let mut accountant =
            RdpAccountant::with_orders(Adjacency::AddRemove, &[number(&row, "alpha")]).unwrap();
        accountant.compose(&step(number(&row, "q"), number(&row, "noise_multiplier")), 1).unwrap();
        let (ours, exact) = (accountant.rdp()[0], number(&row, "rdp"));
        let error = ours / exact - 1.0;
        assert!((-1e-12..1e-9).contains(&error), "{}: relative error {error:e}", row["id"]);
    }
}

#[test]
fn epsilon_is_the_exact_one_at_the_same_orders() {
    let orders = google_orders();
    for row in rows("eps_rdp_exact", "rdp_exact_signed") {
        let mut accountant = RdpAccountant::with_orders(Adjacency::AddRemove, &orders).unwrap();
        let event = step(number(&row, "q"), number(&row, "noise_multiplier"));
        accountant.compose(&event, count(&row, "steps")).unwrap();
        let ours = accountant.epsilon(delta(number(&row, "delta"))).value();
        let difference = ours - number(&row, "epsilon");
        assert!(difference.abs() <= 1e-5, "{}: off by {difference:e}", row["id"]);
    }
}

#[test]
fn epsilon_is_never_above_the_unsigned_series() {
    for row in rows("eps", "google_rdp") {
        if row["accountant"] == "google_rdp" {
            let ours = epsilon_of(&row);
            assert!(ours <= number(&row, "epsilon") * (1.0 + 1e-6), "{}: {ours}", row["id"]);
        }
    }
}

#[test]
fn epsilon_is_never_below_the_truth() {
    for row in rows("eps", "exact_") {
        assert!(epsilon_of(&row) >= number(&row, "epsilon"), "{}", row["id"]);
    }
    for row in rows("eps", "ms_prv") {
        assert!(epsilon_of(&row) >= number(&row, "epsilon_lower"), "{}", row["id"]);
    }
    // Where δ is below about 1e-12, those rows say nothing, because of their grid.
    for row in rows("eps", "google_pld") {
        if number(&row, "epsilon") == f64::INFINITY {
            continue;
        }
        assert!(epsilon_of(&row) >= 0.99 * number(&row, "epsilon"), "{}", row["id"]);
    }
    for row in rows("delta", "exact_") {
        let accountant = sampled(
            adjacency(&row),
            number(&row, "q"),
            number(&row, "noise_multiplier"),
            count(&row, "steps"),
        );
        let ours = accountant.delta(Epsilon::new(number(&row, "epsilon")).unwrap());
        assert!(ours >= number(&row, "delta"), "{}: {ours}", row["id"]);
    }
}

#[test]
fn mixed_phases_compose() {
    for row in [rows("compose", "google_rdp"), rows("compose", "ms_prv")].concat() {
        let mut accountant = RdpAccountant::new(Adjacency::AddRemove);
        for phase in row["phases"].as_array().unwrap() {
            let event = step(number(phase, "q"), number(phase, "noise_multiplier"));
            accountant.compose(&event, count(phase, "steps")).unwrap();
        }
        let ours = accountant.epsilon(delta(number(&row, "delta"))).value();
        if row["accountant"] == "google_rdp" {
            assert!(ours <= number(&row, "epsilon") * (1.0 + 1e-6), "{}: {ours}", row["id"]);
        } else {
            assert!(ours >= number(&row, "epsilon_lower"), "{}: {ours}", row["id"]);
        }
    }
}

#[test]
fn affordable_number_of_steps() {
    for row in rows("max_steps", "google_rdp") {
        let at = |steps| {
            let (rate, z) = (number(&row, "q"), number(&row, "noise_multiplier"));
            epsilon(Adjacency::AddRemove, rate, z, steps, number(&row, "delta"))
        };
        let most = count(&row, "max_steps");
        assert!(at(most) <= number(&row, "epsilon"), "{}", row["id"]);
        assert!(at(most) <= number(&row, "eps_at_max") * (1.0 + 1e-6), "{}", row["id"]);
    }
}

#[test]
fn calibration_needs_no_more_noise_than_published() {
    for row in rows("calibrate_sigma", "google_rdp") {
        let (rate, steps) = (number(&row, "q"), count(&row, "steps"));
        let ours = calibrate(Adjacency::AddRemove, rate, steps, number(&row, "epsilon"), 1e-5);
        let published = number(&row, "noise_multiplier");
        let ratio = ours.unwrap() / published;
        assert!((0.95..1.0 + 1e-5).contains(&ratio), "{}: {ratio} of {published}", row["id"]);
    }
}

#[test]
fn a_count_beside_the_gradient_splits_the_noise_as_published() {
    for row in rows("adaptive_clip", "Andrew") {
        let whole = NoiseMultiplier::new(number(&row, "effective_noise_multiplier")).unwrap();
        let rest = whole.beside(2.0 * number(&row, "sigma_b")).unwrap();
        let ratio = rest.value() / number(&row, "noise_multiplier_delta");
        assert!((1.0 - 1e-15..1.0 + 1e-13).contains(&ratio), "{}: {ratio}", row["id"]);
    }
}

fn calibrate(
    adjacency: Adjacency,
    rate: f64,
    steps: u64,
    target: f64,
    at: f64,
) -> Result<f64, Error> {
    calibrate_noise_multiplier(
        Epsilon::new(target)?,
        delta(at),
        || RdpAccountant::new(adjacency),
        |z| Ok(step(rate, z.value()).repeated(steps)),
    )
    .map(NoiseMultiplier::value)
}

#[test]
fn full_batches_are_the_exact_gaussian() {
    for z in [0.1, 0.7, 1.0, 3.0, 250.0] {
        let whole = composed(RdpAccountant::new(Adjacency::AddRemove), &gaussian(z), 7);
        let full = sampled(Adjacency::AddRemove, 1.0, z, 7);
        assert_eq!(whole.rdp(), full.rdp());
        for (&order, ours) in full.orders().iter().zip(full.rdp()) {
            let error = ours / (7.0 * order / (2.0 * z * z)) - 1.0;
            assert!((0.0..1e-11).contains(&error), "order {order}: {error:e}");
        }
        // Replacing a record halves the multiplier, exactly.
        let replaced = sampled(Adjacency::ReplaceOne, 1.0, z, 7).rdp();
        let halved = sampled(Adjacency::AddRemove, 1.0, z / 2.0, 7).rdp();
        for (replaced, halved) in replaced.iter().zip(halved) {
            assert!((replaced / halved - 1.0).abs() < 1e-11, "{replaced} is not {halved}");
        }
    }
}

#[test]
fn edge_cases_of_the_domain() {
    for kind in [Adjacency::AddRemove, Adjacency::ZeroOut, Adjacency::ReplaceOne] {
        assert_eq!(epsilon(kind, 0.0, 1.0, 1000, 1e-5), 0.0, "nothing is sampled");
        assert_eq!(epsilon(kind, 0.0, 0.0, 1000, 1e-5), 0.0, "nothing is sampled, no noise");
        assert_eq!(epsilon(kind, 0.3, 1.0, 0, 1e-5), 0.0, "no step");
        assert_eq!(epsilon(kind, 0.3, 0.0, 1, 1e-5), f64::INFINITY, "no noise");
        let silent = sampled(kind, 0.3, 0.0, 1);
        assert_eq!(silent.delta(Epsilon::INFINITY), 1.0, "no noise");
        assert_eq!(RdpAccountant::new(kind).delta(Epsilon::new(0.0).unwrap()), 0.0);
    }
    assert!(NoiseMultiplier::new(f64::NAN).is_err());
    assert!(SamplingRate::new(f64::NAN).is_err());
    assert!(Delta::new(f64::NAN).is_err());
    for bad in [&[][..], &[1.0], &[f64::NAN], &[2.0, f64::INFINITY], &[1e6]] {
        assert!(RdpAccountant::with_orders(Adjacency::AddRemove, bad).is_err());
    }
}

#[test]
fn a_refused_event_changes_nothing() {
    let mut accountant = sampled(Adjacency::AddRemove, 0.01, 1.0, 10);
    let before = accountant.rdp();
    let nested = poisson(0.1, step(0.1, 1.0));
    let partly = DpEvent::Composed(vec![step(0.01, 1.0), step(0.2, 2.0), nested]);
    assert!(matches!(accountant.compose(&partly, 3), Err(Error::UnsupportedEvent { .. })));
    assert!(accountant.compose(&step(0.01, 1.0), u64::MAX).is_err(), "the count overflows");
    assert!(accountant.compose(&step(0.01, 1.0).repeated(u64::MAX), 2).is_err());
    let deep = (0..100).fold(step(0.01, 1.0), |event, _| event.repeated(1));
    assert!(accountant.compose(&deep, 1).is_err());
    assert_eq!(accountant.rdp(), before);
}

#[test]
fn unreachable_and_infinite_targets_are_refused() {
    let infinite = calibrate(Adjacency::AddRemove, 0.1, 10, f64::INFINITY, 1e-5);
    assert!(matches!(infinite, Err(Error::Setting(_))));
    let unreachable = calibrate(Adjacency::AddRemove, 1.0, u64::MAX, 1e-9, 1e-15);
    assert!(matches!(unreachable, Err(Error::UnreachableTarget { .. })), "{unreachable:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn answers_are_numbers_and_delta_of_epsilon_is_at_most_delta(
        q in rate(), z in multiplier(), steps in 0..10_000_000_u64, at in failure(),
        kind in any_adjacency(),
    ) {
        let accountant = sampled(kind, q, z, steps);
        prop_assert!(accountant.rdp().iter().all(|&rdp| rdp >= 0.0));
        let answer = accountant.epsilon(delta(at));
        prop_assert!(answer.value() >= 0.0);
        let back = accountant.delta(answer);
        prop_assert!(back <= at, "delta {at:e} came back as {back:e}");
    }

    #[test]
    fn order_and_splitting_do_not_matter(
        q in rate(), z in multiplier(), other in multiplier(), first in 1..1000_u64,
        second in 1..1000_u64, kind in any_adjacency(),
    ) {
        let (one, two) = (step(q, z), step(0.02, other));
        let mut forward = RdpAccountant::new(kind);
        forward.compose(&one, first + second).unwrap();
        forward.compose(&two, 3).unwrap();

        let mut split = RdpAccountant::new(kind);
        for event in [&two, &one, &two] {
            split.compose(event, 1).unwrap();
        }
        split.compose(&one.clone().repeated(first - 1), 1).unwrap();
        split.compose(&DpEvent::Composed(vec![one.clone().repeated(second), two]), 1).unwrap();
        prop_assert_eq!(forward.rdp(), split.rdp());
        prop_assert_eq!(forward.epsilon(delta(1e-5)), split.epsilon(delta(1e-5)));
    }

    #[test]
    fn one_call_equals_as_many_calls(q in rate(), z in multiplier(), count in 0..20_u64) {
        let mut many = RdpAccountant::new(Adjacency::AddRemove);
        for _ in 0..count {
            many.compose(&step(q, z), 1).unwrap();
        }
        prop_assert_eq!(many.rdp(), sampled(Adjacency::AddRemove, q, z, count).rdp());
    }

    #[test]
    fn epsilon_is_monotone(
        q in rate(), z in multiplier(), steps in 1..100_000_u64, at in failure(),
        kind in any_adjacency(), factor in 1.0..3.0_f64,
    ) {
        let base = epsilon(kind, q, z, steps, at);
        // The answers are exact up to an allowance far below this tolerance.
        let at_most = |less: f64, more: f64| less <= more * (1.0 + 1e-9) + 1e-9;
        prop_assert!(at_most(base, epsilon(kind, (q * factor).min(1.0), z, steps, at)), "q");
        prop_assert!(at_most(base, epsilon(kind, q, z / factor, steps, at)), "noise");
        prop_assert!(at_most(base, epsilon(kind, q, z, steps + steps / 2, at)), "steps");
        prop_assert!(at_most(base, epsilon(kind, q, z, steps, at / factor)), "delta");
    }

    #[test]
    fn replacing_costs_at_least_as_much_as_removing(
        q in rate(), z in multiplier(), steps in 0..1_000_000_u64, at in failure(),
    ) {
        let removed = epsilon(Adjacency::AddRemove, q, z, steps, at);
        prop_assert_eq!(removed, epsilon(Adjacency::ZeroOut, q, z, steps, at));
        let replaced = epsilon(Adjacency::ReplaceOne, q, z, steps, at);
        prop_assert!(replaced >= removed * (1.0 - 1e-9), "{replaced} < {removed}");
    }

    #[test]
    fn calibration_never_overshoots(
        q in (-9.0..0.0_f64).prop_map(f64::exp), steps in 1..20_000_u64,
        target in (-1.0..3.0_f64).prop_map(f64::exp), at in -23.0..-7.0_f64,
        kind in any_adjacency(),
    ) {
        let at = at.exp();
        let z = calibrate(kind, q, steps, target, at).unwrap();
        prop_assert!(epsilon(kind, q, z, steps, at) <= target);
        prop_assert!(epsilon(kind, q, z * (1.0 - 1e-5), steps, at) > target);
    }
}
