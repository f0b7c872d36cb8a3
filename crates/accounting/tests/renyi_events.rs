//! The Rényi accountant beyond the sampled Gaussian: against published values, integrals and laws.

use burn_dp_accounting::Error;
use burn_dp_accounting::{Accountant, Adjacency, DpEvent, Epsilon, RdpAccountant, RunCount};
use proptest::prelude::*;

mod common {
    pub mod events;
    pub mod strategies;
}
use common::events::{
    best_of, composed, delta, fixed_size, gaussian, laplace, poisson, pure, selection, truncated,
    zcdp,
};
use common::strategies::{any_adjacency, multiplier};

const ADJACENCIES: [Adjacency; 3] =
    [Adjacency::AddRemove, Adjacency::ZeroOut, Adjacency::ReplaceOne];

/// The bounds for one run at these orders.
fn rdp(adjacency: Adjacency, orders: &[f64], event: &DpEvent) -> Vec<f64> {
    RdpAccountant::with_orders(adjacency, orders).unwrap().rdp_of(event).unwrap()
}

fn rdp_at(adjacency: Adjacency, order: f64, event: &DpEvent) -> f64 {
    rdp(adjacency, &[order], event)[0]
}

fn epsilon(adjacency: Adjacency, event: &DpEvent, at: f64) -> f64 {
    composed(RdpAccountant::new(adjacency), event, 1).epsilon(delta(at)).value()
}

/// `ours` is `exact` rounded up.
#[track_caller]
fn assert_rounded_up(ours: f64, exact: f64, tolerance: f64) {
    let error = ours / exact - 1.0;
    assert!((-1e-13..tolerance).contains(&error), "{ours} is not {exact}: {error:e}");
}

// Published values.

/// Rows tuning-373 to tuning-377 of dp-accounting 0.6.0: the best of several runs of 1000 steps at
/// q = 0.01 and z = 1, δ = 1e-5 (Papernot & Steinke 2022).
#[test]
fn tuning_costs_no_more_than_published() {
    let run = || poisson(0.01, gaussian(1.0)).repeated(1000);
    let single = epsilon(Adjacency::AddRemove, &run(), 1e-5);
    for (runs, published) in [
        (RunCount::geometric(10.0), 4.10327065640215),
        (RunCount::logarithmic(10.0), 3.5226334451373686),
        (RunCount::poisson(30.0), 8.139232535923092),
        (RunCount::geometric(1.0), 2.119411454549685),
    ] {
        let ours = epsilon(Adjacency::AddRemove, &best_of(run(), runs.unwrap()), 1e-5);
        assert!(ours <= published * (1.0 + 1e-6) && ours >= 0.98 * published, "{ours}");
        assert!(ours >= single);
    }
}

/// Row eps-355 of dp-accounting 0.6.0: batches of 100 of 3400 records, noise of 4 C, 1500 steps, δ = 1e-4
/// (Wang, Balle & Kasiviswanathan 2019).
///
/// The lower end is the conversion of an exact divergence: that of the worst position of the three
/// Gaussians that was tried, by quadrature in the plane with scipy 1.17.1. No bound on the divergence can
/// be below it.
#[test]
fn batches_of_fixed_size_cost_no_more_than_published() {
    let steps = fixed_size(3400, 100, gaussian(4.0)).repeated(1500);
    let ours = epsilon(Adjacency::ReplaceOne, &steps, 1e-4);
    assert!(ours <= 5.352462391864671 * (1.0 + 1e-6));
    assert!((2.40..2.52).contains(&ours), "{ours}");
    // Zeroing out moves the sum half as far, and replacing is zeroing out twice.
    let zeroed = epsilon(Adjacency::ZeroOut, &steps, 1e-4);
    assert!((0.45..0.5).contains(&(zeroed / ours)), "{zeroed}");
}

// Integrals and sums.

/// Simpson's rule over pieces on which `f` is smooth.
fn integral(f: impl Fn(f64) -> f64, ends: &[f64]) -> f64 {
    let piece = |from: f64, to: f64| {
        let h = (to - from) / 4000.0;
        let weight = |n: i32| {
            if n == 0 || n == 4000 {
                1.0
            } else if n % 2 == 1 {
                4.0
            } else {
                2.0
            }
        };
        (0..=4000).map(|n| weight(n) * f(from + f64::from(n) * h)).sum::<f64>() * h / 3.0
    };
    ends.windows(2).map(|ends| piece(ends[0], ends[1])).sum()
}

fn laplace_density(x: f64, z: f64) -> f64 {
    (-x.abs() / z).exp() / (2.0 * z)
}

#[test]
fn laplace_is_its_integral() {
    for z in [0.4, 1.0, 3.0] {
        for (order, adjacency) in
            [(1.3, Adjacency::AddRemove), (2.0, Adjacency::ReplaceOne), (6.5, Adjacency::ZeroOut)]
        {
            let shift = if adjacency == Adjacency::ReplaceOne { 2.0 } else { 1.0 };
            let moment = integral(
                |x| {
                    let ratio = (x.abs() - (x - shift).abs()) / z;
                    laplace_density(x, z) * (order * ratio).exp()
                },
                &[-40.0 * z, 0.0, shift, shift + 40.0 * z],
            );
            let ours = rdp_at(adjacency, order, &laplace(z));
            assert!((ours / (moment.ln() / (order - 1.0)) - 1.0).abs() < 1e-8, "{z} {order}");
        }
    }
}

#[test]
fn pure_dp_is_randomized_response() {
    for epsilon in [0.3_f64, 1.0, 4.0] {
        for order in [1.2, 2.0, 17.0] {
            let truth = epsilon.exp() / (1.0 + epsilon.exp());
            let moment = truth * (truth / (1.0 - truth)).powf(order - 1.0)
                + (1.0 - truth) * ((1.0 - truth) / truth).powf(order - 1.0);
            for adjacency in ADJACENCIES {
                let ours = rdp_at(adjacency, order, &pure(epsilon));
                assert_rounded_up(ours, moment.ln() / (order - 1.0), 1e-11);
            }
        }
    }
}

#[test]
fn bounded_range_is_the_worst_pair_of_two_losses() {
    for epsilon in [0.05_f64, 0.5, 3.0, 20.0] {
        for order in [1.05, 1.5, 3.0, 40.0] {
            let moment = |t: f64| {
                let likely = -(t - epsilon).exp_m1() / -(-epsilon).exp_m1();
                let less = order - 1.0;
                // Relative to e^(less·ε), which might overflow.
                likely * (less * (t - epsilon)).exp()
                    + (1.0 - likely) * (less * (t - 2.0 * epsilon)).exp()
            };
            let most = (0..=20_000).map(|n| moment(f64::from(n) / 20_000.0 * epsilon));
            let exact = most.fold(0.0, f64::max).ln() / (order - 1.0) + epsilon;
            let ours = rdp_at(Adjacency::AddRemove, order, &selection(epsilon, 1));
            let error = ours / exact - 1.0;
            assert!((-1e-9..1e-6).contains(&error), "{epsilon} {order}: {error:e}");
        }
    }
    // A one-shot top 5 is five selections.
    let order = 7.0;
    let five = rdp_at(Adjacency::AddRemove, order, &selection(0.1, 5));
    assert_eq!(five, rdp_at(Adjacency::AddRemove, order, &selection(0.1, 1).repeated(5)));
}

#[test]
fn concentrated_dp_is_linear_in_the_order() {
    for adjacency in ADJACENCIES {
        assert_rounded_up(rdp_at(adjacency, 12.5, &zcdp(0.25)), 3.125, 1e-11);
    }
}

#[test]
fn a_pure_release_on_a_sample_covers_the_mixture() {
    for (epsilon, rate, order) in
        [(1.0_f64, 0.01, 2.0), (3.0, 0.1, 5.0), (0.1, 0.5, 1.1), (0.5, 1e-6, 64.0)]
    {
        let event = poisson(rate, pure(epsilon));
        let truth = epsilon.exp() / (1.0 + epsilon.exp());
        let rest = [truth, 1.0 - truth];
        let with = [1.0 - truth, truth].map(|p| rate * p);
        let mixture = [0, 1].map(|n| with[n] + (1.0 - rate) * rest[n]);
        let exact = divergence(order, &mixture, &rest).max(divergence(order, &rest, &mixture));
        for adjacency in [Adjacency::AddRemove, Adjacency::ZeroOut] {
            let ours = rdp_at(adjacency, order, &event);
            // The sums above are rounded to about 1e-16, which shows where the rate squared is small.
            assert!(ours >= exact * (1.0 - 1e-9) - 1e-15, "{ours} < {exact}");
            assert!(ours <= 2.0 * exact + 1e-15, "{ours} is far from {exact}");
            let unsampled = (rate * epsilon.exp_m1()).ln_1p();
            assert!(ours <= rdp_at(adjacency, order, &pure(unsampled)) * (1.0 + 1e-11));
        }
    }
}

/// A mechanism that is ε-differentially private for replacing a record may still tell an empty batch from
/// one with a record. Then the worst log-ratio stays at ε under sampling.
#[test]
fn sampling_does_not_amplify_what_replacing_alone_bounds() {
    let (rate, epsilon) = (0.2, 1.0_f64);
    let truth = epsilon.exp() / (1.0 + epsilon.exp());
    let (one, other) =
        ([0.8, 0.2 * truth, 0.2 * (1.0 - truth)], [0.8, 0.2 * (1.0 - truth), 0.2 * truth]);
    for order in [1.5, 4.0, 300.0] {
        let ours = rdp_at(Adjacency::ReplaceOne, order, &poisson(rate, pure(epsilon)));
        assert_rounded_up(ours, divergence(order, &one, &other), 1e-10);
        assert!(ours > rdp_at(Adjacency::AddRemove, order, &poisson(rate, pure(epsilon))));
    }
}

fn divergence(order: f64, one: &[f64], other: &[f64]) -> f64 {
    let moment: f64 = one.iter().zip(other).map(|(p, q)| p * (p / q).powf(order - 1.0)).sum();
    moment.ln() / (order - 1.0)
}

#[test]
fn laplace_noise_on_a_sample_covers_the_mixture() {
    for (z, rate, order) in [(1.0, 0.01, 2.0), (0.5, 0.2, 4.0), (3.0, 0.5, 1.5)] {
        for (adjacency, [without, with, replaced]) in [
            (Adjacency::AddRemove, [0.0, 1.0, 0.0]),
            (Adjacency::ZeroOut, [0.0, 0.0, 1.0]),
            (Adjacency::ReplaceOne, [0.0, 1.0, -1.0]),
        ] {
            let density = |x: f64, mean: f64| {
                (1.0 - rate) * laplace_density(x - without, z) + rate * laplace_density(x - mean, z)
            };
            let moment = integral(
                |x| density(x, with) * (density(x, with) / density(x, replaced)).powf(order - 1.0),
                &[-40.0 * z, -1.0, 0.0, 1.0, 40.0 * z],
            );
            let exact = moment.ln() / (order - 1.0);
            let ours = rdp_at(adjacency, order, &poisson(rate, laplace(z)));
            assert!(ours >= exact * (1.0 - 1e-6) && ours <= 4.0 * exact, "{ours} and {exact}");
        }
    }
}

// Edges.

#[test]
fn edge_cases_of_the_domain() {
    for adjacency in ADJACENCIES {
        for nothing in [
            pure(0.0),
            selection(0.0, 3),
            selection(1.0, 0),
            zcdp(0.0),
            poisson(0.0, pure(f64::INFINITY)),
            poisson(0.5, pure(0.0)),
            best_of(poisson(0.0, gaussian(0.0)), RunCount::poisson(9.0).unwrap()),
            best_of(pure(0.0), RunCount::logarithmic(9.0).unwrap()),
        ] {
            assert_eq!(epsilon(adjacency, &nothing, 1e-5), 0.0, "{nothing:?}");
        }
        for everything in [
            pure(f64::INFINITY),
            selection(f64::INFINITY, 1),
            laplace(0.0),
            poisson(0.1, laplace(0.0)),
            poisson(0.1, pure(f64::INFINITY)),
            best_of(gaussian(0.0), RunCount::poisson(2.0).unwrap()),
            best_of(gaussian(0.0), RunCount::geometric(1.0).unwrap()),
        ] {
            assert_eq!(epsilon(adjacency, &everything, 1e-5), f64::INFINITY, "{everything:?}");
        }
    }
    for adjacency in [Adjacency::ZeroOut, Adjacency::ReplaceOne] {
        for base in [gaussian(0.0), laplace(0.0), pure(f64::INFINITY)] {
            assert_eq!(epsilon(adjacency, &fixed_size(9, 3, base), 1e-5), f64::INFINITY);
        }
        assert_eq!(epsilon(adjacency, &fixed_size(9, 3, pure(0.0)), 1e-5), 0.0);
        // The whole data set is no sample.
        let whole = fixed_size(9, 9, gaussian(2.0));
        assert_eq!(epsilon(adjacency, &whole, 1e-5), epsilon(adjacency, &gaussian(2.0), 1e-5));
    }
}

#[test]
fn what_has_no_bound_is_refused_and_changes_nothing() {
    let fixed = fixed_size(100, 10, gaussian(1.0));
    let runs = RunCount::geometric(2.0).unwrap();
    for adjacency in ADJACENCIES {
        let mut accountant = RdpAccountant::new(adjacency);
        accountant.compose(&pure(0.5), 3).unwrap();
        let before = accountant.rdp();
        let mut refused = vec![
            truncated(0.01, 1000, 20, gaussian(1.0)),
            truncated(0.01, 1000, 20, pure(1.0)),
            best_of(truncated(0.01, 1000, 20, gaussian(1.0)), runs),
            DpEvent::Composed(vec![gaussian(1.0), truncated(0.01, 1000, 20, laplace(1.0))]),
            poisson(0.1, poisson(0.1, gaussian(1.0))),
        ];
        if adjacency == Adjacency::AddRemove {
            refused.extend([fixed.clone(), best_of(fixed.clone(), runs)]);
        }
        for event in refused {
            assert!(matches!(accountant.supports(&event), Err(Error::UnsupportedEvent { .. })));
            assert!(matches!(accountant.rdp_of(&event), Err(Error::UnsupportedEvent { .. })));
            assert!(matches!(accountant.compose(&event, 1), Err(Error::UnsupportedEvent { .. })));
        }
        assert!(accountant.compose(&pure(0.5), u64::MAX).is_err(), "the count overflows");
        assert_eq!(accountant.rdp(), before);
        assert!(accountant.supports(&best_of(pure(0.1), runs)).is_ok());
    }
    assert!(RdpAccountant::new(Adjacency::ZeroOut).supports(&fixed).is_ok());
}

// Replace-one.

/// Group privacy over a removal and an addition needs to know the cost of everything under add/remove.
#[test]
fn group_privacy_ends_where_a_cost_is_stated_for_replacing() {
    let steps = || poisson(1e-4, gaussian(0.5)).repeated(1000);
    let runs = RunCount::geometric(1.0).unwrap();
    let with = |event: DpEvent| {
        epsilon(Adjacency::ReplaceOne, &DpEvent::Composed(vec![steps(), event]), 1e-5)
    };
    let grouped = epsilon(Adjacency::ReplaceOne, &steps(), 1e-5);
    let removed = epsilon(Adjacency::AddRemove, &steps(), 1e-5);
    assert!(grouped > removed && grouped < 3.0 * removed, "{grouped} and {removed}");
    // Events that cost nothing under add/remove leave the bound as it is.
    for free in
        [gaussian(1e9), laplace(1e9), poisson(0.5, laplace(1e9)), best_of(gaussian(1e9), runs)]
    {
        assert_rounded_up(with(free), grouped, 1e-6);
    }
    // Events whose cost under add/remove is not known end it, even if they cost nothing under replace-one.
    let direct = with(pure(0.0));
    assert!(direct > 1.03 * grouped, "{direct} and {grouped}");
    for silent in [
        poisson(0.5, pure(0.0)),
        zcdp(0.0),
        selection(0.0, 1),
        fixed_size(100, 1, gaussian(1e9)),
        best_of(zcdp(0.0), runs),
    ] {
        assert_rounded_up(with(silent), direct, 1e-6);
    }
    // The δ of an ε follows the same rule.
    let mut accountant = RdpAccountant::new(Adjacency::ReplaceOne);
    accountant.compose(&steps(), 1).unwrap();
    let at = Epsilon::new(grouped).unwrap();
    assert!(accountant.delta(at) <= 1e-5);
    accountant.compose(&pure(0.0), 1).unwrap();
    assert!(accountant.delta(at) > 1e-5);
}

#[test]
fn replacing_doubles_the_distance_but_not_a_stated_cost() {
    for order in [1.5, 8.0] {
        let at = |adjacency, event: &DpEvent| rdp_at(adjacency, order, event);
        let replaced = at(Adjacency::ReplaceOne, &laplace(3.0));
        assert_rounded_up(replaced, at(Adjacency::AddRemove, &laplace(1.5)), 1e-10);
        for stated in [pure(0.7), zcdp(0.2), selection(0.7, 2)] {
            assert_eq!(at(Adjacency::ReplaceOne, &stated), at(Adjacency::AddRemove, &stated));
        }
    }
}

// Laws.

/// From 1e-12 to 700.
fn any_epsilon() -> impl Strategy<Value = f64> {
    (-27.6..6.55_f64).prop_map(f64::exp)
}

fn any_rate() -> impl Strategy<Value = f64> {
    prop_oneof![(-14.0..0.0_f64).prop_map(f64::exp), 0.9..1.0_f64]
}

fn base() -> impl Strategy<Value = DpEvent> {
    prop_oneof![
        multiplier().prop_map(gaussian),
        multiplier().prop_map(laplace),
        any_epsilon().prop_map(pure),
    ]
}

fn any_runs() -> impl Strategy<Value = RunCount> {
    let mean = (0.0..9.0_f64).prop_map(f64::exp);
    prop_oneof![
        mean.clone().prop_map(|mean| RunCount::poisson(mean).unwrap()),
        (mean, prop_oneof![Just(0.0), Just(1.0), (-9.0..9.0_f64).prop_map(f64::exp)])
            .prop_map(|(mean, shape)| RunCount::negative_binomial(mean, shape).unwrap()),
    ]
}

fn any_event() -> impl Strategy<Value = DpEvent> {
    let one = prop_oneof![
        base(),
        (any_rate(), base()).prop_map(|(rate, event)| poisson(rate, event)),
        any_epsilon().prop_map(|epsilon| selection(epsilon, 1)),
        any_epsilon().prop_map(zcdp),
    ];
    let runs = (one.clone(), 1..50_u64, any_runs())
        .prop_map(|(event, count, runs)| best_of(event.repeated(count), runs));
    prop_oneof![4 => one, 1 => runs]
}

fn any_fixed_size() -> impl Strategy<Value = DpEvent> {
    (2..1_000_000_u64, any_rate(), base()).prop_map(|(records, rate, event)| {
        fixed_size(records, ((records as f64 * rate) as u64).clamp(1, records), event)
    })
}

fn fixed_adjacency() -> impl Strategy<Value = Adjacency> {
    prop_oneof![Just(Adjacency::ZeroOut), Just(Adjacency::ReplaceOne)]
}

fn case() -> impl Strategy<Value = (Adjacency, DpEvent)> {
    prop_oneof![3 => (any_adjacency(), any_event()), 1 => (fixed_adjacency(), any_fixed_size())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn bounds_are_positive_numbers_that_grow_with_the_order((adjacency, event) in case()) {
        let orders = [1.000_001, 1.01, 1.5, 2.0, 2.7, 3.0, 7.9, 8.0, 9.0, 64.0, 65.0, 1000.0];
        let bounds = rdp(adjacency, &orders, &event);
        prop_assert!(bounds.iter().all(|&bound| bound > 0.0), "{bounds:?}");
        // So close to order 1, the sampled Gaussian has only the bound of order 2.
        for pair in bounds[1..].windows(2) {
            prop_assert!(pair[0] <= pair[1] * (1.0 + 1e-6), "{bounds:?}");
        }
    }

    #[test]
    fn delta_of_epsilon_is_at_most_delta((adjacency, event) in case(), at in -34.5..-0.7_f64) {
        let accountant = composed(RdpAccountant::new(adjacency), &event, 3);
        let answer = accountant.epsilon(delta(at.exp()));
        prop_assert!(accountant.delta(answer) <= at.exp());
    }

    #[test]
    fn order_nesting_and_splitting_do_not_matter(
        (adjacency, event) in case(), other in any_event(), count in 1..20_u64,
    ) {
        let mut forward = RdpAccountant::new(adjacency);
        forward.compose(&event, count + 1).unwrap();
        forward.compose(&other, 2).unwrap();
        let mut split = RdpAccountant::new(adjacency);
        split.compose(&other, 1).unwrap();
        for _ in 0..count {
            split.compose(&event, 1).unwrap();
        }
        split.compose(&DpEvent::Composed(vec![event, other]).repeated(1), 1).unwrap();
        prop_assert_eq!(forward.rdp(), split.rdp());
        prop_assert_eq!(forward.epsilon(delta(1e-5)), split.epsilon(delta(1e-5)));
    }

    #[test]
    fn more_noise_or_less_sampling_never_costs_more(
        z in multiplier(), epsilon in any_epsilon(), rate in any_rate(), factor in 1.0..4.0_f64,
        adjacency in any_adjacency(), order in 1.01..200.0_f64,
    ) {
        let at = |event: &DpEvent| rdp_at(adjacency, order, event);
        let at_most = |less: DpEvent, more: DpEvent| {
            prop_assert!(at(&less) <= at(&more) * (1.0 + 1e-9) + 1e-300, "{less:?} {more:?}");
            Ok(())
        };
        at_most(laplace(z * factor), laplace(z))?;
        at_most(pure(epsilon), pure(epsilon * factor))?;
        at_most(selection(epsilon, 1), selection(epsilon * factor, 1))?;
        at_most(selection(epsilon, 1), pure(epsilon))?;
        at_most(laplace(z), pure(adjacency_distance(adjacency) / z))?;
        for event in [pure(epsilon), laplace(z)] {
            at_most(poisson(rate, event.clone()), event.clone())?;
            at_most(poisson(rate / factor, event.clone()), poisson(rate, event))?;
        }
        at_most(poisson(rate, pure(epsilon)), poisson(rate, pure(epsilon * factor)))?;
    }

    #[test]
    fn a_batch_of_fixed_size_costs_less_than_all_and_more_than_poisson(
        z in multiplier(), epsilon in any_epsilon(), batch in 1..1000_u64,
        adjacency in fixed_adjacency(), order in 1.01..200.0_f64,
    ) {
        let at = |event: &DpEvent| rdp_at(adjacency, order, event);
        for event in [gaussian(z), laplace(z), pure(epsilon)] {
            let sampled = at(&fixed_size(1000, batch, event.clone()));
            prop_assert!(sampled <= at(&event) * (1.0 + 1e-9), "{event:?}");
            let fewer = at(&fixed_size(1000, batch / 2, event.clone()));
            prop_assert!(fewer <= sampled * (1.0 + 1e-9), "{event:?}");
        }
        // If the other records contribute nothing, zeroing out a record makes the same pair as Poisson
        // sampling.
        if adjacency == Adjacency::ZeroOut {
            let rate = batch as f64 / 1000.0;
            // At a whole order, where the bound for Poisson sampling is exact.
            let at = |event: &DpEvent| rdp_at(adjacency, order.ceil(), event);
            let sampled = at(&fixed_size(1000, batch, gaussian(z)));
            prop_assert!(at(&poisson(rate, gaussian(z))) <= sampled * (1.0 + 1e-9));
        }
    }

    /// The outputs of three batches: with the record, with it in the neighboring data set, and with another
    /// record in its place.
    #[test]
    fn no_discrete_mechanism_exceeds_the_bound_for_batches_of_fixed_size(
        weights in prop::array::uniform3(0.01..1.0_f64),
        tilts in prop::array::uniform3(prop::array::uniform3(prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64])),
        epsilon in (-4.0..2.0_f64).prop_map(f64::exp), batch in 1..100_u64, order in 1.1..40.0_f64,
    ) {
        let rate = batch as f64 / 100.0;
        let tilted = |from: [f64; 3], tilt: [f64; 3], epsilon: f64| {
            let weights = [0, 1, 2].map(|n| from[n] * (epsilon * tilt[n]).exp());
            weights.map(|weight| weight / weights.iter().sum::<f64>())
        };
        let mix = |without: [f64; 3], with: [f64; 3]| {
            [0, 1, 2].map(|n| (1.0 - rate) * without[n] + rate * with[n])
        };
        // Replace-one: each is within ε of both others.
        let [with, replaced, without] = tilts.map(|tilt| tilted(weights, tilt, epsilon / 2.0));
        let exact = divergence(order, &mix(without, with), &mix(without, replaced));
        let event = fixed_size(100, batch, pure(epsilon));
        prop_assert!(exact <= rdp_at(Adjacency::ReplaceOne, order, &event) * (1.0 + 1e-9) + 1e-14);
        // Zero-out: the others are within ε of the one in which the record is zeroed out.
        let zeroed = tilted(weights, tilts[0], 0.0);
        let (with, without) = (tilted(zeroed, tilts[1], epsilon), tilted(zeroed, tilts[2], epsilon));
        let ours = rdp_at(Adjacency::ZeroOut, order, &event) * (1.0 + 1e-9) + 1e-14;
        prop_assert!(divergence(order, &mix(without, with), &mix(without, zeroed)) <= ours);
        prop_assert!(divergence(order, &mix(without, zeroed), &mix(without, with)) <= ours);
    }

    #[test]
    fn choosing_the_best_costs_at_least_one_run_and_grows_with_their_number(
        (adjacency, event) in case(), mean in (0.0..9.0_f64).prop_map(f64::exp), runs in any_runs(),
    ) {
        let orders = RdpAccountant::default_orders();
        let once = rdp(adjacency, &orders, &event);
        let at = |mean: f64| {
            let runs = if runs.shape().is_finite() {
                RunCount::negative_binomial(mean, runs.shape())
            } else {
                RunCount::poisson(mean)
            };
            rdp(adjacency, &orders, &best_of(event.clone(), runs.unwrap()))
        };
        let (fewer, more) = (at(mean), at(2.0 * mean));
        for ((fewer, more), once) in fewer.iter().zip(&more).zip(&once) {
            prop_assert!(*fewer >= once * (1.0 - 1e-6), "{fewer} < {once}");
            prop_assert!(*fewer <= more * (1.0 + 1e-9), "{fewer} > {more}");
        }
        // With a mean of 1, there is always one run.
        if runs.shape().is_finite() {
            for (single, once) in at(1.0).iter().zip(&once) {
                prop_assert!(*single <= once * (1.0 + 1e-11) + 1e-300, "{single} > {once}");
            }
        }
    }
}

fn adjacency_distance(adjacency: Adjacency) -> f64 {
    if adjacency == Adjacency::ReplaceOne { 2.0 } else { 1.0 }
}
