//! Masks over frozen weights: they initially leave the model as it is, train exactly, and never
//! change the weights.

mod common;

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::SgdConfig;
use burn::tensor::Tensor;
use burn_dp::Error;
use burn_dp::error::MaskError;
use burn_dp::mask::{Gate, MaskKind, MaskSet, Scope, Structure, SuperMaskConfig};
use burn_dp::per_example::verify;
use burn_dp::selection::ParamSelector;
use common::*;

const KINDS: [MaskKind; 7] = [
    MaskKind::Threshold { threshold: 0.0 },
    MaskKind::Threshold { threshold: -0.2 },
    MaskKind::TopK { share: 0.6, scope: Scope::Layer },
    MaskKind::TopK { share: 0.6, scope: Scope::Global },
    MaskKind::Sigmoid,
    MaskKind::Multiplier,
    MaskKind::Stochastic { keep: 0.7 },
];

const STRUCTURES: [Structure; 5] = [
    Structure::Weight,
    Structure::Axis(0),
    Structure::Axis(1),
    Structure::Heads { axis: 0, heads: 2 },
    Structure::Heads { axis: 1, heads: 1 },
];

fn config(kind: MaskKind, structure: Structure) -> SuperMaskConfig {
    SuperMaskConfig::new(kind).expect("valid").with_structure(structure)
}

/// The model with a mask whose scores have been changed.
fn masked(kind: MaskKind, structure: Structure) -> Net {
    let config = config(kind, structure);
    let model = config.apply(Net::new(&device())).expect("it fits");
    let model = scatter(model, 9);
    config.refresh(model, 5, 1).expect("finite scores")
}

/// Different scores, of both signs.
fn scatter<M: Module>(model: M, seed: u64) -> M {
    struct Scatter(u64);
    impl burn::module::ModuleMapper for Scatter {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !param.is_require_grad() {
                return param;
            }
            // Far apart: neighboring seeds give sequences that overlap.
            self.0 += 1000;
            let numbers = numbers(self.0, param.val().shape().num_elements());
            param.map(|scores| {
                let data = burn::tensor::TensorData::new(numbers, scores.shape());
                Tensor::from_data(data, &scores.device()).require_grad()
            })
        }
    }
    model.map(&mut Scatter(seed))
}

fn outputs(model: &Net) -> Vec<u32> {
    let batch = collate(&records(5, 40), &device());
    let outputs = model.forward(batch.features, batch.tokens).into_data();
    outputs.iter::<f32>().map(f32::to_bits).collect()
}

#[test]
fn a_fresh_mask_changes_no_bit() {
    let before = outputs(&Net::new(&device()));
    for kind in KINDS {
        for structure in STRUCTURES {
            let config = config(kind, structure);
            let model = config.apply(Net::new(&device())).expect("it fits");
            let model = config.refresh(model, 1, 0).expect("finite scores");
            let same = outputs(&model) == before;
            // With few scores, a draw may keep them all.
            let stochastic = matches!(kind, MaskKind::Stochastic { .. });
            assert!(same || stochastic, "{kind:?} {structure:?}");
            assert!(!same || !stochastic || structure != Structure::Weight);
            assert_eq!(outputs(&model.materialize()), outputs(&model_again(&config)));
        }
    }
}

fn model_again(config: &SuperMaskConfig) -> Net {
    let model = config.apply(Net::new(&device())).expect("it fits");
    config.refresh(model, 1, 0).expect("finite scores")
}

#[test]
fn scores_have_the_structures_shape() {
    let total = |structure| {
        let model = config(MaskKind::Sigmoid, structure).apply(Net::new(&device())).expect("fits");
        ParamSelector::attached("mask").select(&model).expect("masks").trained()
    };
    // An embedding [16, 4], a square layer [4, 4], a convolution [4, 4, 2], a head [4, 2].
    assert_eq!(total(Structure::Weight), 64 + 16 + 32 + 8);
    assert_eq!(total(Structure::Axis(0)), 16 + 4 + 4 + 4);
    assert_eq!(total(Structure::Axis(1)), 4 + 4 + 4 + 2);
    assert_eq!(total(Structure::Heads { axis: 0, heads: 2 }), 4 * 2);
}

#[test]
fn gradients_of_scores_are_exact() {
    for kind in KINDS {
        for structure in STRUCTURES {
            let model = masked(kind, structure);
            let batch = collate(&records(6, 70), &device());
            verify(&model, batch, Net::loss, 1e-4)
                .unwrap_or_else(|error| panic!("{kind:?} {structure:?}: {error}"));
        }
    }
}

#[test]
fn a_mask_is_what_its_rule_says() {
    let shares = |kind: MaskKind| -> Vec<f64> {
        let plain = values(&Net::new(&device()));
        let masked = values(&masked(kind, Structure::Weight).materialize());
        let ratio = |(before, after): (&Vec<f32>, &Vec<f32>)| -> f64 {
            let kept = before.iter().zip(after).filter(|(b, a)| {
                assert!(!kind.is_binary() || a == b || **a == 0.0, "{kind:?}: {b} became {a}");
                a == b
            });
            kept.count() as f64 / before.len() as f64
        };
        plain.iter().zip(&masked).map(ratio).collect()
    };
    let weights = |shares: &[f64]| -> Vec<f64> { [0, 1, 5, 7].map(|i| shares[i]).to_vec() };
    let layer = shares(MaskKind::TopK { share: 0.5, scope: Scope::Layer });
    assert_eq!(weights(&layer), [0.5; 4]);
    let global = shares(MaskKind::TopK { share: 0.5, scope: Scope::Global });
    let kept: f64 = weights(&global).iter().zip([64.0, 16.0, 32.0, 8.0]).map(|(s, n)| s * n).sum();
    assert_eq!(kept, 60.0);
    let all = shares(MaskKind::Threshold { threshold: -2.0 });
    assert_eq!(all, vec![1.0; all.len()]);
    let none = weights(&shares(MaskKind::Threshold { threshold: 2.0 }));
    assert_eq!(none, [0.0; 4]);
}

#[test]
fn a_stochastic_mask_keeps_its_share_and_is_drawn_once_a_step() {
    let config = config(MaskKind::Stochastic { keep: 0.8 }, Structure::Weight);
    let fresh = || config.apply(Net::new(&device())).expect("it fits");
    let drawn =
        |seed, step| bits(&config.refresh(fresh(), seed, step).expect("drawn").materialize());
    assert_eq!(drawn(1, 3), drawn(1, 3));
    assert_ne!(drawn(1, 3), drawn(1, 4));
    assert_ne!(drawn(1, 3), drawn(2, 3));
    let (mut kept, mut all) = (0, 0);
    for step in 0..200 {
        let embedding = &drawn(7, step)[0];
        kept += embedding.iter().filter(|bits| **bits & 0x7fff_ffff != 0).count();
        all += embedding.len();
    }
    let share = kept as f64 / all as f64;
    // Twelve thousand draws: four standard deviations are 0.015.
    assert!((share - 0.8).abs() < 0.015, "{share}");
}

/// The stored weights, without anything attached to them.
fn bases<M: Module>(model: &M) -> Vec<Vec<u32>> {
    struct Bases(Vec<Vec<u32>>);
    impl ModuleVisitor for Bases {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if D > 0 && !param.is_require_grad() {
                let data = param.base().without_autodiff().into_data();
                self.0.push(data.iter::<f32>().map(f32::to_bits).collect());
            }
        }
    }
    let mut bases = Bases(Vec::new());
    model.visit(&mut bases);
    bases.0
}

#[test]
fn fifty_private_steps_leave_the_weights_alone() {
    for kind in [MaskKind::Threshold { threshold: 0.0 }, MaskKind::Sigmoid] {
        let mut model = config(kind, Structure::Weight).apply(Net::new(&device())).expect("fits");
        let (before, scores) = (bases(&model), trainable(&model));
        let mut optimizer =
            optimizer(plan(flat(BOUND), 1.0), SgdConfig::new().init(), Path::Mixed, 3);
        for number in 0..50 {
            step(&mut optimizer, 0.5, &mut model, &records(8, number), 4).expect("a step");
        }
        assert_eq!(bases(&model), before, "{kind:?}");
        assert_ne!(trainable(&model), scores);
        assert!(!before.is_empty());
    }
}

#[test]
fn a_selection_restricts_the_mask() {
    let model = Net::new(&device());
    let place = ParamSelector::path("mix").select(&model).expect("it is there");
    let config = config(MaskKind::Sigmoid, Structure::Weight).on(&place);
    let model = config.apply(model).expect("it fits");
    let scores = ParamSelector::attached("mask").select(&model).expect("a mask");
    assert_eq!(scores.trained(), WIDTH * WIDTH);
}

#[test]
fn structures_can_differ_between_weights() {
    let model = Net::new(&device());
    let place = |path: &str| ParamSelector::path(path).select(&model).expect("it is there");
    let config = config(KINDS[2], Structure::Axis(0))
        .with_structure_on(&place("mix"), Structure::Heads { axis: 1, heads: 2 })
        .with_structure_on(&place("head"), Structure::Weight);
    let masked = config.apply(model.clone()).expect("it fits");
    let masked = scatter(masked, 4);
    let masks = MaskSet::of(&config, &masked).expect("binary");
    let counts: Vec<usize> = masks.layers().iter().map(|layer| layer.bits().len()).collect();
    let paths: Vec<&str> = masks.layers().iter().map(|layer| layer.path()).collect();
    assert_eq!(paths, ["conv.weight", "embedding.weight", "head.weight", "mix.weight"]);
    assert_eq!(counts, [4, 16, 8, 2]);
    let bytes = masks.to_bytes().expect("bytes");
    assert_eq!(MaskSet::from_bytes(&bytes, &model).expect("the same model"), masks);
    assert_eq!(bits(&masks.apply(model).expect("the same")), bits(&masked.clone().materialize()));
    // A second layer of masks would freeze the first.
    assert!(matches!(config.apply(masked), Err(Error::Mask(MaskError::AlreadyAttached))));
}

#[derive(Module, Debug)]
struct Gated {
    hidden: Linear,
    first: Gate,
    second: Gate,
}

impl Gated {
    fn new(gated: &[&str], config: &SuperMaskConfig) -> Self {
        let device = device();
        // The weights are the same in every call, whatever other tests draw from burn's generator
        // meanwhile.
        let hidden = scatter(LinearConfig::new(3, 6).init(&device), 1);
        let first = Gate::new([6], &device).expect("a shape");
        let second = Gate::new([2, 1], &device).expect("a shape");
        let model = Self { hidden, first, second };
        if gated.is_empty() {
            return model;
        }
        let gates = ParamSelector::paths(gated.iter().copied()).expect("some").select(&model);
        config.clone().on(&gates.expect("there")).apply(model).expect("it fits")
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<3> {
        let [records, _] = x.dims();
        let hidden = self.first.forward(self.hidden.forward(x).tanh());
        self.second.forward(hidden.reshape([records, 2, 3]))
    }

    fn loss(&self, x: Tensor<2>) -> Tensor<1> {
        self.forward(x).powi_scalar(2).sum()
    }
}

#[test]
fn gates_mask_activations() {
    let x = || {
        let data = burn::tensor::TensorData::new(numbers(3, 15), [5, 3]);
        Tensor::<2>::from_data(data, &device())
    };
    let both = ["first", "second"];
    for kind in KINDS {
        let config = config(kind, Structure::Weight);
        let before = Gated::new(&[], &config).forward(x()).into_data();
        let fresh = Gated::new(&both, &config);
        if !matches!(kind, MaskKind::Stochastic { .. }) {
            assert_eq!(fresh.forward(x()).into_data(), before, "{kind:?}");
        }
        // With these scores no kind closes every gate. Otherwise there would be nothing to compare.
        let model = config.refresh(scatter(fresh, 8), 2, 3).expect("finite scores");
        assert_eq!(ParamSelector::masks().select(&model).expect("masks").trained(), 6 + 2);
        let by_hand = {
            let plain = model.clone().materialize();
            let first = plain.first.forward(Tensor::<2>::ones([1, 6], &device()));
            let second = plain.second.forward(Tensor::<3>::ones([1, 2, 1], &device()));
            let hidden = Gated::new(&[], &config).hidden.forward(x()).tanh() * first;
            (hidden.reshape([5, 2, 3]) * second).into_data()
        };
        assert_eq!(model.forward(x()).into_data(), by_hand, "{kind:?}");
        verify(&model, x(), |model: &Gated, x| model.loss(x), 1e-4)
            .unwrap_or_else(|error| panic!("{kind:?}: {error}"));
    }
    assert!(matches!(Gate::new([3, 0], &device()), Err(Error::Setting(_))));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let kinds = [
        MaskKind::Threshold { threshold: f64::NAN },
        MaskKind::TopK { share: 0.0, scope: Scope::Layer },
        MaskKind::TopK { share: 1.1, scope: Scope::Global },
        MaskKind::Stochastic { keep: 1.0 },
        MaskKind::Stochastic { keep: f64::NAN },
    ];
    for kind in kinds {
        assert!(matches!(SuperMaskConfig::new(kind), Err(Error::Setting(_))), "{kind:?}");
    }
    let structures = [
        Structure::Axis(2),
        Structure::Heads { axis: 0, heads: 3 },
        Structure::Heads { axis: 0, heads: 0 },
    ];
    for structure in structures {
        let refused = config(MaskKind::Sigmoid, structure).apply(Net::new(&device()));
        assert!(matches!(refused, Err(Error::Mask(MaskError::DoesNotFit { .. }))), "{structure:?}");
    }
}

// Masks separate from the model.

/// Masks that look trained, and their model.
fn set(kind: MaskKind, structure: Structure) -> (MaskSet, Net) {
    let model = masked(kind, structure);
    (MaskSet::of(&config(kind, structure), &model).expect("binary"), model)
}

#[test]
fn masks_alone_make_the_model_that_they_are_of() {
    for kind in KINDS.into_iter().filter(|kind| kind.is_binary()) {
        for structure in STRUCTURES {
            let (masks, model) = set(kind, structure);
            let bytes = masks.to_bytes().expect("bytes");
            // The reader may have masks of its own, or none.
            for reader in [Net::new(&device()), model.clone()] {
                assert_eq!(MaskSet::from_bytes(&bytes, &reader).expect("the same model"), masks);
            }
            let plain = masks.apply(Net::new(&device())).expect("the same model");
            assert_eq!(bits(&plain), bits(&model.materialize()), "{kind:?} {structure:?}");
        }
    }
}

#[test]
fn masks_of_another_model_are_refused() {
    let (masks, _) = set(KINDS[0], Structure::Weight);
    let bytes = masks.to_bytes().expect("bytes");
    let mut other = Net::new(&device());
    other.mix.weight = other.mix.weight.map(|weight| weight.mul_scalar(1.0001));
    let mut smaller = Net::new(&device());
    smaller.head = burn::nn::LinearConfig::new(WIDTH, 3).init(&device());
    for model in [other, smaller] {
        let refused = MaskSet::from_bytes(&bytes, &model);
        assert!(
            matches!(refused, Err(Error::Mask(MaskError::OfAnotherModel { .. }))),
            "{refused:?}"
        );
        assert!(matches!(masks.apply(model), Err(Error::Mask(MaskError::OfAnotherModel { .. }))));
    }
}

#[test]
fn spoiled_bytes_are_refused() {
    let model = Net::new(&device());
    let (masks, _) = set(KINDS[2], Structure::Weight);
    let bytes = masks.to_bytes().expect("bytes");
    for length in 0..bytes.len() {
        assert!(MaskSet::from_bytes(&bytes[..length], &model).is_err(), "{length} bytes");
    }
    for place in 0..bytes.len() {
        let mut spoiled = bytes.clone();
        spoiled[place] ^= 1 << (place % 8);
        let refused = MaskSet::from_bytes(&spoiled, &model);
        let told = matches!(
            refused,
            Err(Error::Mask(MaskError::Unreadable { .. }) | Error::Mask(MaskError::Version { .. }))
        );
        assert!(told, "byte {place}: {refused:?}");
    }
}

#[test]
fn a_soft_mask_has_no_bits() {
    let model = masked(MaskKind::Sigmoid, Structure::Weight);
    let refused = MaskSet::of(&config(MaskKind::Sigmoid, Structure::Weight), &model);
    assert!(matches!(refused, Err(Error::Mask(MaskError::NotBinary))));
    let none = MaskSet::of(&config(KINDS[0], Structure::Weight), &Net::new(&device()));
    assert!(matches!(none, Err(Error::Mask(MaskError::NotAttached { .. }))));
}

#[test]
fn a_report_tells_what_is_left() {
    let kind = MaskKind::TopK { share: 0.5, scope: Scope::Layer };
    let (masks, _) = set(kind, Structure::Axis(0));
    assert_eq!((masks.scores(), masks.kept_weights()), (16 + 4 + 4 + 4, (64 + 16 + 32 + 8) / 2));
    let report = masks.to_string();
    assert!(report.contains("mix.weight: 2 of 4 kept (50.0 %)"), "{report}");
    assert!(report.ends_with("60 of 120 masked weights are left (50.0 %)"), "{report}");
}
