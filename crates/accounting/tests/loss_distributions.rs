//! Privacy-loss distributions against published values, direct integration, the exact Gaussian, and
//! the laws that every accountant obeys.

use burn_dp_accounting::Error;
use burn_dp_accounting::{
    Accountant, Adjacency, DpEvent, Epsilon, GaussianAccountant, GroupSize, PldAccountant,
    RdpAccountant, RunCount,
};
use proptest::prelude::*;
use serde_json::Value;

mod common {
    pub mod events;
    pub mod published;
    pub mod strategies;
}
use common::events::{
    best_of, composed, delta, epsilon, fixed_size, gaussian, pure, step, truncated, zcdp,
};
use common::published::{adjacency, count, number, rows};
use common::strategies::{any_adjacency, failure, multiplier, rate};

fn pld(adjacency: Adjacency, event: &DpEvent, count: u64) -> PldAccountant {
    composed(PldAccountant::new(adjacency), event, count)
}

/// The event of a row that is about sampled or plain Gaussians.
fn event_of(row: &Value) -> DpEvent {
    let one = |row: &Value| {
        step(number(row, "q"), number(row, "noise_multiplier")).repeated(count(row, "steps"))
    };
    match row["phases"].as_array() {
        Some(phases) => DpEvent::Composed(phases.iter().map(one).collect()),
        None => one(row),
    }
}

#[test]
fn epsilon_is_at_most_a_hundredth_above_connect_the_dots_elsewhere() {
    for row in [rows("eps", "google_pld"), rows("compose", "google_pld")].concat() {
        let accountant = pld(adjacency(&row), &event_of(&row), 1);
        let ours = accountant.epsilon(delta(number(&row, "delta"))).value();
        let theirs = number(&row, "epsilon");
        assert!(ours <= theirs * 1.01, "{}: {ours} instead of {theirs}", row["id"]);
        // Their grid has a step of 1e-4, so where epsilon is tiny they are up to that much above the truth.
        if theirs.is_finite() && theirs > 0.01 {
            assert!(ours >= theirs * 0.999, "{}: {ours} instead of {theirs}", row["id"]);
        }
    }
}

#[test]
fn brackets_contain_the_truth() {
    for row in rows("eps", "exact_") {
        let accountant = pld(adjacency(&row), &event_of(&row), 1);
        let (lower, upper) = accountant.epsilon_bracket(delta(number(&row, "delta")));
        let exact = number(&row, "epsilon");
        assert!(lower.value() <= exact && exact <= upper.value(), "{}", row["id"]);
        assert!(upper.value() - lower.value() < 2e-3 * exact, "{}", row["id"]);
    }
    for row in [rows("eps", "ms_prv"), rows("compose", "ms_prv")].concat() {
        let accountant = pld(adjacency(&row), &event_of(&row), 1);
        let (lower, upper) = accountant.epsilon_bracket(delta(number(&row, "delta")));
        assert!(upper.value() >= number(&row, "epsilon_lower"), "{}", row["id"]);
        let theirs = number(&row, "epsilon_upper").max(0.0);
        assert!(lower.value() <= theirs, "{}", row["id"]);
    }
}

#[test]
fn delta_is_the_exact_one() {
    for row in rows("delta", "exact_") {
        let accountant = pld(Adjacency::AddRemove, &event_of(&row), 1);
        let ours = accountant.delta(epsilon(number(&row, "epsilon")));
        let exact = number(&row, "delta");
        assert!(ours >= exact && ours <= exact * (1.0 + 1e-3), "{}: {ours} of {exact}", row["id"]);
    }
}

#[test]
fn groups_truncation_pure_and_mixed_releases_are_as_published() {
    let close = |ours: f64, theirs: f64, what: &str| {
        assert!((ours / theirs - 1.0).abs() < 1e-4, "{what}: {ours} instead of {theirs}");
    };
    for row in rows("eps_group", "google") {
        let group = GroupSize::new(count(&row, "group_size") as u32).unwrap();
        let accountant = PldAccountant::for_groups(Adjacency::AddRemove, group);
        let accountant = composed(accountant, &event_of(&row), 1);
        let ours = accountant.epsilon(delta(number(&row, "delta"))).value();
        close(ours, number(&row, "epsilon"), "group");
    }
    for row in rows("eps_truncated", "google") {
        let event = truncated(
            number(&row, "q"),
            count(&row, "dataset_size"),
            count(&row, "truncated_batch"),
            gaussian(number(&row, "noise_multiplier")),
        );
        let accountant = pld(adjacency(&row), &event, count(&row, "steps"));
        close(
            accountant.epsilon(delta(number(&row, "delta"))).value(),
            number(&row, "epsilon"),
            "truncated",
        );
    }
    for row in rows("pure_dp_compose", "google") {
        let event = pure(number(&row, "epsilon_each"));
        let accountant = pld(Adjacency::AddRemove, &event, count(&row, "steps"));
        close(
            accountant.epsilon(delta(number(&row, "delta"))).value(),
            number(&row, "epsilon"),
            "pure",
        );
    }
    for row in rows("compose_mixed", "google") {
        let event =
            DpEvent::Composed(vec![pure(0.2), gaussian(20.0), step(0.01, 1.0).repeated(1000)]);
        let accountant = pld(Adjacency::AddRemove, &event, 1);
        close(
            accountant.epsilon(delta(number(&row, "delta"))).value(),
            number(&row, "epsilon"),
            "mixed",
        );
    }
}

/// P and Q as Gaussian mixtures (weight, mean) of one deviation, with the loss rising in x.
struct Mixtures {
    z: f64,
    p: Vec<(f64, f64)>,
    q: Vec<(f64, f64)>,
}

impl Mixtures {
    fn density(parts: &[(f64, f64)], z: f64, x: f64) -> f64 {
        let unit = (2.0 * std::f64::consts::PI).sqrt() * z;
        parts.iter().map(|(w, m)| w * (-((x - m) / z).powi(2) / 2.0).exp() / unit).sum()
    }

    /// δ of `count` runs at any ε, by the trapezoidal rule over the first run's output.
    fn delta(&self, epsilon: f64, count: u32, nodes: usize) -> f64 {
        let (low, high) = (-12.0 * self.z - 2.0, 12.0 * self.z + 2.0);
        let width = (high - low) / nodes as f64;
        (0..=nodes)
            .map(|node| {
                let x = low + node as f64 * width;
                let p = Self::density(&self.p, self.z, x);
                let q = Self::density(&self.q, self.z, x);
                if count == 1 {
                    return (p - epsilon.exp() * q).max(0.0) * width;
                }
                if p == 0.0 || q == 0.0 {
                    return p * width;
                }
                p * width * self.delta(epsilon - (p / q).ln(), count - 1, nodes)
            })
            .sum()
    }

    fn swapped(&self) -> Self {
        Self { z: self.z, p: self.q.clone(), q: self.p.clone() }
    }
}

#[test]
fn small_compositions_equal_direct_integration() {
    let sampled = |q: f64| vec![(1.0 - q, 0.0), (q, 1.0)];
    let cases = [
        (Adjacency::AddRemove, 0.1, 0.8, sampled(0.1), vec![(1.0, 0.0)]),
        (Adjacency::AddRemove, 0.5, 2.0, sampled(0.5), vec![(1.0, 0.0)]),
        (Adjacency::ReplaceOne, 0.2, 1.0, sampled(0.2), vec![(0.8, 0.0), (0.2, -1.0)]),
    ];
    for (adjacency, q, z, p_parts, q_parts) in cases {
        let forward = Mixtures { z, p: p_parts, q: q_parts };
        let backward = forward.swapped();
        for (count, nodes, tolerance) in [(1, 20_000, 1e-3), (2, 1_200, 1e-3), (3, 120, 5e-3)] {
            let accountant = pld(adjacency, &step(q, z), u64::from(count));
            for at in [0.0, 0.3, 1.0] {
                let direct = forward.delta(at, count, nodes).max(backward.delta(at, count, nodes));
                let ours = accountant.delta(epsilon(at));
                assert!(
                    (ours / direct - 1.0).abs() < tolerance || (ours - direct).abs() < 1e-9,
                    "{adjacency}, q={q}, z={z}, {count} runs, epsilon {at}: {ours} of {direct}"
                );
            }
        }
    }
}

/// The transform itself, where the answer is known: a rate just below one is not simplified away.
#[test]
fn composition_at_rate_one_is_the_exact_gaussian() {
    for (z, count) in [(1.0, 1), (3.0, 10), (10.0, 1_000), (100.0, 100_000), (0.5, 20)] {
        for adjacency in [Adjacency::AddRemove, Adjacency::ReplaceOne] {
            let sampled = pld(adjacency, &step(1.0 - 1e-15, z), count);
            let exact = composed(GaussianAccountant::new(adjacency), &gaussian(z), count);
            for at in [1e-2, 1e-5, 1e-10, 1e-14] {
                let (ours, truth) = (sampled.epsilon(delta(at)), exact.epsilon(delta(at)));
                let ratio = ours.value() / truth.value();
                assert!((1.0 - 1e-9..1.0 + 1e-3).contains(&ratio), "z={z} {count} {at:e}: {ratio}");
            }
        }
    }
}

/// Without replacement, δ of one run is known for every ε (Balle, Barthe & Gaboardi 2018): q times that of
/// the Gaussian at log(1 + (e^ε − 1)/q).
#[test]
fn sampling_without_replacement_is_amplified_as_proven() {
    for (dataset_size, batch_size, z) in [(100, 10, 2.0), (3400, 100, 4.0), (10, 9, 1.0)] {
        let rate = batch_size as f64 / dataset_size as f64;
        let event = fixed_size(dataset_size, batch_size, gaussian(z));
        let accountant = pld(Adjacency::ReplaceOne, &event, 1);
        let whole = composed(GaussianAccountant::new(Adjacency::ReplaceOne), &gaussian(z), 1);
        for at in [0.0_f64, 0.1, 0.5, 1.0] {
            let inner = (at.exp_m1() / rate).ln_1p();
            let exact = rate * whole.delta(epsilon(inner));
            let ours = accountant.delta(epsilon(at));
            let ratio = ours / exact;
            assert!((1.0 - 1e-9..1.0 + 1e-3).contains(&ratio), "{rate} {at}: {ratio}");
        }
        assert!(
            PldAccountant::new(Adjacency::AddRemove).supports(&event).is_err(),
            "adding a record changes the size of the data set"
        );
    }
}

#[test]
fn pure_releases_compose_optimally() {
    // Kairouz, Oh & Viswanath 2015: δ of k randomized responses is a binomial sum.
    for (epsilon_each, count) in [(0.1_f64, 10_u32), (1.0, 3), (0.01, 500)] {
        let truth = 1.0 / (1.0 + (-epsilon_each).exp());
        let event = pure(epsilon_each);
        let accountant = pld(Adjacency::AddRemove, &event, u64::from(count));
        for share in [0.0, 0.2, 0.5] {
            let at = share * epsilon_each * f64::from(count);
            let mut exact = 0.0;
            let mut log_choose = 0.0;
            for trues in 0..=count {
                let (k, n) = (f64::from(trues), f64::from(count));
                let loss = (2.0 * k - n) * epsilon_each;
                let log_p = log_choose + k * truth.ln() + (n - k) * (1.0 - truth).ln();
                exact += log_p.exp() * (-(at - loss).exp_m1()).max(0.0);
                log_choose += ((n - k) / (k + 1.0)).ln();
            }
            let ours = accountant.delta(epsilon(at));
            let ratio = ours / exact;
            assert!((1.0 - 1e-9..1.0 + 2e-3).contains(&ratio), "{epsilon_each} {count}: {ratio}");
        }
        let all = epsilon(epsilon_each * f64::from(count) * (1.0 + 1e-3));
        assert!(accountant.delta(all) < 1e-12, "epsilon adds up");
    }
}

#[test]
fn edge_cases_of_the_domain() {
    for kind in [Adjacency::AddRemove, Adjacency::ZeroOut, Adjacency::ReplaceOne] {
        let at = |rate, z, count| pld(kind, &step(rate, z), count).epsilon(delta(1e-5)).value();
        assert_eq!(at(0.0, 1.0, 1000), 0.0, "nothing is sampled");
        assert_eq!(at(0.0, 0.0, 1000), 0.0, "nothing is sampled, no noise");
        assert_eq!(at(0.3, 1.0, 0), 0.0, "no step");
        assert_eq!(at(0.3, 0.0, 1), f64::INFINITY, "no noise");
        assert_eq!(pld(kind, &step(0.3, 0.0), 1).delta(Epsilon::INFINITY), 1.0, "no noise");
        assert_eq!(PldAccountant::new(kind).delta(epsilon(0.0)), 0.0);
        assert_eq!(pld(kind, &pure(0.0), 5).epsilon(delta(1e-5)).value(), 0.0);
    }
}

#[test]
fn a_refused_event_changes_nothing() {
    let mut accountant = pld(Adjacency::AddRemove, &step(0.01, 1.0), 10);
    let before = accountant.epsilon(delta(1e-5));
    let best = best_of(step(0.01, 1.0), RunCount::geometric(10.0).unwrap());
    for event in [zcdp(0.1), best] {
        let partly = DpEvent::Composed(vec![step(0.01, 1.0), event]);
        assert!(matches!(accountant.compose(&partly, 3), Err(Error::UnsupportedEvent { .. })));
    }
    assert!(accountant.compose(&step(0.01, 1.0), u64::MAX).is_err(), "the count overflows");
    assert_eq!(accountant.epsilon(delta(1e-5)), before);
}

/// From 1 to 1e7.
fn counts() -> impl Strategy<Value = u64> {
    (0.0..16.1_f64).prop_map(|log| log.exp() as u64)
}

fn spent(kind: Adjacency, q: f64, z: f64, count: u64, at: f64) -> f64 {
    pld(kind, &step(q, z), count).epsilon(delta(at)).value()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn answers_are_numbers_and_delta_of_epsilon_is_at_most_delta(
        q in rate(), z in multiplier(), count in counts(), at in failure(), kind in any_adjacency(),
    ) {
        let accountant = pld(kind, &step(q, z), count);
        let answer = accountant.epsilon(delta(at));
        prop_assert!(answer.value() >= 0.0 && answer.is_finite(), "epsilon {answer}");
        let back = accountant.delta(answer);
        prop_assert!((0.0..=at).contains(&back), "delta {at:e} came back as {back:e}");
    }

    #[test]
    fn renyi_is_never_tighter_and_the_bracket_is_one(
        q in rate(), z in multiplier(), count in counts(), at in failure(), kind in any_adjacency(),
    ) {
        let accountant = pld(kind, &step(q, z), count);
        let (lower, upper) = accountant.epsilon_bracket(delta(at));
        prop_assert!(lower <= upper);
        let loose = composed(RdpAccountant::new(kind), &step(q, z), count).epsilon(delta(at)).value();
        // The two are not compared where the allowance for rounding shows, or where ε is so large that its
        // grid is coarse.
        let comparable = at > 1e-11 && loose < 1e4;
        prop_assert!(!comparable || upper.value() <= loose * (1.0 + 1e-4) + 1e-6, "{upper} {loose}");
        prop_assert!(lower.value() <= loose);
    }

    #[test]
    fn order_and_splitting_do_not_matter(
        q in rate(), z in multiplier(), first in 1..1000_u64, second in 1..1000_u64,
        kind in any_adjacency(),
    ) {
        let (one, two) = (step(q, z), step(0.02, 3.0));
        let mut forward = pld(kind, &one, first + second);
        forward.compose(&two, 3).unwrap();
        let mut split = PldAccountant::new(kind);
        for event in [&two, &one, &two] {
            split.compose(event, 1).unwrap();
        }
        split.compose(&one.clone().repeated(first - 1), 1).unwrap();
        split.compose(&DpEvent::Composed(vec![one.repeated(second), two]), 1).unwrap();
        prop_assert_eq!(forward.epsilon(delta(1e-5)), split.epsilon(delta(1e-5)));
    }

    #[test]
    fn epsilon_is_monotone(
        q in rate(), z in multiplier(), count in counts(), at in failure(), kind in any_adjacency(),
        factor in 1.01..3.0_f64,
    ) {
        let base = spent(kind, q, z, count, at);
        // The grids differ, by 1e-4 in log δ or 2e-5 in ε. This is a larger part of ε where log δ hardly
        // falls. For a δ far below the rounding of a float, rare large losses leave no tilt to use, and the
        // allowance for rounding shows.
        let fine = at > 1e-11 && base < 1e4;
        let (relative, absolute) = if fine { (2e-3, 1e-5) } else { (0.5, 0.05) };
        let at_most = |less: f64, more: f64| less <= more * (1.0 + relative) + absolute;
        prop_assert!(at_most(base, spent(kind, (q * factor).min(1.0), z, count, at)), "rate");
        prop_assert!(at_most(base, spent(kind, q, z / factor, count, at)), "noise");
        prop_assert!(at_most(base, spent(kind, q, z, count + count / 2, at)), "count");
        prop_assert!(at_most(base, spent(kind, q, z, count, at / factor)), "delta");
        prop_assert!(at_most(base, spent(Adjacency::ReplaceOne, q, z, count, at)), "adjacency");
    }

    #[test]
    fn a_larger_group_costs_more(q in rate(), z in multiplier(), count in 1..10_000_u64, k in 2..16_u32) {
        let of = |k| {
            let group = PldAccountant::for_groups(Adjacency::AddRemove, GroupSize::new(k).unwrap());
            composed(group, &step(q, z), count).epsilon(delta(1e-6)).value()
        };
        let (one, many) = (of(1), of(k));
        prop_assert!(many >= one * 0.999);
        prop_assert!(many >= 0.0 && many.is_finite());
    }
}
