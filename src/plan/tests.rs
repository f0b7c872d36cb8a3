use burn_dp_accounting::{
    Adjacency, Delta, Epsilon, ExpectedBatchSize, NoiseMultiplier, SamplingRate, Steps,
};

use super::*;
use crate::clipping::Clipping;
use crate::error::{Error, SettingError};
use crate::privacy::{AdaptiveClipping, ClippingNorm};

fn norm(value: f64) -> ClippingNorm {
    ClippingNorm::new(value).unwrap()
}

fn z(value: f64) -> NoiseMultiplier {
    NoiseMultiplier::new(value).unwrap()
}

fn target(epsilon: f64) -> (Epsilon, Delta) {
    (Epsilon::new(epsilon).unwrap(), Delta::new(1e-5).unwrap())
}

/// Everything but the noise.
fn settings() -> PrivacyPlanBuilder {
    PrivacyPlan::builder()
        .sampling_rate(SamplingRate::new(0.01).unwrap())
        .expected_batch_size(ExpectedBatchSize::from_records(600).unwrap())
        .steps(Steps::from(1000))
        .clipping(Clipping::flat(norm(2.0)))
}

fn adaptive(count_noise_std: f64) -> Clipping {
    AdaptiveClipping::new(norm(2.0), 0.5, 0.2, count_noise_std).unwrap().into()
}

#[test]
fn a_missing_setting_is_named() {
    let all = settings().noise_multiplier(z(1.0));
    assert!(all.clone().build().is_ok());
    let name = |builder: PrivacyPlanBuilder| match builder.build() {
        Err(Error::Setting(SettingError::Missing { name })) => name,
        other => panic!("expected a missing setting, not {other:?}"),
    };
    assert_eq!(name(PrivacyPlan::builder()), "sampling_rate");
    assert_eq!(name(settings()), "noise_multiplier or target");
    let sampled = PrivacyPlan::builder().sampling_rate(SamplingRate::new(0.01).unwrap());
    assert_eq!(name(sampled.clone()), "expected_batch_size");
    let sized = sampled.expected_batch_size(ExpectedBatchSize::new(600.0).unwrap());
    assert_eq!(name(sized.clone()), "steps");
    assert_eq!(name(sized.steps(Steps::from(1))), "clipping");
}

#[test]
fn noise_comes_from_exactly_one_setting() {
    let (epsilon, delta) = target(1.0);
    let both = settings().noise_multiplier(z(1.0)).target(epsilon, delta).build();
    assert!(matches!(both, Err(Error::Setting(SettingError::Conflicting { .. }))));
    assert!(settings().target(Epsilon::INFINITY, delta).build().is_err());
}

#[test]
fn a_target_is_met_and_hardly_undershot() {
    for adjacency in [Adjacency::AddRemove, Adjacency::ZeroOut, Adjacency::ReplaceOne] {
        let (epsilon, delta) = target(2.0);
        let plan = settings().adjacency(adjacency).target(epsilon, delta).build().unwrap();
        let reached = plan.epsilon(delta);
        assert!(reached <= epsilon && reached.value() > 1.9999, "{adjacency}: {reached}");
        assert_eq!(plan.target(), Some((epsilon, delta)));
    }
}

#[test]
fn noise_and_sensitivity_follow_from_the_clipping() {
    let plan = settings().noise_multiplier(z(1.5)).build().unwrap();
    let state = plan.clipping().initial_state();
    assert_eq!(plan.noise_std(&state), 3.0);
    assert_eq!(plan.sensitivity(&state), 2.0);
    assert_eq!(plan.divisor(), 600.0);
    assert_eq!(plan.count_noise_std(), None);

    let replace = settings().adjacency(Adjacency::ReplaceOne).noise_multiplier(z(1.5));
    let replace = replace.build().unwrap();
    assert_eq!(replace.noise_std(&state), 3.0, "the accountant pays for replace-one");
    assert_eq!(replace.sensitivity(&state), 4.0);
    assert!(replace.epsilon(target(1.0).1) > plan.epsilon(target(1.0).1));
}

#[test]
fn adaptive_clipping_pays_for_its_count() {
    let plan = settings().clipping(adaptive(5.0)).noise_multiplier(z(1.1)).build().unwrap();
    let gradient = plan.gradient_noise_multiplier().value();
    let recombined = (gradient.powi(-2) + 10.0_f64.powi(-2)).powf(-0.5);
    assert!((1.1..1.1 * (1.0 + 1e-12)).contains(&recombined));
    assert_eq!(plan.count_noise_std(), Some(5.0));
    assert_eq!(plan.noised_fraction_below(60.0), 0.6);
    let flat = settings().noise_multiplier(z(1.1)).build().unwrap();
    assert_eq!(plan.event(), flat.event(), "the accounted multiplier is the same");

    assert!(settings().clipping(adaptive(0.55)).noise_multiplier(z(1.1)).build().is_err());
    let silent = settings().clipping(adaptive(5.0)).noise_multiplier(z(0.0)).build().unwrap();
    assert_eq!(silent.gradient_noise_multiplier().value(), 0.0);
}

#[test]
fn no_noise_and_no_steps() {
    let delta = target(1.0).1;
    let silent = settings().noise_multiplier(z(0.0)).build().unwrap();
    assert_eq!(silent.epsilon(delta), Epsilon::INFINITY);
    assert!(silent.statement(delta).to_string().contains("Guarantee: none"));
    assert_eq!(silent.epsilon_at(Steps::from(0), delta).value(), 0.0);
    let (epsilon, delta) = target(1.0);
    let idle = settings().steps(Steps::from(0)).target(epsilon, delta).build().unwrap();
    assert_eq!(idle.noise_multiplier().value(), 0.0, "nothing is released, nothing to hide");
}

#[test]
fn storing_keeps_the_plan_and_its_fingerprint() {
    let (epsilon, delta) = target(2.0);
    let plan = settings().clipping(adaptive(20.0)).target(epsilon, delta).build().unwrap();
    let bytes = rmp_serde::to_vec(&plan).unwrap();
    let loaded: PrivacyPlan = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(loaded, plan);
    assert_eq!(loaded.fingerprint(), plan.fingerprint());

    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<PrivacyPlan>(&json).unwrap(), plan);
    let shorter = json.replace("\"steps\":1000", "\"steps\":2000");
    assert!(serde_json::from_str::<PrivacyPlan>(&shorter).is_err(), "the target is not met");
}

#[test]
fn fingerprints_tell_plans_apart() {
    let base = settings().noise_multiplier(z(1.0));
    let variants = [
        base.clone(),
        base.clone().steps(Steps::from(1001)),
        base.clone().adjacency(Adjacency::ReplaceOne),
        base.clone().clipping(Clipping::flat(norm(2.0_f64.next_up()))),
        base.clone().clipping(adaptive(5.0)),
        base.clone().noise_multiplier(z(1.0_f64.next_up())),
        base.clone().sampling_rate(SamplingRate::new(0.02).unwrap()),
        base.clone().expected_batch_size(ExpectedBatchSize::new(601.0).unwrap()),
    ];
    let prints: std::collections::BTreeSet<u64> =
        variants.iter().map(|plan| plan.clone().build().unwrap().fingerprint()).collect();
    assert_eq!(prints.len(), variants.len());
    assert_eq!(base.clone().build().unwrap().fingerprint(), base.build().unwrap().fingerprint());
}

#[test]
fn a_statement_says_what_is_guaranteed() {
    let (epsilon, delta) = target(2.0);
    let plan = settings().target(epsilon, delta).build().unwrap();
    let words = plan.statement(delta).to_string();
    for part in [
        "(2.0000, 1e-5)",
        "add/remove one record",
        "Poisson",
        "privacy loss distribution",
        "1000 steps",
    ] {
        assert!(words.contains(part), "no {part:?} in:\n{words}");
    }
}
