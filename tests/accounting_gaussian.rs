//! The exact Gaussian, zero-concentrated and approximate accountants, and trade-off curves, against
//! published values, 40-digit arithmetic, and the laws that every accountant obeys.

use burn_dp::Error;
use burn_dp::privacy::{
    Accountant, Adjacency, ApproximateGdpAccountant, Delta, DpEvent, Epsilon, GaussianAccountant,
    NoiseMultiplier, RdpAccountant, RunCount, SamplingRate, TradeOffCurve, ZcdpAccountant,
    ZeroConcentration, calibrate_noise_multiplier,
};
use proptest::prelude::*;
use serde_json::Value;
use statrs::distribution::{ContinuousCDF, Normal};

/// mpmath 1.3, 40 digits, from the definition of δ (Balle & Wang 2018): z, ε, δ(ε).
const DELTAS: [(f64, f64, f64); 45] = [
    (1e4, 3.0005e-05, 0.0000266746139845092894),
    (1e4, 0.000400005, 7.14510392521657132e-10),
    (1e4, 0.002, 1.37138319075313367e-94),
    (1e4, 0.0037, 1.54806045293576601e-305),
    (1234.5, 0.000243341, 0.000215989600992035786),
    (1234.5, 0.00324051, 5.78684669445606629e-9),
    (1234.5, 0.0162012, 1.11025355526379501e-93),
    (1234.5, 0.029972, 1.25030961654443015e-304),
    (100.0, 0.00305, 0.00265258290738318943),
    (100.0, 0.04005, 7.12983948875944417e-8),
    (100.0, 0.20005, 1.36933287475868209e-92),
    (100.0, 0.37005, 1.54478259189819101e-303),
    (12.3, 0.0276952, 0.0207279122711886984),
    (12.3, 0.328508, 5.70877579311154478e-7),
    (12.3, 1.62932, 1.10967619222706489e-91),
    (12.3, 3.01143, 1.25636656151143112e-302),
    (3.7, 0.117604, 0.0623677233703977817),
    (3.7, 1.1176, 1.8244309400778502e-6),
    (3.7, 5.44193, 3.65329356999769867e-91),
    (3.7, 10.0365, 4.15909454472871124e-302),
    (1.0, 0.0, 0.382924922548026207),
    (1.0, 0.8, 0.166655137467867334),
    (1.0, 4.5, 5.86768964976955649e-6),
    (1.0, 20.5, 1.30522490677341101e-90),
    (1.0, 37.5, 1.50462163043652892e-301),
    (0.31, 3.59001, 0.575250283883694318),
    (0.31, 6.17066, 0.281077945889974538),
    (0.31, 18.1061, 0.0000134868852701358048),
    (0.31, 69.719, 3.81032664962739151e-90),
    (0.31, 124.558, 4.57254788204606533e-301),
    (0.05, 190.0, 0.673454940318614124),
    (0.05, 206.0, 0.363346263710515649),
    (0.05, 280.0, 0.000026104613442711012),
    (0.05, 600.0, 1.37424806381506754e-89),
    (0.05, 940.0, 2.00740518283746358e-300),
    (0.0021, 113141.0, 0.690418520694763621),
    (0.0021, 113522.0, 0.380921598337096604),
    (0.0021, 115283.0, 0.0000315172738079068847),
    (0.0021, 122902.0, 2.69793522403589066e-89),
    (0.0021, 130998.0, 5.20307557615452565e-300),
    (1e-5, 4999950000.0, 0.691458940600262456),
    (1e-5, 5000030000.0, 0.38208476394121487),
    (1e-5, 5000400000.0, 0.0000316699035832975832),
    (1e-5, 5002000000.0, 2.75307213371533032e-89),
    (1e-5, 5003700000.0, 5.72345199835133639e-300),
];

/// The same, solved for ε by bisection: z, δ, ε(δ).
const EPSILONS: [(f64, f64, f64); 50] = [
    (1e4, 0.5, 0.0),
    (1e4, 1e-3, 0.0),
    (1e4, 1e-10, 0.000442493815890374565),
    (1e4, 1e-100, 0.00206912489914116108),
    (1e4, 1e-300, 0.00366998723654990507),
    (1234.5, 0.5, 0.0),
    (1234.5, 1e-3, 0.0),
    (1234.5, 1e-10, 0.00392231897057740873),
    (1234.5, 1e-100, 0.0168424431483015377),
    (1234.5, 1e-300, 0.029774888127947089),
    (100.0, 0.5, 0.0),
    (100.0, 1e-3, 0.00904807259303879772),
    (100.0, 1e-10, 0.0530920333778439224),
    (100.0, 1e-100, 0.209165525920948302),
    (100.0, 1e-300, 0.368298990013809477),
    (12.3, 0.5, 0.0),
    (12.3, 1e-3, 0.153510234719890838),
    (12.3, 1e-10, 0.463663610833692577),
    (12.3, 1e-100, 1.71150951365348497),
    (12.3, 1e-300, 3.00181108551794664),
    (3.7, 0.5, 0.0),
    (3.7, 1e-3, 0.649517914349287615),
    (3.7, 1e-10, 1.61902624703270724),
    (3.7, 1e-100, 5.73039884555281993),
    (3.7, 1e-300, 10.0132790478775614),
    (1.0, 0.5, 0.0),
    (1.0, 1e-3, 3.1386705485829392),
    (1.0, 1e-10, 6.547924066864951),
    (1.0, 1e-100, 21.6275080936483822),
    (1.0, 1e-300, 37.4488479121391049),
    (0.31, 0.5, 4.22889556169664019),
    (0.31, 1e-3, 14.4747316122427638),
    (0.31, 1e-10, 25.1724093799914304),
    (0.31, 1e-100, 73.5195592869919013),
    (0.31, 1e-300, 124.489853372024739),
    (0.05, 0.5, 199.000827571788157),
    (0.05, 1e-3, 260.87533175310105),
    (0.05, 1e-10, 326.35895051488267),
    (0.05, 1e-100, 624.788065369298106),
    (0.05, 1e-300, 940.376124004917861),
    (0.0021, 0.5, 113377.684808726232),
    (0.0021, 1e-3, 114849.227232888792),
    (0.0021, 1e-10, 116406.901382713267),
    (0.0021, 1e-100, 123507.922483363882),
    (0.0021, 1e-300, 131019.19622946582),
    (1e-5, 0.5, 4999999998.99999918),
    (1e-5, 1e-3, 5000309022.23063141),
    (1e-5, 1e-10, 5000636133.09027139),
    (1e-5, 1e-100, 5002127344.35620207),
    (1e-5, 1e-300, 5003704708.63012049),
];

fn rows(kind: &str, accountant: &str) -> Vec<Value> {
    let golden: Value = serde_json::from_str(include_str!("data/accounting.json")).unwrap();
    let named = |row: &&Value| {
        row["kind"] == kind && row["accountant"].as_str().unwrap().starts_with(accountant)
    };
    let rows: Vec<Value> =
        golden["rows"].as_array().unwrap().iter().filter(named).cloned().collect();
    assert!(!rows.is_empty(), "no {kind} rows of {accountant}");
    rows
}

fn number(row: &Value, key: &str) -> f64 {
    row[key].as_f64().unwrap_or_else(|| panic!("{}: no {key}", row["id"]))
}

fn adjacency(row: &Value) -> Adjacency {
    match row["adjacency"].as_str().unwrap() {
        "replace_one" => Adjacency::ReplaceOne,
        _ => Adjacency::AddRemove,
    }
}

fn delta(value: f64) -> Delta {
    Delta::new(value).unwrap()
}

fn epsilon(value: f64) -> Epsilon {
    Epsilon::new(value).unwrap()
}

fn gaussian(z: f64) -> DpEvent {
    DpEvent::gaussian(NoiseMultiplier::new(z).unwrap())
}

fn laplace(z: f64) -> DpEvent {
    DpEvent::Laplace { noise_multiplier: NoiseMultiplier::new(z).unwrap() }
}

fn step(rate: f64, z: f64) -> DpEvent {
    DpEvent::PoissonSampled { rate: SamplingRate::new(rate).unwrap(), event: gaussian(z).into() }
}

fn zcdp(rho: f64) -> DpEvent {
    DpEvent::ZeroConcentrated { rho: ZeroConcentration::new(rho).unwrap() }
}

fn with<A: Accountant>(mut accountant: A, event: &DpEvent, count: u64) -> A {
    accountant.compose(event, count).unwrap();
    accountant
}

fn exact(z: f64, count: u64) -> GaussianAccountant {
    with(GaussianAccountant::new(Adjacency::AddRemove), &gaussian(z), count)
}

fn concentrated(event: &DpEvent) -> ZcdpAccountant {
    with(ZcdpAccountant::new(Adjacency::AddRemove), event, 1)
}

mod exact_gaussian {
    use super::*;

    #[test]
    fn published_values_are_met_from_above() {
        let composed = |row: &Value| {
            let event = gaussian(number(row, "noise_multiplier"));
            with(GaussianAccountant::new(adjacency(row)), &event, row["steps"].as_u64().unwrap())
        };
        for row in rows("eps", "exact_gaussian") {
            let ours = composed(&row).epsilon(delta(number(&row, "delta"))).value();
            let error = ours / number(&row, "epsilon") - 1.0;
            assert!((0.0..1e-12).contains(&error), "{}: {error:e}", row["id"]);
        }
        for row in rows("delta", "exact_gaussian") {
            let ours = composed(&row).delta(epsilon(number(&row, "epsilon")));
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
            let open = with(GaussianAccountant::new(kind), &gaussian(0.0), 1);
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
    fn pure_privacy_costs_what_randomised_response_does() {
        for e in [1e-4, 0.1, 0.5, 1.0, 3.0, 10.0, 100.0] {
            let rho = concentrated(&DpEvent::PureDp { epsilon: epsilon(e) }).rho();
            assert!(rho <= 0.5 * e * e * (1.0 + 1e-14) && rho <= e * (1.0 + 1e-14));
            // log cosh, for randomised response of parameter ε at order α.
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
                let ours = with(ZcdpAccountant::new(kind), &event, 3).rho();
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
        let free = concentrated(&DpEvent::PureDp { epsilon: epsilon(0.0) });
        assert_eq!(free.epsilon(delta(1e-300)).value(), 0.0);
        for event in [gaussian(0.0), DpEvent::PureDp { epsilon: Epsilon::INFINITY }] {
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
        for refused in [
            step(0.5, 1.0),
            DpEvent::RepeatAndSelect {
                event: gaussian(1.0).into(),
                runs: RunCount::geometric(2.0).unwrap(),
            },
        ] {
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
            let ours = with(ZcdpAccountant::new(Adjacency::AddRemove), &gaussian(z), count);
            prop_assert!(ours.epsilon(at) >= least.epsilon(at));
            prop_assert!(ours.delta(epsilon(1.0)) >= least.delta(epsilon(1.0)));
            let rdp = with(RdpAccountant::new(Adjacency::AddRemove), &gaussian(z), count);
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
            let accountant = with(
                ApproximateGdpAccountant::new(Adjacency::AddRemove),
                &event,
                row["steps"].as_u64().unwrap(),
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
            with(ApproximateGdpAccountant::new(Adjacency::ZeroOut), &step(1e-4, 0.5), 100_000);
        assert!(!accountant.is_upper_bound() && accountant.name().starts_with("approximate"));
        let said = accountant.epsilon(delta(1e-8)).value();
        assert!((1.19..1.20).contains(&said), "{said} for a true 4.47");
    }

    #[test]
    fn what_is_exact_stays_exact() {
        for kind in [Adjacency::AddRemove, Adjacency::ReplaceOne] {
            let ours = with(ApproximateGdpAccountant::new(kind), &gaussian(3.0), 10);
            let exact = with(GaussianAccountant::new(kind), &gaussian(3.0), 10);
            assert_eq!(ours.epsilon(delta(1e-5)), exact.epsilon(delta(1e-5)));
            assert!(matches!(ours.supports(&laplace(1.0)), Err(Error::UnsupportedEvent { .. })));
        }
        let replacing = ApproximateGdpAccountant::new(Adjacency::ReplaceOne);
        assert!(replacing.supports(&step(0.1, 1.0)).is_err());
        let open = with(ApproximateGdpAccountant::new(Adjacency::AddRemove), &step(0.1, 1e-3), 1);
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
        let sampled = with(RdpAccountant::new(Adjacency::AddRemove), &step(0.01, 1.0), 1000);
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
        assert!(matches!(TradeOffCurve::of(&accountant, 1), Err(Error::InvalidSetting { .. })));
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

    fn any_adjacency() -> impl Strategy<Value = Adjacency> {
        let kinds = [Adjacency::AddRemove, Adjacency::ZeroOut, Adjacency::ReplaceOne];
        prop::sample::select(kinds.to_vec())
    }

    /// From 0.1 to 1000.
    fn multiplier() -> impl Strategy<Value = f64> {
        (-2.3..6.9_f64).prop_map(f64::exp)
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
            let mut many = with(GaussianAccountant::new(kind), &gaussian(z), count);
            many.compose(&gaussian(other), 1).unwrap();
            let expected = (count as f64 / (z * z) + 1.0 / (other * other)).sqrt().recip();
            let one = many.equivalent_noise_multiplier().unwrap();
            prop_assert!((0.0..1e-14).contains(&(expected / one.value() - 1.0)));
            let single = with(GaussianAccountant::new(kind), &DpEvent::gaussian(one), 1);
            let ratio = single.epsilon(delta(1e-5)).value() / many.epsilon(delta(1e-5)).value();
            prop_assert!((1.0..1.0 + 1e-12).contains(&ratio) || ratio.is_nan(), "{ratio}");
        }

        #[test]
        fn replacing_is_half_the_noise(z in multiplier(), at in failure()) {
            let replaced = with(GaussianAccountant::new(Adjacency::ReplaceOne), &gaussian(z), 5);
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
