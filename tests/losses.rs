//! A loss that means the same for a batch of one as for a batch is distinguished from one that does
//! not.
//!
//! Private training sees batches of one. Each test of the table in `docs/guide/data-and-losses.md`
//! ("Losses that do not mean what they say") shows that the loss is refused, and that its
//! replacement is accepted and equals what was meant.

mod common;

use burn::nn::loss::*;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{log_softmax, sigmoid, softmax};
use burn::tensor::{Int, Tensor};
use burn_dp::batch::Batch;
use burn_dp::error::{GradientError, LossError};
use burn_dp::per_example::{Engine, Loop, LossKind, Traced, loss_kind, verify};
use burn_dp::{Error, Result};
use common::*;

const N: usize = 5;
const CLASSES: [f32; 3] = [0.5, 1.0, 4.0];

fn model() -> Linear {
    fill(LinearConfig::new(4, 3).init(&device()))
}

fn floats<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let count = shape.iter().product();
    Tensor::<1>::from_floats(numbers(seed, count).as_slice(), &device()).reshape(shape)
}

fn x() -> Tensor<2> {
    floats([N, 4], 1)
}

fn labels() -> Tensor<1, Int> {
    Tensor::from_data([0, 2, 1, 2, 0], &device())
}

/// A mask over four positions. Each record has between zero and three positions of padding.
fn mask() -> Tensor<2> {
    let rows = [[1., 1., 0., 0.], [1., 1., 1., 1.], [1., 0., 0., 0.], [1., 1., 1., 0.], [1.; 4]];
    Tensor::from_floats(rows, &device())
}

fn kind<X: Batch, F: Fn(&Linear, X) -> Tensor<1>>(batch: X, loss: F) -> Result<LossKind> {
    let agreement = verify(&model(), batch.clone(), &loss, 1e-3)?;
    assert_eq!(agreement.loss, loss_kind(&model(), batch, &loss, 1e-3)?);
    Ok(agreement.loss)
}

macro_rules! is {
    ($kind:expr, $pattern:pat) => {{
        let kind = $kind;
        assert!(matches!(kind, $pattern), "{kind:?}");
    }};
}

/// The losses of each record, `[N]`.
fn cross_entropies(model: &Linear, x: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    let log_probabilities = log_softmax(model.forward(x), 1);
    log_probabilities.gather(1, labels.unsqueeze_dim(1)).squeeze_dim::<1>(1).neg()
}

fn class_weights() -> Tensor<1> {
    Tensor::<1>::from_floats(CLASSES, &device()).gather(0, labels())
}

/// `Σ_i weights[i] · gradient_i` of the plain cross entropy: the meaning of a weighted loss,
/// computed by hand.
fn by_hand(weights: Tensor<1>) -> Vec<f64> {
    let loss = |m: &Linear, (x, y): (Tensor<2>, Tensor<1, Int>)| cross_entropies(m, x, y).mean();
    let model = model();
    let gradients = Loop::new(loss).per_example(&model, (x(), labels())).expect("gradients");
    let sum = gradients.weighted_sum(weights / N as f32).expect("a weight each");
    let gradients = sum.into_gradients(&model);
    let weight = gradients.get::<2>(model.weight.id).expect("a gradient");
    weight.into_data().iter::<f64>().collect()
}

#[test]
fn a_mean_and_a_sum_of_records_are_told_apart() {
    let mse = |reduction: fn() -> Reduction| {
        move |m: &Linear, (x, y): (Tensor<2>, Tensor<2>)| {
            MseLoss::new().forward(m.forward(x), y, reduction())
        }
    };
    let batch = (x(), floats([N, 3], 2));
    assert_eq!(kind(batch.clone(), mse(|| Reduction::Mean)).unwrap(), LossKind::MeanOfRecords);
    assert_eq!(kind(batch.clone(), mse(|| Reduction::Sum)).unwrap(), LossKind::SumOfRecords);
    // Losses that are not reduced. A batch of one has one of them.
    let apart = |m: &Linear, (x, y): (Tensor<2>, Tensor<2>)| {
        (m.forward(x) - y).square().mean_dim(1).squeeze_dim::<1>(1)
    };
    assert_eq!(kind(batch, apart).unwrap(), LossKind::SumOfRecords);
}

#[test]
fn a_sum_over_a_constant_is_told_with_its_divisor() {
    let sum = |m: &Linear, (x, y)| cross_entropies(m, x, y).sum() / 64;
    let told = kind((x(), labels()), sum).unwrap();
    assert_eq!(told, LossKind::ConstantDivisor { divisor: 64.0 });
    assert!(told.to_string().contains("leave it out (`mean()`)"), "{told}");
    let inside = |m: &Linear, (x, y)| (cross_entropies(m, x, y) * 0.01).sum();
    is!(kind((x(), labels()), inside).unwrap(), LossKind::ConstantDivisor { divisor: 100.0 });
    // A mean inside one record is not such a constant.
    let mean_inside = |m: &Linear, x: Tensor<2>| m.forward(x).square().mean_dim(1).sum();
    assert_eq!(kind(x(), mean_inside).unwrap(), LossKind::SumOfRecords);
}

#[test]
fn another_multiple_of_the_sum_is_told() {
    let loss = |m: &Linear, (x, y): (Tensor<2>, Tensor<1, Int>)| {
        let examples = x.dims()[0] as f32;
        cross_entropies(m, x, y).sum() / (examples * examples)
    };
    let told = kind((x(), labels()), loss).unwrap();
    let LossKind::OtherMultiple { factor } = told else { panic!("{told:?}") };
    assert!((factor - 1.0 / 25.0).abs() < 1e-5, "{factor}");
}

#[test]
fn class_weights_that_vanish_are_refused_and_weights_in_the_batch_are_what_was_meant() {
    for smoothing in [None, Some(0.1)] {
        let burns = |m: &Linear, (x, y): (Tensor<2>, Tensor<1, Int>)| {
            let config = CrossEntropyLossConfig::new().with_weights(Some(CLASSES.to_vec()));
            config.with_smoothing(smoothing).init(&x.device()).forward(m.forward(x), y)
        };
        let refused = kind((x(), labels()), burns).expect_err("weights vanish");
        let Error::Loss(LossError::WeightedByBatch { examples, weights }) = &refused else {
            panic!("{refused:?}")
        };
        assert_eq!(*examples, [0, 1]);
        // Classes 0 and 2.
        assert!((weights[0] - 0.5 / 4.5).abs() < 1e-4, "{weights:?}");
        assert!((weights[1] - 4.0 / 4.5).abs() < 1e-4, "{weights:?}");
        assert!(refused.to_string().contains("(losses * weights).mean()"), "{refused}");
    }

    let weighted = |m: &Linear, (x, y, w): (Tensor<2>, Tensor<1, Int>, Tensor<1>)| {
        (cross_entropies(m, x, y) * w).mean()
    };
    let batch = (x(), labels(), class_weights());
    assert_eq!(kind(batch.clone(), weighted).unwrap(), LossKind::MeanOfRecords);
    let model = model();
    let gradients = Traced::new(weighted).per_example(&model, batch).expect("gradients");
    let ones = Tensor::<1>::ones([N], &device()) / N as f32;
    let sum = gradients.weighted_sum(ones).expect("a weight each").into_gradients(&model);
    let weight = sum.get::<2>(model.weight.id).expect("a gradient");
    let weight: Vec<f64> = weight.into_data().iter::<f64>().collect();
    let meant = by_hand(class_weights());
    assert!(distance(&weight, &meant) < 1e-6 * norm(&meant), "{weight:?} {meant:?}");
}

#[test]
fn a_mean_over_the_unmasked_positions_of_a_batch_is_refused_and_one_within_each_record_is_not() {
    type Texts = (Tensor<3>, Tensor<2>);
    let batch: Texts = (floats([N, 4, 4], 3), mask());
    let losses = |m: &Linear, x: Tensor<3>| m.forward(x).square().mean_dim(2).squeeze_dim::<2>(2);
    let over_batch =
        |m: &Linear, (x, mask): Texts| (losses(m, x) * mask.clone()).sum() / mask.sum();
    let refused = kind(batch.clone(), over_batch).expect_err("records weigh by their length");
    let Error::Loss(LossError::WeightedByBatch { weights, .. }) = refused else {
        panic!("{refused:?}")
    };
    // Two positions of six.
    assert!((weights[0] - 1.0 / 3.0).abs() < 1e-4, "{weights:?}");

    let within = |m: &Linear, (x, mask): Texts| {
        ((losses(m, x) * mask.clone()).sum_dim(1) / mask.sum_dim(1).clamp_min(1)).mean()
    };
    assert_eq!(kind(batch.clone(), within).unwrap(), LossKind::MeanOfRecords);
    // Each position has the same weight, whatever the record's length: the length is a constant.
    let constant = |m: &Linear, (x, mask): Texts| ((losses(m, x) * mask).sum_dim(1) / 4).mean();
    assert_eq!(kind(batch, constant).unwrap(), LossKind::MeanOfRecords);
}

#[test]
fn padding_of_cross_entropy_weighs_records_by_their_length() {
    let tokens = Tensor::<2, Int>::from_data([[1, 2, 0], [2, 0, 0], [1, 1, 2]], &device());
    let batch = (floats([3, 3, 4], 4), tokens);
    let burns = |m: &Linear, (x, y): (Tensor<3>, Tensor<2, Int>)| {
        let loss = CrossEntropyLossConfig::new().with_pad_tokens(Some(vec![0])).init(&x.device());
        loss.forward(m.forward(x).reshape([-1, 3]), y.reshape([-1]))
    };
    let refused = kind(batch.clone(), burns).expect_err("records weigh by their length");
    let Error::Loss(LossError::WeightedByBatch { weights, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert!((weights[0] - 2.0 / 3.0).abs() < 1e-4, "{weights:?}");

    let within = |m: &Linear, (x, y): (Tensor<3>, Tensor<2, Int>)| {
        let mask = y.clone().not_equal_scalar(0).float();
        let log_probabilities = log_softmax(m.forward(x), 2);
        let losses = log_probabilities.gather(2, y.unsqueeze_dim(2)).squeeze_dim::<2>(2).neg();
        ((losses * mask.clone()).sum_dim(1) / mask.sum_dim(1).clamp_min(1)).mean()
    };
    assert_eq!(kind(batch, within).unwrap(), LossKind::MeanOfRecords);
    // A record that is all padding has gradient zero.
    let tokens = Tensor::<2, Int>::from_data([[0, 0, 0], [1, 2, 0], [1, 1, 2]], &device());
    let batch = (floats([3, 3, 4], 4), tokens);
    let refused = kind(batch.clone(), burns);
    is!(refused, Err(Error::Loss(LossError::WeightedByBatch { examples: [1, 2], .. })));
    assert_eq!(kind(batch, within).unwrap(), LossKind::MeanOfRecords);
}

#[test]
fn a_root_of_a_mean_is_refused_and_a_mean_of_roots_is_not() {
    let batch = || (x(), floats([N, 3], 5));
    let root_of_mean =
        |m: &Linear, (x, y): (Tensor<2>, Tensor<2>)| (m.forward(x) - y).square().mean().sqrt();
    is!(kind(batch(), root_of_mean), Err(Error::Loss(LossError::WeightedByBatch { .. })));
    let mean_of_roots = |m: &Linear, (x, y): (Tensor<2>, Tensor<2>)| {
        (m.forward(x) - y).square().mean_dim(1).sqrt().mean()
    };
    assert_eq!(kind(batch(), mean_of_roots).unwrap(), LossKind::MeanOfRecords);
}

#[test]
fn in_batch_negatives_have_no_gradient_and_a_group_that_is_one_record_has() {
    let contrastive = |m: &Linear, (x, other): (Tensor<2>, Tensor<2>)| {
        let similar = m.forward(x).matmul(m.forward(other).transpose());
        let examples = similar.dims()[0] as i64;
        let own = Tensor::<1, Int>::arange(0..examples, &similar.device()).unsqueeze_dim(1);
        log_softmax(similar, 1).gather(1, own).mean().neg()
    };
    let refused = kind((x(), floats([N, 4], 6)), contrastive).expect_err("nothing to compare");
    is!(&refused, Error::Loss(LossError::WithoutGradient { finite: true, batch_has_one: true }));
    assert!(refused.to_string().contains("noise alone"), "{refused}");
    assert!(refused.to_string().contains("one record"), "{refused}");

    // Each record contains the group with which it is compared.
    let grouped = |m: &Linear, (x, other): (Tensor<3>, Tensor<3>)| {
        let similar = m.forward(x).matmul(m.forward(other).swap_dims(1, 2));
        let [groups, members, _] = similar.dims();
        let own = Tensor::<1, Int>::arange(0..members as i64, &similar.device());
        let own = own.reshape([1, members, 1]).repeat_dim(0, groups);
        log_softmax(similar, 2).gather(2, own).mean().neg()
    };
    let batch = (floats([3, 4, 4], 7), floats([3, 4, 4], 8));
    assert_eq!(kind(batch, grouped).unwrap(), LossKind::MeanOfRecords);
}

#[test]
fn standardizing_over_the_batch_has_no_gradient_and_standardizing_by_constants_has() {
    type Pairs = (Tensor<2>, Tensor<2>);
    let batch = || (x(), floats([N, 3], 9));
    // The variance of one number over n - 1 is 0 / 0.
    let standardized = |m: &Linear, (x, y): Pairs| {
        let z = m.forward(x);
        let z = (z.clone() - z.clone().mean_dim(0)) / z.var(0).sqrt();
        (z - y).square().mean()
    };
    let refused = kind(batch(), standardized);
    is!(
        refused,
        Err(Error::Loss(LossError::WithoutGradient { finite: false, batch_has_one: true }))
    );
    let biased = |m: &Linear, (x, y): Pairs| {
        let z = m.forward(x);
        let z = (z.clone() - z.clone().mean_dim(0)) / (z.var_bias(0) + 1e-5).sqrt();
        (z - y).square().mean()
    };
    let refused = kind(batch(), biased);
    is!(refused, Err(Error::Loss(LossError::WithoutGradient { batch_has_one: true, .. })));
    let constants = |m: &Linear, (x, y): Pairs| ((m.forward(x) - 0.3) / 1.7 - y).square().mean();
    assert_eq!(kind(batch(), constants).unwrap(), LossKind::MeanOfRecords);
}

#[test]
fn a_loss_that_mixes_examples_is_refused() {
    // The balance of experts: a product of means.
    let balance = |m: &Linear, x: Tensor<2>| {
        let gates = softmax(m.forward(x) * 4, 1);
        gates.mean_dim(0).square().sum()
    };
    let refused = kind(x(), balance).expect_err("mixes");
    is!(&refused, Error::Loss(LossError::MixesExamples { .. }));
    assert!(refused.to_string().contains("one record"), "{refused}");
    // A term of the whole batch, added to one of the records.
    let beside = |m: &Linear, (x, y): (Tensor<2>, Tensor<1, Int>)| {
        cross_entropies(m, x.clone(), y).mean() + m.forward(x).mean_dim(0).square().mean()
    };
    is!(kind((x(), labels()), beside), Err(Error::Loss(LossError::MixesExamples { .. })));
    // Neighbors in the batch.
    let ranked = |m: &Linear, x: Tensor<2>| {
        let y = m.forward(x);
        (y.clone() + (y.clone() * y.flip([0])).tanh()).mean()
    };
    is!(kind(x(), ranked), Err(Error::Loss(LossError::MixesExamples { .. })));
    // Limited to the first examples. A batch of one does not show this.
    let first = |m: &Linear, x: Tensor<2>| m.forward(x).slice_dim(0, 0..2).square().mean();
    assert!(kind(x(), first).is_err());
}

#[test]
fn one_example_cannot_tell_and_is_no_error() {
    let loss = |m: &Linear, x: Tensor<2>| m.forward(x).square().mean();
    let told = kind(x().slice_dim(0, 0..1), loss).unwrap();
    is!(&told, LossKind::CannotTell { .. });
    assert!(told.to_string().contains("at least two"), "{told}");
    is!(kind(x().slice_dim(0, 0..0), loss).unwrap(), LossKind::CannotTell { .. });
    // A loss written for one example only.
    let only_one = |m: &Linear, x: Tensor<2>| m.forward(x).reshape([3]).square().mean();
    let told = kind(x(), only_one).unwrap();
    assert!(told.to_string().contains("not for 5 at once"), "{told}");
}

#[test]
fn a_record_that_is_not_finite_in_both_engines_is_named_and_is_no_disagreement() {
    let loss = |m: &Linear, (x, y): (Tensor<2>, Tensor<1>)| {
        (m.forward(x).square().mean_dim(1).squeeze_dim::<1>(1) * y.log()).mean()
    };
    let y = Tensor::<1>::from_floats([1.5, 2.0, -1.0, 3.0, 0.0], &device());
    let refused = verify(&model(), (x(), y), loss, 1e-3).expect_err("a logarithm of -1");
    let Error::Gradient(GradientError::NotFinite { example: 2, parameter }) = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(parameter, "weight");
    assert!(refused.to_string().contains("example 2 is NaN"), "{refused}");
    let nowhere = Tensor::<1>::full([N], -1.0, &device());
    let refused = kind((x(), nowhere), loss);
    is!(
        refused,
        Err(Error::Loss(LossError::WithoutGradient { finite: false, batch_has_one: false }))
    );
    // This does not apply if only one engine has it.
    let calls = std::cell::Cell::new(0);
    let once = |m: &Linear, x: Tensor<2>| {
        calls.set(calls.get() + 1);
        m.forward(x).mean() * if calls.get() > 1 { f32::NAN } else { 1.0 }
    };
    is!(
        verify(&model(), x(), once, 1e-3),
        Err(Error::Gradient(GradientError::EnginesDisagree { .. }))
    );
}

#[test]
fn a_batch_without_any_gradient_is_told() {
    let loss = |m: &Linear, x: Tensor<2>| (m.forward(x) - 1e3).clamp_min(0).sum();
    let refused = kind(x(), loss).expect_err("no gradient");
    is!(&refused, Error::Loss(LossError::WithoutGradient { finite: true, batch_has_one: false }));
    assert!(refused.to_string().contains("fitted already"), "{refused}");
}

#[test]
fn records_alike_are_no_reason_to_refuse() {
    let same = Tensor::<2>::ones([3, 4], &device());
    let loss = |m: &Linear, x: Tensor<2>| m.forward(x).square().mean();
    assert_eq!(kind(same, loss).unwrap(), LossKind::MeanOfRecords);
    // Gradients of opposite records, whose sum is zero.
    let opposite = Tensor::cat(vec![x(), x().neg()], 0);
    let odd = |m: &Linear, x: Tensor<2>| x.matmul(m.weight.val()).mean();
    assert_eq!(kind(opposite, odd).unwrap(), LossKind::MeanOfRecords);
}

/// A step squares norms in single precision, so it treats such a gradient as not finite.
#[test]
fn a_gradient_whose_square_overflows_is_told() {
    let times = |m: &Linear, (x, scale): (Tensor<2>, Tensor<1>)| {
        (m.forward(x).square().mean_dim(1).squeeze_dim::<1>(1) * scale).mean()
    };
    let with = |scale: f32| Tensor::<1>::from_floats([1.0, 1.0, 1.0, scale, 1.0], &device());
    assert_eq!(kind((x(), with(1e15)), times).unwrap(), LossKind::MeanOfRecords);
    let refused = kind((x(), with(1e25)), times).expect_err("too long");
    is!(&refused, Error::Gradient(GradientError::NotFinite { example: 3, .. }));
    assert!(refused.to_string().contains("1.8e19"), "{refused}");
    let all = Tensor::<1>::full([N], 1e25, &device());
    is!(
        kind((x(), all), times),
        Err(Error::Loss(LossError::WithoutGradient { finite: false, .. }))
    );
    // A step treats it as zero.
    let mut gradients = Traced::new(times).per_example(&model(), (x(), with(1e25)));
    let gradients = gradients.as_mut().expect("gradients").estimated_squared_norms();
    assert!(!gradients.into_data().iter::<f64>().nth(3).expect("a norm").is_finite());
}

/// burn's other losses, with or without weights: correct at a batch of one.
#[test]
fn burns_other_losses_of_classes_are_means_of_records() {
    let mean = LossKind::MeanOfRecords;
    let classes = || (x(), labels());
    let many = || (x(), Tensor::<2, Int>::ones([N, 3], &device()) * labels().unsqueeze_dim(1) / 2);
    let weights = || Some(CLASSES.to_vec());
    assert_eq!(
        mean,
        kind(classes(), |m, (x, y)| CrossEntropyLossConfig::new()
            .with_smoothing(Some(0.1))
            .init(&x.device())
            .forward(m.forward(x), y))
        .unwrap()
    );
    assert_eq!(
        mean,
        kind(many(), |m, (x, y)| BinaryCrossEntropyLossConfig::new()
            .with_weights(weights())
            .init(&x.device())
            .forward(sigmoid(m.forward(x)), y))
        .unwrap()
    );
    assert_eq!(
        mean,
        kind(classes(), |m, (x, y)| BinaryCrossEntropyLossConfig::new()
            .with_weights(weights())
            .with_logits(true)
            .init(&x.device())
            .forward(m.forward(x).slice([0..N, 0..1]).squeeze_dim::<1>(1), y / 2))
        .unwrap()
    );
    assert_eq!(
        mean,
        kind(classes(), |m, (x, y)| MultiMarginLossConfig::new().init().forward(
            m.forward(x),
            y,
            Reduction::Mean
        ))
        .unwrap()
    );
}

type Pairs = (Tensor<2>, Tensor<2>);

#[test]
fn burns_losses_of_pairs_are_means_of_records() {
    type Case = (&'static str, fn(Tensor<2>, Tensor<2>) -> Tensor<1>);
    let pairs: [Case; 10] = [
        ("MseLoss", |x, y| MseLoss::new().forward(x, y, Reduction::Auto)),
        ("HuberLoss", |x, y| HuberLossConfig::new(0.5).init().forward(x, y, Reduction::Mean)),
        ("SmoothL1Loss", |x, y| {
            SmoothL1LossConfig::new().init().forward_with_reduction(x, y, Reduction::Mean)
        }),
        ("LpLoss", |x, y| LpLossConfig::l1().forward(x, y, Reduction::Mean)),
        ("KLDivLoss", |x, y| {
            let loss = KLDivLossConfig::new().init();
            loss.forward(log_softmax(x, 1), softmax(y, 1), Reduction::BatchMean)
        }),
        ("GaussianNLLLoss", |x, y| {
            let loss = GaussianNLLLossConfig::new().init();
            loss.forward(x.clone(), y, x.exp(), Reduction::Mean)
        }),
        ("SoftMarginLoss", |x, y| SoftMarginLoss::new().forward(x, y.sign(), Reduction::Mean)),
        ("HingeEmbeddingLoss", |x, y| {
            HingeEmbeddingLossConfig::new().init().forward(x, y.sign(), Reduction::Mean)
        }),
        ("MarginRankingLoss", |x, y| {
            let loss = MarginRankingLossConfig::new().with_margin(3.0).init();
            loss.forward(x.clone(), x.flip([1]), y.sign(), Reduction::Mean)
        }),
        ("TripletMarginLoss", |x, y| {
            let loss = TripletMarginLossConfig::new().with_margin(3.0).init();
            loss.forward(x.clone(), y.clone(), y.flip([1]) * 2, Reduction::Mean)
        }),
    ];
    for (name, loss) in pairs {
        let told =
            kind((x(), floats([N, 3], 10)), |m: &Linear, (x, y): Pairs| loss(m.forward(x), y));
        assert_eq!(LossKind::MeanOfRecords, told.unwrap(), "{name}");
    }
}

#[test]
fn burns_losses_of_triples_are_means_of_records() {
    let mean = LossKind::MeanOfRecords;
    let cosine = |m: &Linear, (x, other, y): (Tensor<2>, Tensor<2>, Tensor<1, Int>)| {
        let loss = CosineEmbeddingLossConfig::new().with_margin(-1.0).init();
        loss.forward(m.forward(x), m.forward(other), y / 2 * 2 - 1)
    };
    assert_eq!(mean, kind((x(), floats([N, 4], 13), labels()), cosine).unwrap());
    let transducer = |m: &Linear, (x, y, lengths): (Tensor<4>, Tensor<2, Int>, Tensor<1, Int>)| {
        let loss = RNNTLossConfig::new().init();
        loss.forward_with_reduction(m.forward(x), y, lengths.clone() + 1, lengths, Reduction::Mean)
    };
    let targets = Tensor::<2, Int>::from_data([[1, 2], [2, 1]], &device());
    let lengths = Tensor::<1, Int>::from_data([1, 2], &device());
    let batch = (floats([2, 3, 3, 4], 14), targets, lengths);
    assert_eq!(mean, kind(batch, transducer).unwrap());
}

/// Only the batch-of-one engine takes these.
#[test]
fn burns_losses_that_read_values_are_means_of_records() {
    let mean = LossKind::MeanOfRecords;
    let poisson = |m: &Linear, (x, y): Pairs| {
        PoissonNllLossConfig::new().init().forward(m.forward(x), y.abs(), Reduction::Mean)
    };
    assert_eq!(mean, loss_kind(&model(), (x(), floats([N, 3], 11)), poisson, 1e-3).unwrap());
    let ctc = |m: &Linear, (x, y, lengths): (Tensor<3>, Tensor<2, Int>, Tensor<1, Int>)| {
        let log_probabilities = log_softmax(m.forward(x), 2).swap_dims(0, 1);
        let inputs = lengths.ones_like() * 4;
        let loss = CTCLossConfig::new().init();
        loss.forward_with_reduction(log_probabilities, y, inputs, lengths, Reduction::Mean)
    };
    let targets = Tensor::<2, Int>::from_data([[1, 2], [2, 1], [1, 1]], &device());
    let lengths = Tensor::<1, Int>::from_data([1, 2, 1], &device());
    let batch = (floats([3, 4, 4], 12), targets, lengths);
    assert_eq!(mean, loss_kind(&model(), batch, ctc, 1e-3).unwrap());
}
