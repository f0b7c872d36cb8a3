//! The exact Gaussian, zero-concentrated and approximate accountants, and trade-off curves, against
//! published values, 40-digit arithmetic, and the laws that every accountant obeys.

use burn_dp_accounting::Error;
use burn_dp_accounting::{
    Accountant, Adjacency, ApproximateGdpAccountant, DpEvent, Epsilon, GaussianAccountant,
    RdpAccountant, RunCount, TradeOffCurve, ZcdpAccountant, calibrate_noise_multiplier,
};
use proptest::prelude::*;
use serde_json::Value;
use statrs::distribution::{ContinuousCDF, Normal};

mod common {
    pub mod events;
    pub mod published;
    pub mod strategies;
}
use common::events::{best_of, composed, delta, epsilon, gaussian, laplace, pure, step, zcdp};
use common::published::{adjacency, count, number, rows};
use common::strategies::{any_adjacency, multiplier};

/// mpmath 1.3, 40 digits, from the definition of δ (Balle & Wang 2018): z, ε, δ(ε).
const DELTAS: [(f64, f64, f64); 45] = [
    (1e4, 3.0005e-05, 2.667461398450929e-05),
    (1e4, 0.000400005, 7.145103925216571e-10),
    (1e4, 0.002, 1.3713831907531337e-94),
    (1e4, 0.0037, 1.548060452935766e-305),
    (1234.5, 0.000243341, 0.0002159896009920358),
    (1234.5, 0.00324051, 5.786846694456067e-09),
    (1234.5, 0.0162012, 1.110253555263795e-93),
    (1234.5, 0.029972, 1.2503096165444302e-304),
    (100.0, 0.00305, 0.0026525829073831895),
    (100.0, 0.04005, 7.129839488759444e-08),
    (100.0, 0.20005, 1.3693328747586821e-92),
    (100.0, 0.37005, 1.544782591898191e-303),
    (12.3, 0.0276952, 0.020727912271188698),
    (12.3, 0.328508, 5.708775793111545e-07),
    (12.3, 1.62932, 1.1096761922270649e-91),
    (12.3, 3.01143, 1.256366561511431e-302),
    (3.7, 0.117604, 0.06236772337039778),
    (3.7, 1.1176, 1.8244309400778502e-06),
    (3.7, 5.44193, 3.6532935699976984e-91),
    (3.7, 10.0365, 4.1590945447287113e-302),
    (1.0, 0.0, 0.3829249225480262),
    (1.0, 0.8, 0.16665513746786734),
    (1.0, 4.5, 5.867689649769556e-06),
    (1.0, 20.5, 1.3052249067734111e-90),
    (1.0, 37.5, 1.504621630436529e-301),
    (0.31, 3.59001, 0.5752502838836944),
    (0.31, 6.17066, 0.28107794588997453),
    (0.31, 18.1061, 1.3486885270135805e-05),
    (0.31, 69.719, 3.8103266496273917e-90),
    (0.31, 124.558, 4.572547882046065e-301),
    (0.05, 190.0, 0.6734549403186141),
    (0.05, 206.0, 0.36334626371051565),
    (0.05, 280.0, 2.6104613442711012e-05),
    (0.05, 600.0, 1.3742480638150675e-89),
    (0.05, 940.0, 2.0074051828374636e-300),
    (0.0021, 113141.0, 0.6904185206947636),
    (0.0021, 113522.0, 0.3809215983370966),
    (0.0021, 115283.0, 3.1517273807906886e-05),
    (0.0021, 122902.0, 2.6979352240358905e-89),
    (0.0021, 130998.0, 5.203075576154526e-300),
    (1e-5, 4999950000.0, 0.6914589406002625),
    (1e-5, 5000030000.0, 0.3820847639412149),
    (1e-5, 5000400000.0, 3.1669903583297585e-05),
    (1e-5, 5002000000.0, 2.7530721337153303e-89),
    (1e-5, 5003700000.0, 5.723451998351336e-300),
];

/// The same, solved for ε by bisection: z, δ, ε(δ).
const EPSILONS: [(f64, f64, f64); 50] = [
    (1e4, 0.5, 0.0),
    (1e4, 1e-3, 0.0),
    (1e4, 1e-10, 0.00044249381589037454),
    (1e4, 1e-100, 0.002069124899141161),
    (1e4, 1e-300, 0.003669987236549905),
    (1234.5, 0.5, 0.0),
    (1234.5, 1e-3, 0.0),
    (1234.5, 1e-10, 0.0039223189705774085),
    (1234.5, 1e-100, 0.016842443148301536),
    (1234.5, 1e-300, 0.02977488812794709),
    (100.0, 0.5, 0.0),
    (100.0, 1e-3, 0.009048072593038798),
    (100.0, 1e-10, 0.05309203337784392),
    (100.0, 1e-100, 0.2091655259209483),
    (100.0, 1e-300, 0.3682989900138095),
    (12.3, 0.5, 0.0),
    (12.3, 1e-3, 0.15351023471989084),
    (12.3, 1e-10, 0.46366361083369256),
    (12.3, 1e-100, 1.711509513653485),
    (12.3, 1e-300, 3.0018110855179465),
    (3.7, 0.5, 0.0),
    (3.7, 1e-3, 0.6495179143492876),
    (3.7, 1e-10, 1.6190262470327073),
    (3.7, 1e-100, 5.73039884555282),
    (3.7, 1e-300, 10.013279047877562),
    (1.0, 0.5, 0.0),
    (1.0, 1e-3, 3.1386705485829394),
    (1.0, 1e-10, 6.547924066864951),
    (1.0, 1e-100, 21.627508093648384),
    (1.0, 1e-300, 37.44884791213911),
    (0.31, 0.5, 4.22889556169664),
    (0.31, 1e-3, 14.474731612242763),
    (0.31, 1e-10, 25.172409379991432),
    (0.31, 1e-100, 73.5195592869919),
    (0.31, 1e-300, 124.48985337202474),
    (0.05, 0.5, 199.00082757178816),
    (0.05, 1e-3, 260.875331753101),
    (0.05, 1e-10, 326.3589505148827),
    (0.05, 1e-100, 624.7880653692981),
    (0.05, 1e-300, 940.3761240049179),
    (0.0021, 0.5, 113377.68480872623),
    (0.0021, 1e-3, 114849.22723288879),
    (0.0021, 1e-10, 116406.90138271327),
    (0.0021, 1e-100, 123507.92248336389),
    (0.0021, 1e-300, 131019.19622946582),
    (1e-5, 0.5, 4999999998.999999),
    (1e-5, 1e-3, 5000309022.230632),
    (1e-5, 1e-10, 5000636133.090271),
    (1e-5, 1e-100, 5002127344.356202),
    (1e-5, 1e-300, 5003704708.63012),
];

fn exact(z: f64, count: u64) -> GaussianAccountant {
    composed(GaussianAccountant::new(Adjacency::AddRemove), &gaussian(z), count)
}

fn concentrated(event: &DpEvent) -> ZcdpAccountant {
    composed(ZcdpAccountant::new(Adjacency::AddRemove), event, 1)
}

mod exact_gaussian {
    use super::*;

    #[test]
    fn published_values_are_met_from_above() {
        let of = |row: &Value| {
            let event = gaussian(number(row, "noise_multiplier"));
            composed(GaussianAccountant::new(adjacency(row)), &event, count(row, "steps"))
        };
        for row in rows("eps", "exact_gaussian") {
            let ours = of(&row).epsilon(delta(number(&row, "delta"))).value();
            let error = ours / number(&row, "epsilon") - 1.0;
            assert!((0.0..1e-12).contains(&error), "{}: {error:e}", row["id"]);
        }
        for row in rows("delta", "exact_gaussian") {
            let ours = of(&row).delta(epsilon(number(&row, "epsilon")));
            let error = ours / number(&row, "delta") - 1.0;
            assert!((0.0..1e-12).contains(&error), "{}: {error:e}", row["id"]);
        }
        for row in rows("calibrate_sigma", "exact_gaussian") {
            let ours = calibrate_noise_multiplier(
                epsilon(number(&row, "epsilon")),
                delta(number(&row, "delta")),
                || GaussianAccountant::new(Adjacency::AddRemove),
                |z| Ok(DpEvent::gaussian(z)),
            );
            let error = ours.unwrap().value() / number(&row, "noise_multiplier") - 1.0;
            assert!((0.0..1e-6).contains(&error), "{}: {error:e}", row["id"]);
        }
    }

    #[test]
    fn delta_is_exact_from_above_at_extremes() {
        for (z, at, expected) in DELTAS {
            let error = exact(z, 1).delta(epsilon(at)) / expected - 1.0;
            // What one unit in the last place of ε and μ moves.
            let (s, t) = (at * z + 0.5 / z, at * z - 0.5 / z);
            let conditioning = 2e-15 * s * (1.0 + t.abs());
            assert!((0.0..1e-12 + conditioning).contains(&error), "z {z}, ε {at}: {error:e}");
        }
    }

    #[test]
    fn epsilon_is_exact_from_above_at_extremes() {
        for (z, at, expected) in EPSILONS {
            let ours = exact(z, 1).epsilon(delta(at)).value();
            let error = if expected == 0.0 { ours } else { ours / expected - 1.0 };
            assert!((0.0..1e-12).contains(&error), "z {z}, δ {at:e}: {error:e}");
        }
    }

    #[test]
    fn edges() {
        for kind in [Adjacency::AddRemove, Adjacency::ZeroOut, Adjacency::ReplaceOne] {
            let nothing = GaussianAccountant::new(kind);
            assert_eq!((nothing.mu(), nothing.equivalent_noise_multiplier()), (0.0, None));
            assert_eq!(nothing.epsilon(delta(1e-300)).value(), 0.0);
            assert_eq!(nothing.delta(epsilon(0.0)), 0.0);
            let open = composed(GaussianAccountant::new(kind), &gaussian(0.0), 1);
            assert_eq!(open.epsilon(delta(0.9)), Epsilon::INFINITY);
            assert_eq!(open.delta(Epsilon::INFINITY), 1.0);
            assert_eq!(open.equivalent_noise_multiplier().unwrap().value(), 0.0);
        }
        // Where squares under- and overflow the answer is still an upper bound.
        assert!(exact(1e200, 1).delta(epsilon(0.0)) > 0.0);
        assert_eq!(exact(1e200, 1).epsilon(delta(1e-100)).value(), 0.0);
        assert_eq!(exact(1e-200, 1).epsilon(delta(0.5)), Epsilon::INFINITY);
        assert!(exact(1e-20, 1).epsilon(delta(1e-5)).value() >= 5e39);
        assert!(exact(1.0, u64::MAX).epsilon(delta(1e-5)).value() >= 9.223e18);
        for finite in [1e300, 1e9, 745.0, 1e-300, 0.0] {
            for z in [1e10, 1.0, 1e-4] {
                let some = exact(z, 1).delta(epsilon(finite));
                assert!(some > 0.0 && some <= 1.0, "z {z}, ε {finite}: {some:e}");
            }
        }
        assert_eq!(exact(1.0, 1).delta(Epsilon::INFINITY), 0.0);
        let tiny = delta(f64::from_bits(1));
        let answer = exact(1.0, 1).epsilon(tiny);
        assert!(answer.is_finite() && exact(1.0, 1).delta(answer) <= tiny.value());
    }

    #[test]
    fn everything_else_is_refused_and_changes_nothing() {
        let mut accountant = exact(2.0, 3);
        let before = accountant.mu();
        for event in [step(0.5, 1.0), laplace(1.0), zcdp(1.0)] {
            let mixed = DpEvent::Composed(vec![gaussian(1.0), event.clone()]);
            for event in [event, mixed] {
                assert!(matches!(accountant.supports(&event), Err(Error::UnsupportedEvent { .. })));
                assert!(accountant.compose(&event, 1).is_err());
            }
        }
        assert!(accountant.compose(&gaussian(2.0), u64::MAX).is_err());
        assert_eq!(accountant.mu(), before);
        assert!(accountant.supports(&step(1.0, 1.0)).is_ok(), "all records");
    }
}

mod zero_concentrated {
    use super::*;

    /// Proposition 12 of Canonne, Kamath & Steinke 2020 on a fine grid of orders.
    fn by_grid(rho: f64, log_delta: f64) -> f64 {
        let at = |step: i32| {
            let less = (f64::from(step) * 2e-3).exp();
            let order = 1.0 + less;
            rho * order + (less / order).ln() - (log_delta + order.ln()) / less
        };
        (-6000..20_000).map(at).fold(f64::INFINITY, f64::min).max(0.0)
    }

    #[test]
    fn published_values_are_met() {
        for row in rows("zcdp", "google_rdp") {
            let (rho, at) = (number(&row, "rho"), delta(number(&row, "delta")));
            let ours = concentrated(&zcdp(rho)).epsilon(at).value();
            assert!(ours <= number(&row, "epsilon") * (1.0 + 1e-9), "{}: {ours}", row["id"]);
            let least = exact((2.0 * rho).sqrt().recip(), 1).epsilon(at).value();
            assert!(ours >= least, "{}: {ours} < {least}", row["id"]);
        }
    }

    #[test]
    fn pure_privacy_costs_what_randomized_response_does() {
        for e in [1e-4, 0.1, 0.5, 1.0, 3.0, 10.0, 100.0] {
            let rho = concentrated(&DpEvent::PureDp { epsilon: epsilon(e) }).rho();
            assert!(rho <= 0.5 * e * e * (1.0 + 1e-14) && rho <= e * (1.0 + 1e-14));
            // log cosh, for randomized response of parameter ε at order α.
            let log_cosh = |x: f64| x + (-2.0 * x).exp().ln_1p() - std::f64::consts::LN_2;
            for order in [1.0 + 1e-4, 1.01, 1.5, 2.0, 5.0, 50.0, 1000.0] {
                let rdp = (log_cosh((order - 0.5) * e) - log_cosh(0.5 * e)) / (order - 1.0);
                assert!(rdp <= rho * order * (1.0 + 1e-9) + 1e-11, "ε {e}, order {order}");
            }
        }
    }

    #[test]
    fn each_release_has_its_rho() {
        let selection = |e| DpEvent::ExponentialSelection { epsilon: epsilon(e), selections: 4 };
        for (event, rho, replaced) in [
            (gaussian(2.0), 0.125, 0.5),
            (zcdp(0.25), 0.25, 0.25),
            (laplace(2.0), 0.5 * 0.25_f64.tanh(), 0.5_f64.tanh()),
            (selection(1.0), 0.5, 0.5),
            (selection(20.0), 80.0 * 10.0_f64.tanh(), 80.0 * 10.0_f64.tanh()),
        ] {
            for (kind, expected) in [(Adjacency::AddRemove, rho), (Adjacency::ReplaceOne, replaced)]
            {
                let ours = composed(ZcdpAccountant::new(kind), &event, 3).rho();
                let error = ours / (3.0 * expected) - 1.0;
                assert!((0.0..1e-14).contains(&error), "{event:?}: {error:e}");
            }
        }
    }

    #[test]
    fn edges() {
        let nothing = ZcdpAccountant::new(Adjacency::AddRemove);
        assert_eq!((nothing.rho(), nothing.delta(epsilon(0.0))), (0.0, 0.0));
        assert_eq!(nothing.epsilon(delta(1e-300)).value(), 0.0);
        let free = concentrated(&pure(0.0));
        assert_eq!(free.epsilon(delta(1e-300)).value(), 0.0);
        for event in [gaussian(0.0), pure(f64::INFINITY)] {
            let open = concentrated(&event);
            assert_eq!(open.epsilon(delta(0.9)), Epsilon::INFINITY);
            assert_eq!(open.delta(Epsilon::INFINITY), 1.0);
        }
        for rho in [5e-324, 1e-300, 1e-100, 1e-12, 1.0, 1e12, 1e100, 1e300] {
            let some = concentrated(&zcdp(rho));
            for at in [1e-300, 1e-12, 1e-5, 0.5, 1.0 - 1e-15] {
                let answer = some.epsilon(delta(at));
                assert!(answer.is_finite(), "ρ {rho}, δ {at}");
                assert!(some.delta(answer) <= at, "ρ {rho}, δ {at}");
            }
            assert_eq!(some.delta(Epsilon::INFINITY), 0.0);
            assert!(some.delta(epsilon(1e300)) > 0.0);
        }
        for refused in [step(0.5, 1.0), best_of(gaussian(1.0), RunCount::geometric(2.0).unwrap())] {
            assert!(matches!(nothing.supports(&refused), Err(Error::UnsupportedEvent { .. })));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_best_order_is_found(log_rho in -20.0..10.0_f64, log_delta in -34.5..-0.7_f64) {
            let rho = log_rho.exp();
            let accountant = concentrated(&zcdp(rho));
            let ours = accountant.epsilon(delta(log_delta.exp())).value();
            let grid = by_grid(rho, log_delta);
            prop_assert!(ours <= grid * (1.0 + 1e-12), "{ours} > {grid}");
            // Smaller only where the total variation says that ε = 0.
            prop_assert!(ours >= grid * (1.0 - 1e-5) - 1e-6 || ours == 0.0, "{ours} < {grid}");
        }

        #[test]
        fn concentration_is_never_below_the_exact_gaussian(
            log_z in -2.3..6.9_f64, count in 1..10_000_000_u64, log_delta in -34.5..-0.7_f64,
        ) {
            let (z, at) = (log_z.exp(), delta(log_delta.exp()));
            let least = exact(z, count);
            let ours = composed(ZcdpAccountant::new(Adjacency::AddRemove), &gaussian(z), count);
            prop_assert!(ours.epsilon(at) >= least.epsilon(at));
            prop_assert!(ours.delta(epsilon(1.0)) >= least.delta(epsilon(1.0)));
            let rdp = composed(RdpAccountant::new(Adjacency::AddRemove), &gaussian(z), count);
            prop_assert!(ours.epsilon(at).value() <= rdp.epsilon(at).value() * (1.0 + 1e-9) + 1e-11);
        }
    }
}

mod central_limit {
    use super::*;

    #[test]
    fn published_values_are_reproduced() {
        for row in rows("gdp", "gdp_clt_poisson") {
            let event = step(number(&row, "q"), number(&row, "noise_multiplier"));
            let accountant = composed(
                ApproximateGdpAccountant::new(Adjacency::AddRemove),
                &event,
                count(&row, "steps"),
            );
            assert!((accountant.mu() / number(&row, "mu") - 1.0).abs() < 1e-12, "{}", row["id"]);
            let ours = accountant.epsilon(delta(number(&row, "delta"))).value();
            let error = ours / number(&row, "epsilon") - 1.0;
            assert!(error.abs() < 1e-6, "{}: {error:e}", row["id"]);
        }
    }

    #[test]
    fn it_says_that_it_is_no_bound_and_it_is_none() {
        let accountant =
            composed(ApproximateGdpAccountant::new(Adjacency::ZeroOut), &step(1e-4, 0.5), 100_000);
        assert!(!accountant.is_upper_bound() && accountant.name().starts_with("approximate"));
        let said = accountant.epsilon(delta(1e-8)).value();
        assert!((1.19..1.20).contains(&said), "{said} for a true 4.47");
    }

    #[test]
    fn what_is_exact_stays_exact() {
        for kind in [Adjacency::AddRemove, Adjacency::ReplaceOne] {
            let ours = composed(ApproximateGdpAccountant::new(kind), &gaussian(3.0), 10);
            let exact = composed(GaussianAccountant::new(kind), &gaussian(3.0), 10);
            assert_eq!(ours.epsilon(delta(1e-5)), exact.epsilon(delta(1e-5)));
            assert!(matches!(ours.supports(&laplace(1.0)), Err(Error::UnsupportedEvent { .. })));
        }
        let replacing = ApproximateGdpAccountant::new(Adjacency::ReplaceOne);
        assert!(replacing.supports(&step(0.1, 1.0)).is_err());
        let open =
            composed(ApproximateGdpAccountant::new(Adjacency::AddRemove), &step(0.1, 1e-3), 1);
        assert_eq!(open.epsilon(delta(1e-5)), Epsilon::INFINITY, "e^(1/z²) overflows");
    }
}

mod trade_off {
    use super::*;

    /// Φ(Φ⁻¹(1 − a) − μ), to about 1e-10.
    fn of_gaussian(mu: f64, rate: f64) -> f64 {
        let normal = Normal::standard();
        normal.cdf(-normal.inverse_cdf(rate) - mu)
    }

    fn rates() -> impl Iterator<Item = f64> {
        let small = (1..30).map(|n| f64::from(n).exp2().recip());
        let large = (1..100).map(|n| f64::from(n) / 100.0);
        small.chain(large)
    }

    #[test]
    fn it_is_just_below_the_exact_curve_of_a_gaussian() {
        for (points, tolerance) in [(25, 3e-2), (100, 2e-3), (400, 2e-4)] {
            for mu in [0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 40.0] {
                let curve = TradeOffCurve::of(&exact(1.0 / mu, 1), points).unwrap();
                assert!(curve.is_lower_bound());
                let worst = rates().fold(0.0_f64, |worst, rate| {
                    let (ours, truth) = (curve.false_negative_rate(rate), of_gaussian(mu, rate));
                    assert!(ours <= truth + 1e-10, "μ {mu}, rate {rate}: {ours} > {truth}");
                    worst.max(truth - ours)
                });
                assert!(worst < tolerance, "{points} points, μ {mu}: {worst:e} below");
            }
        }
    }

    #[test]
    fn it_is_symmetric_convex_and_falling() {
        let sampled = composed(RdpAccountant::new(Adjacency::AddRemove), &step(0.01, 1.0), 1000);
        let accountants: [&dyn Accountant; 3] =
            [&exact(1.0, 1), &concentrated(&laplace(2.0)), &sampled];
        for accountant in accountants {
            let curve = TradeOffCurve::of(accountant, 60).unwrap();
            let points = curve.points();
            assert_eq!(points.first().map(|point| point.0), Some(0.0));
            assert_eq!(points.last(), Some(&(1.0, 0.0)));
            for pair in points.windows(2) {
                assert!(pair[0].0 < pair[1].0 && pair[0].1 >= pair[1].1);
            }
            for (rate, other) in points {
                assert!(other <= 1.0 - rate, "no better than guessing is best");
                let back = curve.false_negative_rate(other);
                assert!(back <= rate + 1e-10, "{rate} came back as {back}");
                for far in [0.0, 0.3, 1.0] {
                    let middle = curve.false_negative_rate((rate + far) / 2.0);
                    let chord = (other + curve.false_negative_rate(far)) / 2.0;
                    assert!(middle <= chord + 1e-15);
                }
            }
        }
    }

    #[test]
    fn edges() {
        let accountant = exact(1.0, 1);
        assert!(matches!(TradeOffCurve::of(&accountant, 1), Err(Error::Setting(_))));
        let curve = TradeOffCurve::of(&accountant, 50).unwrap();
        assert_eq!(curve.false_negative_rate(f64::NAN), 0.0);
        assert_eq!(curve.false_negative_rate(7.0), 0.0);
        assert_eq!(curve.false_negative_rate(-7.0), curve.false_negative_rate(0.0));

        let nothing = TradeOffCurve::of(&GaussianAccountant::new(Adjacency::AddRemove), 9).unwrap();
        assert!((nothing.false_negative_rate(0.25) - 0.75).abs() < 1e-11);
        let open = TradeOffCurve::of(&exact(0.0, 1), 50).unwrap();
        assert_eq!(open.points(), [(0.0, 0.0), (1.0, 0.0)], "no noise, no bound");
        let estimate = ApproximateGdpAccountant::new(Adjacency::AddRemove);
        assert!(!TradeOffCurve::of(&estimate, 9).unwrap().is_lower_bound());
    }
}

/// Laws that every accountant obeys.
mod laws {
    use super::*;

    fn accountants(kind: Adjacency) -> [Box<dyn Accountant>; 3] {
        [
            Box::new(GaussianAccountant::new(kind)),
            Box::new(ZcdpAccountant::new(kind)),
            Box::new(ApproximateGdpAccountant::new(kind)),
        ]
    }

    /// From 1e-15 to 0.5, and far below.
    fn failure() -> impl Strategy<Value = f64> {
        prop_oneof![-34.5..-0.7_f64, -740.0..-0.001_f64].prop_map(f64::exp)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn delta_of_epsilon_is_at_most_delta(
            z in multiplier(), steps in 1..10_000_000_u64, at in failure(), kind in any_adjacency(),
        ) {
            for mut accountant in accountants(kind) {
                accountant.compose(&gaussian(z), steps).unwrap();
                let answer = accountant.epsilon(delta(at));
                prop_assert!(answer.is_finite());
                let back = accountant.delta(answer);
                prop_assert!(back <= at, "{}: {back:e} > {at:e}", accountant.name());
                // And hardly less: rounding up costs little. (Subnormal δ are coarse.)
                let below = answer.value() * (1.0 - 1e-11) - 1e-11;
                if below > 0.0 && at > 1e-300 {
                    let back = accountant.delta(epsilon(below));
                    prop_assert!(back > at, "{}: {below} would do", accountant.name());
                }
            }
        }

        #[test]
        fn epsilon_is_monotone(
            z in multiplier(), steps in 1..1_000_000_u64, at in failure(), kind in any_adjacency(),
            factor in 1.0..3.0_f64,
        ) {
            for each in 0..3 {
                let epsilon = |z: f64, steps: u64, at: f64| {
                    let [a, b, c] = accountants(kind);
                    let mut accountant = match each { 0 => a, 1 => b, _ => c };
                    accountant.compose(&gaussian(z), steps).unwrap();
                    accountant.epsilon(delta(at)).value()
                };
                let base = epsilon(z, steps, at);
                let at_most = |less: f64, more: f64| less <= more * (1.0 + 1e-12);
                prop_assert!(at_most(base, epsilon(z / factor, steps, at)), "noise");
                prop_assert!(at_most(base, epsilon(z, steps + steps / 2, at)), "steps");
                prop_assert!(at_most(base, epsilon(z, steps, at / factor)), "delta");
            }
        }

        #[test]
        fn order_and_splitting_do_not_matter(
            z in multiplier(), other in multiplier(), first in 1..1000_u64, second in 1..1000_u64,
            kind in any_adjacency(),
        ) {
            let (one, two) = (gaussian(z), gaussian(other));
            for (mut forward, mut split) in accountants(kind).into_iter().zip(accountants(kind)) {
                forward.compose(&one, first + second).unwrap();
                forward.compose(&two, 2).unwrap();
                split.compose(&two, 1).unwrap();
                split.compose(&one.clone().repeated(second), 1).unwrap();
                let rest = DpEvent::Composed(vec![two.clone(), one.clone().repeated(first)]);
                split.compose(&rest, 1).unwrap();
                prop_assert_eq!(forward.epsilon(delta(1e-5)), split.epsilon(delta(1e-5)));
            }
        }

        #[test]
        fn gaussians_compose_to_one_gaussian(
            z in multiplier(), other in multiplier(), count in 1..1000_u64, kind in any_adjacency(),
        ) {
            let mut many = composed(GaussianAccountant::new(kind), &gaussian(z), count);
            many.compose(&gaussian(other), 1).unwrap();
            let expected = (count as f64 / (z * z) + 1.0 / (other * other)).sqrt().recip();
            let one = many.equivalent_noise_multiplier().unwrap();
            prop_assert!((0.0..1e-14).contains(&(expected / one.value() - 1.0)));
            let single = composed(GaussianAccountant::new(kind), &DpEvent::gaussian(one), 1);
            let ratio = single.epsilon(delta(1e-5)).value() / many.epsilon(delta(1e-5)).value();
            prop_assert!((1.0..1.0 + 1e-12).contains(&ratio) || ratio.is_nan(), "{ratio}");
        }

        #[test]
        fn replacing_is_half_the_noise(z in multiplier(), at in failure()) {
            let replaced = composed(GaussianAccountant::new(Adjacency::ReplaceOne), &gaussian(z), 5);
            prop_assert_eq!(replaced.epsilon(delta(at)), exact(z / 2.0, 5).epsilon(delta(at)));
        }

        #[test]
        fn delta_is_what_an_independent_normal_distribution_says(
            mu in 0.2..6.0_f64, above in -2.0..3.0_f64,
        ) {
            let at = (mu * (mu / 2.0 + above)).max(0.0);
            let (accountant, normal) = (exact(1.0 / mu, 1), Normal::standard());
            let truth = normal.cdf(mu / 2.0 - at / mu) - at.exp() * normal.cdf(-mu / 2.0 - at / mu);
            prop_assert!((accountant.delta(epsilon(at)) / truth - 1.0).abs() < 1e-6);
        }
    }
}
