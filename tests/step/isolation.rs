//! Everything that must not affect a gradient: other records, masked positions, batch statistics,
//! frozen layers.

use burn::module::{Module, ParamGroup};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamConfig, SgdConfig};
use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_dp::error::ModelError;
use burn_dp::per_example::Engine;
use burn_dp::seed::Seed;
use burn_dp::{DpOptimizer, Error};

use crate::common::*;

#[test]
fn no_example_changes_another_examples_gradient_by_one_bit() {
    let device = device();
    let model = Net::new(&device);
    let data = records(5, 300);
    for path in PATHS {
        let mut engine = path.engine(Net::loss);
        let mut gradients = |data: &[Record]| {
            let all = engine.per_example(&model, collate(data, &device)).expect("gradients");
            let embedding = all.gradient::<3>(model.embedding.weight.id).expect("embedding");
            let mix = all.gradient::<3>(model.mix.weight.id).expect("mix");
            let conv = all.gradient::<4>(model.conv.weight.id).expect("conv");
            let parts = [
                embedding.flatten::<2>(1, 2),
                mix.flatten(1, 2),
                conv.flatten(1, 3),
                all.estimated_squared_norms().unsqueeze_dim(1),
                all.losses().unsqueeze_dim(1),
            ];
            let width: usize = parts.iter().map(|part| part.dims()[1]).sum();
            let all: Vec<f32> = Tensor::cat(parts.to_vec(), 1).into_data().iter().collect();
            all.chunks(width).map(|row| row.iter().map(|x| x.to_bits()).collect()).collect()
        };
        let before: Vec<Vec<u32>> = gradients(&data);
        for weight in [0.0, 1e6, f32::NAN] {
            let mut changed = data.clone();
            changed[1] = weighted(&records(1, 301)[0], weight);
            let after: Vec<Vec<u32>> = gradients(&changed);
            for example in [0, 2, 3, 4] {
                assert_eq!(before[example], after[example], "{path:?}: {example} at {weight}");
            }
            assert_ne!(before[1], after[1], "{path:?}");
        }
    }
}

/// The loss of one example is computed as if it were alone, whatever the loss does with a batch.
#[test]
fn a_loss_that_compares_the_examples_of_a_batch_sees_one() {
    let device = device();
    let model = fill(LinearConfig::new(2, 1).init(&device));
    let contrastive = |model: &Linear, x: Tensor<2>| {
        let y = model.forward(x);
        (y.clone() * 3.0 - y.mean_dim(0)).powi_scalar(2).sum()
    };
    let x = Tensor::<2>::from_data([[1.0, 2.0], [0.5, -1.0]], &device);
    let other = Tensor::<2>::from_data([[1.0, 2.0], [900.0, 7.0]], &device);
    for path in PATHS {
        let mut engine = path.engine(contrastive);
        let mut first = |x: &Tensor<2>| {
            let gradients = engine.per_example(&model, x.clone()).expect("gradients");
            let gradient = gradients.gradient::<3>(model.weight.id).expect("a gradient");
            gradient.slice_dim(0, 0..1).into_data().iter::<f32>().collect::<Vec<_>>()
        };
        assert_eq!(first(&x), first(&other), "{path:?}");
    }
}

#[derive(Module, Debug)]
struct Normed {
    first: Linear,
    norm: BatchNorm,
    last: Linear,
}

impl Normed {
    fn new() -> Self {
        let device = device();
        fill(Self {
            first: LinearConfig::new(3, 4).init(&device),
            norm: BatchNormConfig::new(4).init(&device),
            last: LinearConfig::new(4, 1).init(&device),
        })
    }

    fn loss(&self, x: Tensor<2>) -> Tensor<1> {
        self.last.forward(self.norm.forward(self.first.forward(x)).tanh()).powi_scalar(2).mean()
    }

    fn running(&self) -> Vec<u32> {
        let (mean, var) = (self.norm.running_mean.value_sync(), self.norm.running_var.value_sync());
        let data =
            Tensor::cat(vec![mean.without_autodiff(), var.without_autodiff()], 0).into_data();
        data.iter::<f32>().map(f32::to_bits).collect()
    }
}

#[test]
fn batch_statistics_in_training_are_refused_and_nothing_changes() {
    let x = Tensor::<2>::from_data(TensorData::new(numbers(1, 12), [4, 3]), &device());
    for path in PATHS {
        let mut model = Normed::new();
        let (running, before) = (model.running(), bits(&model));
        let engine = path.engine(Normed::loss);
        let plan = plan(flat(BOUND), 1.0);
        let mut optimizer =
            DpOptimizer::with_seed(plan, SgdConfig::new().init(), engine, Seed::reproducible(1));
        let batch = optimizer.vouch_for_poisson([x.clone()]);
        let refused = optimizer.step(0.1, &mut model, batch);
        let Err(error @ Error::Model(ModelError::BatchStatistics { .. })) = refused else {
            panic!("{path:?}: {refused:?}")
        };
        assert!(error.to_string().contains("`norm`"), "{error}");
        assert_eq!((running, before), (model.running(), bits(&model)), "{path:?}");
        assert_eq!(optimizer.steps_taken().value(), 0);
        assert!(optimizer.ledger().entries().is_empty());
    }
}

#[test]
fn a_step_leaves_frozen_running_statistics_bit_identical() {
    let x = Tensor::<2>::from_data(TensorData::new(numbers(2, 12), [4, 3]), &device());
    for path in PATHS {
        let mut model = Normed::new();
        model.norm = model.norm.freeze();
        let running = model.running();
        let before = bits(&model);
        let engine = path.engine(Normed::loss);
        let plan = plan(flat(BOUND), 1.0);
        let mut optimizer =
            DpOptimizer::with_seed(plan, SgdConfig::new().init(), engine, Seed::reproducible(1));
        for _ in 0..3 {
            let batch = optimizer.vouch_for_poisson([x.clone()]);
            optimizer.step(0.1, &mut model, batch).expect("a step");
        }
        assert_eq!(running, model.running(), "{path:?}");
        assert_ne!(before, bits(&model), "{path:?}");
    }
}

/// The mean of the positions that are not masked.
#[derive(Clone, Debug)]
struct Padded {
    features: Tensor<3>,
    tokens: Tensor<2, Int>,
    padding: Tensor<2, Bool>,
}
burn_dp::impl_batch!(Padded { features, tokens, padding });

fn masked_loss(model: &Net, batch: Padded) -> Tensor<1> {
    let x = batch.features + model.embedding.forward(batch.tokens);
    let x = model.mix.forward(x).tanh();
    let mask = batch.padding.unsqueeze_dim::<3>(2).expand(x.dims());
    let x = x.mask_fill(mask, 0.0).sum_dim(1).flatten::<2>(1, 2);
    model.head.forward(x).powi_scalar(2).mean()
}

#[test]
fn a_masked_position_contributes_exactly_zero_whatever_its_content() {
    let device = device();
    let model = Net::new(&device);
    for path in PATHS {
        let released = |content: f32, token: i32| {
            let mut data = records(2, 310);
            for record in &mut data {
                record.features[WIDTH * (LENGTH - 1)..].fill(content);
                record.tokens[LENGTH - 1] = token;
            }
            let Records { features, tokens, .. } = collate(&data, &device);
            let padding = Tensor::<2, Bool>::from_data([[false, false, true]; 2], &device);
            let batch = Padded { features, tokens, padding };
            let plan = plan(flat(100.0), 0.0);
            let engine = path.engine(masked_loss);
            let mut optimizer = DpOptimizer::with_seed(plan, Reveal, engine, Seed::reproducible(1));
            let mut model = model.clone();
            let batch = optimizer.vouch_for_poisson([batch]);
            optimizer.step(1.0, &mut model, batch).expect("a step");
            let embedding = model.embedding.weight.val().without_autodiff();
            let row: Vec<f32> =
                embedding.slice_dim(0, token..token + 1).into_data().iter().collect();
            (trainable(&model), row)
        };
        let unused = (0..TOKENS as i32)
            .filter(|token| records(2, 310).iter().all(|r| !r.tokens.contains(token)))
            .collect::<Vec<_>>();
        let (zero, row) = released(0.0, unused[0]);
        assert!(norm(&zero) > 0.0);
        assert!(row.iter().all(|x| *x == 0.0), "{path:?}: padding's embedding has {row:?}");
        // Above 1e19 a Gram matrix of inputs overflows, and the whole record contributes zero.
        for content in [1.0, -1e4, 1e15] {
            let (other, row) = released(content, unused[1]);
            assert!(row.iter().all(|x| *x == 0.0), "{path:?}: padding's embedding has {row:?}");
            let error = distance(&zero, &other);
            assert!(error <= 1e-7 * norm(&zero), "{path:?}, {content}: {error}");
        }
    }
}

#[test]
fn frozen_layers_are_bit_identical_after_training_and_in_neither_norm_nor_noise() {
    let adam = || AdamConfig::new().with_weight_decay(Some(WeightDecayConfig::new(0.1))).init();
    for group in ["mix", "embedding", "head.bias"] {
        let frozen = |model: &Net| -> Vec<Vec<u32>> {
            let all = bits(model);
            // Visiting order: embedding, mix, norm, conv, head. Each has two tensors except the
            // first.
            match group {
                "embedding" => all[..1].to_vec(),
                "mix" => all[1..3].to_vec(),
                _ => all[8..].to_vec(),
            }
        };
        for path in PATHS {
            let pattern = ParamGroup::from_predicate(group);
            let mut model = Net::new(&device()).freeze_group(pattern);
            let before = bits(&model);
            let mut optimizer = optimizer(plan(flat(BOUND), 1.0), adam(), path, 5);
            for round in 0..3 {
                step(&mut optimizer, 0.1, &mut model, &records(3, 320 + round), 2).expect("a step");
            }
            let after = bits(&model);
            let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
            assert_eq!(frozen(&Net::new(&device())), frozen(&model), "{path:?}: {group}");
            assert_eq!(changed, before.len() - frozen(&model).len(), "{path:?}: {group}");
        }
    }
}

#[test]
fn a_frozen_layers_gradient_is_not_in_the_norm() {
    let frozen = Net::new(&device()).freeze_group(ParamGroup::from_predicate("mix"));
    for (name, clipping) in clippings().into_iter().filter(|(name, _)| *name != "per group") {
        let plan = plan(clipping, 0.0);
        for path in PATHS {
            let record = weighted(&records(1, 330)[0], 1e6);
            let released = release_of(frozen.clone(), &plan, path, &[record], 1);
            let norm = norm(&released);
            assert!(
                (0.99 * BOUND..=BOUND * (1.0 + 1e-6)).contains(&norm),
                "{name}, {path:?}: {norm}"
            );
        }
    }
}
