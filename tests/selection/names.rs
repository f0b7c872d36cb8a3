//! A name of a part of the model must exist. Otherwise it is refused before anything is spent.

use burn::module::{Module, ParamGroup};
use burn::nn::{LayerNorm, LayerNormConfig};
use burn::optim::SgdConfig;
use burn::tensor::Tensor;
use burn_dp::error::{ModelError, SelectionError};
use burn_dp::mask::{MaskKind, MaskSet, Scope, Structure, SuperMaskConfig};
use burn_dp::per_example::Traced;
use burn_dp::privacy::{
    Clipping, ClippingNorm, NoiseMultiplier, PrivateSelection, SamplingRate, Steps,
};
use burn_dp::seed::Seed;
use burn_dp::selection::{LowRank, ParamSelector, Schedule, Selection, TopGradientNorm};
use burn_dp::{DpOptimizer, Error};

use crate::common::*;
use crate::models::{Tied, Transformer, tokens};

fn groups(names: &[&str]) -> Clipping {
    let norm = ClippingNorm::new(1.0).unwrap();
    Clipping::per_group(names.iter().map(|name| (*name, norm))).unwrap()
}

type Loss = fn(&Transformer, burn::tensor::Tensor<2, burn::tensor::Int>) -> Tensor<1>;

fn optimizer(clipping: Clipping) -> DpOptimizer<Traced<Loss>> {
    let plan = builder(clipping, 1.0).steps(Steps::from(6)).build().unwrap();
    let engine = Traced::new(Transformer::loss as Loss);
    DpOptimizer::with_seed(plan, SgdConfig::new().init(), engine, Seed::reproducible(3))
}

fn step(optimizer: &mut DpOptimizer<Traced<Loss>>, model: &mut Transformer) -> Result<(), Error> {
    let batch = optimizer.vouch_for_poisson([tokens(2, 6, 11)]);
    optimizer.step(0.1, model, batch)
}

/// Checks that the message has all of `parts`.
#[track_caller]
fn says<T>(outcome: Result<T, Error>, parts: &[&str]) -> Error {
    let error = outcome.err().expect("a refusal");
    for part in parts {
        assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
    }
    error
}

#[test]
fn a_clipping_group_covers_something_trained_or_the_first_step_is_refused() {
    let model = Transformer::new();
    let head = ParamSelector::path("classifier").select(&model).unwrap();
    let frozen = head.apply(model.clone()).unwrap();
    let cases: [(&[&str], &Transformer, &str); 5] = [
        (
            &["", "embb"],
            &model,
            "`embb` covers no trained parameter, and its clipping norm would only add noise: the nearest names are `embedding`",
        ),
        (&["", "encoder.layer"], &model, "the nearest names are `encoder.layers`"),
        (
            &["", "embedding"],
            &frozen,
            "`embedding` covers no trained parameter, and its clipping norm would only add noise: what it names is frozen",
        ),
        (
            &["", "classifier.weight", "classifier.bias", "classifier"],
            &model,
            "`classifier` covers",
        ),
        (&["", "classifier", "encoder", "embedding"], &model, "`` covers no trained parameter"),
    ];
    for (names, model, part) in cases {
        let mut optimizer = optimizer(groups(names));
        let mut model = model.clone();
        let before = bits(&model);
        let error = says(step(&mut optimizer, &mut model), &["clipping group", part]);
        assert!(
            matches!(error, Error::Selection(SelectionError::CoversNothing { .. })),
            "{error:?}"
        );
        let batch = optimizer.vouch_for_poisson([tokens(2, 6, 11)]);
        assert!(optimizer.private_gradient(&model, batch).is_err());
        assert!(optimizer.ledger().entries().is_empty() && bits(&model) == before);
    }
    for names in [&["", "embedding"][..], &["classifier", "encoder", "embedding"]] {
        let mut optimizer = optimizer(groups(names));
        step(&mut optimizer, &mut model.clone()).unwrap();
    }
}

#[test]
fn every_phase_is_checked_before_the_first_step() {
    let head = || Schedule::new(ParamSelector::head());
    let misspelled = head().then(3.into(), ParamSelector::path("encodr"));
    let mut run = optimizer(flat(1.0));
    let error = says(run.follow(&misspelled, Transformer::new()), &["encodr", "encoder"]);
    assert!(matches!(error, Error::Selection(SelectionError::UnknownPath { .. })), "{error:?}");

    // Groups must be covered in every phase.
    let phases = head().then(3.into(), ParamSelector::all());
    let mut run = optimizer(groups(&["", "classifier"]));
    let error = says(run.follow(&phases, Transformer::new()), &["clipping group ``"]);
    assert!(matches!(error, Error::Selection(SelectionError::CoversNothing { .. })), "{error:?}");
    assert!(run.ledger().entries().is_empty());
    let mut run = optimizer(groups(&["classifier.bias", ""]));
    let (mut model, _) = run.follow(&phases, Transformer::new()).unwrap();
    step(&mut run, &mut model).unwrap();
}

#[test]
fn every_part_of_a_rule_matches_something() {
    let model = Transformer::new();
    let all = ParamSelector::all;
    let absent = [
        ParamSelector::path("embb"),
        ParamSelector::regex("embb").unwrap(),
        ParamSelector::group(ParamGroup::from_predicate("embb")),
        ParamSelector::group(ParamGroup::ids_from_module(Tied::new(false))),
        ParamSelector::attached("embb"),
        ParamSelector::lora(),
        ParamSelector::masks(),
        ParamSelector::last_layers(0),
    ];
    for absent in absent {
        let places = [
            absent.clone(),
            all().union(absent.clone()),
            absent.clone().union(all()),
            all().and(absent.clone()),
            all().minus(absent.clone()),
            all().minus(all().minus(absent.clone()).and(ParamSelector::head())),
        ];
        for selector in places {
            let error = selector.select(&model).expect_err("a name that matches nothing");
            assert!(
                matches!(
                    error,
                    Error::Selection(SelectionError::Empty { .. })
                        | Error::Selection(SelectionError::UnknownPath { .. })
                ),
                "{selector}: {error}"
            );
        }
    }
    let error = ParamSelector::regex("embb").unwrap().union(all()).select(&model);
    says(error, &["`/embb/` matches no parameter", "the nearest names are `embedding`"]);

    // A model may have no biases and norms if they are only taken away.
    let plain = ParamSelector::path("tokens").select(&Tied::new(false)).unwrap();
    let rest = all().minus(ParamSelector::norms()).minus(ParamSelector::path("mix"));
    assert_eq!(rest.select(&Tied::new(false)).unwrap().trained(), plain.trained());
    assert!(all().union(ParamSelector::norms()).select(&Tied::new(false)).is_err());
    let bare = burn::nn::LinearConfig::new(3, 2).with_bias(false).init(&device());
    assert_eq!(all().minus(ParamSelector::bias()).select(&bare).unwrap().trained(), 6);
    assert!(matches!(
        all().and(ParamSelector::bias()).select(&bare),
        Err(Error::Selection(SelectionError::NoBias { .. }))
    ));
}

#[test]
fn a_rule_may_be_long() {
    let model = Tied::new(false);
    let paths = std::iter::repeat_n("mix", 100_000);
    let long = ParamSelector::paths(paths).unwrap();
    assert_eq!(long.clone().select(&model).unwrap().trained(), 30);
    assert!(long.to_string().ends_with(" or mix) or mix)"));
    let nested = ParamSelector::head().union(ParamSelector::bias().minus(ParamSelector::norms()));
    let nested = nested.clone().and(nested);
    let text = "((head or (bias minus norms)) and (head or (bias minus norms)))";
    assert_eq!(nested.to_string(), text);
}

fn select(path: &str) -> Selection {
    ParamSelector::path(path).select(&Transformer::new()).unwrap()
}

#[test]
fn masks_and_adapters_are_for_weights_that_are_there() {
    let config = || SuperMaskConfig::new(MaskKind::Multiplier).unwrap();
    let covers_nothing = |outcome: Result<Transformer, Error>, parts: &[&str]| {
        let error = says(outcome, parts);
        assert!(
            matches!(error, Error::Selection(SelectionError::CoversNothing { .. })),
            "{error:?}"
        );
    };
    let model = Transformer::new;
    let elsewhere = ParamSelector::path("tokens").select(&Tied::new(false)).unwrap();
    let nearest = ["`tokens.weight` covers no weight of the model: the nearest names are"];
    covers_nothing(config().on(&elsewhere).apply(model()), &nearest);
    let exception = config().with_structure_on(&elsewhere, Structure::Axis(0));
    covers_nothing(exception.apply(model()), &nearest);
    // Vectors get no mask, and exceptions must be among the masked weights.
    let biases = select("classifier.bias");
    covers_nothing(config().on(&biases).apply(model()), &["weight that gets a mask"]);
    let outside = config().on(&select("classifier"));
    let outside = outside.with_structure_on(&select("embedding"), Structure::Axis(0));
    covers_nothing(outside.apply(model()), &["`embedding.weight`", "in `on`"]);
    let norm: LayerNorm = LayerNormConfig::new(4).init(&device());
    assert!(matches!(
        config().apply(norm.clone()),
        Err(Error::Selection(SelectionError::CoversNothing { .. }))
    ));
    assert!(config().on(&select("classifier")).apply(model()).is_ok());

    let adapters = || LowRank::new(2, 2.0).unwrap();
    let other = adapters().on(&elsewhere).apply(model());
    assert!(matches!(other, Err(Error::Selection(SelectionError::OfAnotherModel))));
    let same = model();
    let bias = ParamSelector::bias().select(&same).unwrap();
    covers_nothing(adapters().on(&bias).apply(same.clone()), &["`bias` covers no weight of two"]);
    assert!(matches!(
        adapters().apply(norm),
        Err(Error::Selection(SelectionError::CoversNothing { .. }))
    ));
    let adapted = adapters().apply(same).unwrap();
    let twice = adapters().apply(adapted);
    assert!(matches!(twice, Err(Error::Selection(SelectionError::AlreadyReparameterized { .. }))));
}

#[test]
fn a_refresh_finds_masks_of_its_kind() {
    let model = Transformer::new();
    let kinds =
        [MaskKind::Stochastic { keep: 0.5 }, MaskKind::TopK { share: 0.5, scope: Scope::Global }];
    let fixed = SuperMaskConfig::new(MaskKind::Threshold { threshold: 0.0 }).unwrap();
    for kind in kinds {
        let config = SuperMaskConfig::new(kind).unwrap();
        for other in [model.clone(), fixed.apply(model.clone()).unwrap()] {
            says(config.refresh(other.clone(), 1, 0), &["no masks of this kind"]);
            assert!(MaskSet::of(&config, &other).is_err(), "{kind:?}");
        }
        let masked = config.apply(model.clone()).unwrap();
        assert!(MaskSet::of(&fixed, &masked).is_err(), "{kind:?}");
        assert!(config.refresh(masked, 1, 0).is_ok());
    }
    assert!(fixed.refresh(model, 1, 0).is_ok());
}

#[test]
fn a_private_selection_among_nothing_is_not_paid_for() {
    let selection = PrivateSelection {
        sampling_rate: SamplingRate::new(1.0).unwrap(),
        noise_multiplier: NoiseMultiplier::new(1.0).unwrap(),
        clipping_norm: ClippingNorm::new(1.0).unwrap(),
    };
    let rule = TopGradientNorm::count(1).unwrap();
    let outcome = |clipping, model: Transformer| {
        let plan = builder(clipping, 1.0).selection(selection).build().unwrap();
        let engine = Traced::new(Transformer::loss as Loss);
        let mut run =
            DpOptimizer::with_seed(plan, SgdConfig::new().init(), engine, Seed::reproducible(3));
        // The sample is empty: no engine looks at the model.
        let batch = run.sample_for_selection(0).unwrap().batches(1, |_| tokens(2, 6, 11)).unwrap();
        let outcome = run.select_top(&rule, &model, batch);
        assert_eq!(run.ledger().entries().is_empty(), outcome.is_err());
        outcome
    };
    let frozen = outcome(flat(1.0), Transformer::new().freeze());
    assert!(matches!(frozen, Err(Error::Model(ModelError::NoTrainableParameter))), "{frozen:?}");
    let misspelled = outcome(groups(&["", "embb"]), Transformer::new());
    says(misspelled, &["clipping group `embb`", "`embedding`"]);
    outcome(groups(&["", "embedding"]), Transformer::new()).unwrap();
}
