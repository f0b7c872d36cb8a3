use burn_dp_accounting::ClippingNorm;
use proptest::prelude::*;

use super::*;

fn norm(value: f64) -> ClippingNorm {
    ClippingNorm::new(value).unwrap()
}

fn adaptive() -> Clipping {
    AdaptiveClipping::new(norm(1.0), 0.5, 0.2, 5.0).unwrap().into()
}

fn kinds(bound: f64) -> Vec<Clipping> {
    vec![
        Clipping::flat(norm(bound)).unwrap(),
        Clipping::automatic(norm(bound), 0.01).unwrap(),
        Clipping::automatic(norm(bound), f64::MIN_POSITIVE).unwrap(),
        Clipping::per_group(vec![(String::new(), norm(bound))]).unwrap(),
        AdaptiveClipping::new(norm(bound), 0.5, 0.2, 5.0).unwrap().into(),
    ]
}

proptest! {
    #[test]
    fn a_scaled_gradient_stays_within_the_bound(
        log_bound in -600.0..600.0_f64,
        log_norm in -700.0..709.0_f64,
    ) {
        let (bound, gradient) = (log_bound.exp(), log_norm.exp());
        for clipping in kinds(bound) {
            let factor = clipping.factor(0, gradient, &clipping.initial_state());
            prop_assert!(factor >= 0.0 && factor.is_finite());
            prop_assert!(factor * gradient <= bound, "{clipping:?}");
            let single = f64::from(factor as f32);
            prop_assert!(single * gradient <= bound, "{clipping:?} as f32");
        }
    }

    #[test]
    fn an_adaptive_norm_stays_finite_and_positive(
        fractions in proptest::collection::vec(proptest::num::f64::ANY, 1..50),
    ) {
        let clipping = adaptive();
        let mut state = clipping.initial_state();
        for fraction in fractions {
            let before = state;
            if state.update(&clipping, fraction).is_err() {
                prop_assert!(!fraction.is_finite());
                prop_assert_eq!(state, before);
            }
            let now = state.clipping_norm().value();
            prop_assert!((1e-6..=1e6).contains(&now));
        }
    }
}

#[test]
fn extreme_norms() {
    for clipping in kinds(1.0) {
        let state = clipping.initial_state();
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
            assert_eq!(clipping.factor(0, bad, &state), 0.0);
        }
        assert_eq!(clipping.factor(1, 0.5, &state), 0.0, "no such group");
        for tiny in [0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX] {
            assert!(clipping.factor(0, tiny, &state) * tiny <= 1.0);
        }
    }
    let flat = Clipping::flat(1.0).unwrap();
    assert_eq!(flat.factor(0, 1.0, &flat.initial_state()), 1.0, "no change within the bound");
    assert!((flat.factor(0, 4.0, &flat.initial_state()) / 0.25 - 1.0).abs() < 2e-7);
}

#[test]
fn a_parameter_belongs_to_its_longest_prefix() {
    let clipping = Clipping::per_group(vec![
        (String::new(), norm(3.0)),
        ("encoder".into(), norm(4.0)),
        ("encoder.layer".into(), norm(12.0)),
    ])
    .unwrap();
    assert_eq!(clipping.group_of("head.weight").unwrap(), 0);
    assert_eq!(clipping.group_of("encoder.layers.0").unwrap(), 1);
    assert_eq!(clipping.group_of("encoder.layer.weight").unwrap(), 2);
    assert_eq!(clipping.group_of("encoder.layer").unwrap(), 2);
    let sensitivity = clipping.sensitivity(&clipping.initial_state());
    assert!((13.0..13.0 + 1e-12).contains(&sensitivity), "sqrt(9 + 16 + 144) = 13, rounded up");

    let without_rest = Clipping::per_group([("encoder", 1.0)]).unwrap();
    assert!(without_rest.group_of("head.weight").is_err());
}

#[test]
fn invalid_clipping_cannot_be_built() {
    assert!(Clipping::automatic(norm(1.0), 0.0).is_err());
    assert!(Clipping::automatic(norm(1.0), f64::NAN).is_err());
    assert!(Clipping::per_group(Vec::<(String, f64)>::new()).is_err());
    let twice = vec![("a".to_owned(), norm(1.0)), ("a".to_owned(), norm(2.0))];
    assert!(Clipping::per_group(twice).is_err());
    assert!(Clipping::per_group(vec![(String::new(), norm(f64::MAX)); 1]).is_err());
    for (quantile, rate, noise) in
        [(0.0, 0.2, 1.0), (1.0, 0.2, 1.0), (0.5, 0.0, 1.0), (0.5, 0.2, f64::NAN)]
    {
        assert!(AdaptiveClipping::new(norm(1.0), quantile, rate, noise).is_err());
    }
    let stored = r#"{"Automatic":{"clipping_norm":1.0,"stability":-1.0}}"#;
    assert!(serde_json::from_str::<Clipping>(stored).is_err());
}

#[test]
fn an_adaptive_norm_moves_towards_the_quantile() {
    let clipping = adaptive();
    let mut state = clipping.initial_state();
    state.update(&clipping, 1.0).unwrap();
    assert!((state.clipping_norm().value() - (-0.1_f64).exp()).abs() < 1e-15);
    assert_eq!(clipping.sensitivity(&state), state.clipping_norm().value());
}

#[test]
fn serialization_round_trips() {
    for clipping in kinds(1.5) {
        let json = serde_json::to_string(&clipping).unwrap();
        assert_eq!(serde_json::from_str::<Clipping>(&json).unwrap(), clipping);
        let bytes = rmp_serde::to_vec(&clipping).unwrap();
        assert_eq!(rmp_serde::from_slice::<Clipping>(&bytes).unwrap(), clipping);
    }
}
