//! What the traced engine refuses, with which error and why.
//!
//! - Batch statistics mix examples: no per-example gradient exists.
//! - A loss that reads a value while it computes could branch on it, so one trace would not hold
//!   for every example. burn's `PoissonNllLoss` reads its targets to check them, `one_hot` its
//!   indices, and `CTCLoss` its lengths in builds with debug assertions.
//! - Quantized tensors and custom operations have no batching rule.
//! - A trainable parameter in two fields: burn's optimizers would let the two differ.
//! - A loss that is not one number, or that depends on no trainable parameter.
//!
//! All except the first and last work with [`Loop`].

use burn::module::Module;
use burn::nn::loss::{PoissonNllLossConfig, Reduction};
use burn::nn::norm::*;
use burn::nn::*;
use burn::prelude::*;
use burn::tensor::quantization::QuantScheme;
use burn_dp::Error;
use burn_dp::batch::Batch;
use burn_dp::error::{BatchError, GradientError, LossError, ModelError, TraceError};
use burn_dp::per_example::{Engine, Loop, Traced, verify};

use crate::harness::{device, device_is};

#[derive(Module, Debug)]
struct Block {
    linear: Linear,
    norm: BatchNorm,
}

#[derive(Module, Debug)]
struct Body {
    blocks: Vec<Block>,
}

fn on() -> Device {
    device().autodiff()
}

fn linear() -> Linear {
    LinearConfig::new(3, 3).init(&on())
}

fn x() -> Tensor<2> {
    Tensor::ones([2, 3], &on())
}

/// The error of the traced engine. `looped` tells whether the batch-of-one engine accepts the loss.
fn error<M, X, F>(model: &M, batch: X, loss: F, looped: bool) -> Error
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    assert_eq!(Loop::new(&loss).per_example(model, batch.clone()).is_ok(), looped);
    match Traced::new(loss).per_example(model, batch) {
        Err(error) => error,
        Ok(_) => panic!("was not refused"),
    }
}

#[test]
fn batch_statistics_with_the_path_of_the_module() {
    let block = Block { linear: linear(), norm: BatchNormConfig::new(3).init(&on()) };
    let model = Body { blocks: vec![block] };
    let loss = |m: &Body, x| m.blocks[0].norm.forward(m.blocks[0].linear.forward(x)).sum();
    let refused = error(&model, x(), loss, false);
    assert!(
        matches!(&refused, Error::Model(ModelError::BatchStatistics { module, kind })
            if module == "blocks.0.norm" && kind == "BatchNorm"),
        "{refused:?}"
    );
}

#[test]
fn batch_statistics_of_the_model_itself() {
    let model = BatchNormConfig::new(3).init(&on());
    let refused = error(&model, x(), |m: &BatchNorm, x| m.forward(x).sum(), false);
    assert!(matches!(refused, Error::Model(ModelError::BatchStatistics { .. })), "{refused:?}");
    assert!(refused.to_string().contains("the model"), "{refused}");
}

#[test]
fn batch_statistics_in_a_wrapper() {
    let config = NormalizationConfig::Batch(BatchNormConfig::new(3));
    let model = (linear(), config.init(&on()));
    let loss = |(linear, norm): &(Linear, Normalization), x: Tensor<2>| {
        norm.forward(linear.forward(x)).sum()
    };
    let refused = error(&model, x(), loss, false);
    assert!(matches!(refused, Error::Model(ModelError::BatchStatistics { .. })), "{refused:?}");
}

#[test]
fn not_a_model_that_is_only_named_after_batch_norm() {
    #[derive(Module, Debug)]
    struct WithoutBatchNorm {
        linear: Linear,
        dropout: Dropout,
    }
    let model = WithoutBatchNorm { linear: linear(), dropout: DropoutConfig::new(0.5).init() };
    let loss = |m: &WithoutBatchNorm, x| m.dropout.forward(m.linear.forward(x)).sum();
    assert_eq!(Traced::new(loss).per_example(&model, x()).unwrap().len(), 2);
}

#[test]
fn one_trainable_parameter_in_two_fields() {
    let layer = linear();
    let loss = |(a, b): &(Linear, Linear), x| a.forward(b.forward(x)).sum();
    let refused = error(&(layer.clone(), layer), x(), loss, false);
    assert!(
        matches!(&refused, Error::Model(ModelError::SharedParameter { first, second })
            if first == "0.weight" && second == "1.weight"),
        "{refused:?}"
    );
}

#[test]
fn not_one_frozen_parameter_in_two_fields() {
    let layer = linear().no_grad();
    let model = (layer.clone(), layer, linear());
    let loss = |(a, b, c): &(Linear, Linear, Linear), x| c.forward(a.forward(b.forward(x))).sum();
    assert!(verify(&model, x(), loss, 1e-4).is_ok());
}

#[test]
fn quantized_tensors() {
    if ["ndarray", "wgpu"].into_iter().any(device_is) {
        // These backends cannot make the tensor that is to be refused.
        return;
    }
    let mut model = linear();
    let scheme = QuantScheme::default();
    model.weight = model.weight.map(|w| w.quantize_dynamic(&scheme));
    let refused = error(&model, x(), |m: &Linear, x| m.forward(x).sum(), true);
    assert!(
        matches!(&refused, Error::Trace(TraceError::UnsupportedOperation { operation })
            if operation.contains("quantized parameter weight")),
        "{refused:?}"
    );
}

#[test]
fn a_loss_that_reads_a_value() {
    let loss = |m: &Linear, x| {
        let y = m.forward(x);
        if y.clone().sum().into_scalar::<f32>() > 0.0 { y.sum() } else { y.mean() }
    };
    let refused = error(&linear(), x(), loss, true);
    assert!(matches!(refused, Error::Trace(TraceError::ValueRead { .. })), "{refused:?}");
}

#[test]
fn burn_losses_that_check_values() {
    let poisson = |m: &Linear, x: Tensor<2>| {
        let targets = x.ones_like();
        PoissonNllLossConfig::new().init().forward(m.forward(x), targets, Reduction::Mean)
    };
    let refused = error(&linear(), x(), poisson, true);
    assert!(matches!(refused, Error::Trace(TraceError::ValueRead { .. })), "{refused:?}");

    let one_hot = |m: &Linear, (x, i): (Tensor<2>, Tensor<1, Int>)| {
        (m.forward(x) * i.one_hot::<2>(3).float()).sum()
    };
    let indices = Tensor::from_data([0, 2], &on());
    let refused = error(&linear(), (x(), indices), one_hot, true);
    assert!(matches!(refused, Error::Trace(TraceError::ValueRead { .. })), "{refused:?}");
}

#[cfg(debug_assertions)]
#[test]
fn ctc_loss_where_burn_asserts_lengths() {
    let loss = |m: &Linear, (x, y, lengths): (Tensor<3>, Tensor<2, Int>, Tensor<1, Int>)| {
        let log_probs = burn::tensor::activation::log_softmax(m.forward(x), 2).swap_dims(0, 1);
        let loss = burn::nn::loss::CTCLossConfig::new().init();
        loss.forward(log_probs, y, lengths.ones_like() * 4, lengths).mean()
    };
    let device = on();
    let batch = (
        Tensor::ones([2, 4, 3], &device),
        Tensor::from_data([[1, 2], [2, 1]], &device),
        Tensor::from_data([1, 2], &device),
    );
    let refused = error(&linear(), batch, loss, true);
    assert!(matches!(refused, Error::Trace(TraceError::ValueRead { .. })), "{refused:?}");
}

#[test]
fn a_loss_that_is_not_one_number() {
    let loss = |m: &Linear, x| m.forward(x).reshape([-1]);
    let refused = error(&linear(), x(), loss, false);
    assert!(
        matches!(&refused, Error::Loss(LossError::NotScalar { shape }) if *shape == [3]),
        "{refused:?}"
    );
}

#[test]
fn a_loss_without_trainable_parameters() {
    let loss = |m: &Linear, x| m.forward(x).detach().sum();
    let refused = error(&linear(), x(), loss, false);
    assert!(matches!(refused, Error::Loss(LossError::WithoutParameters)), "{refused:?}");
    let frozen = linear().freeze();
    let refused = error(&frozen, x(), |m: &Linear, x| m.forward(x).sum(), false);
    assert!(matches!(refused, Error::Model(ModelError::NoTrainableParameter)), "{refused:?}");
}

#[test]
fn a_tensor_of_the_values_captured_by_the_closure() {
    // A tensor of the closure lives on the real device, the trace on another one.
    let constant = Tensor::<2>::ones([1, 3], &on());
    let loss = move |m: &Linear, x| (m.forward(x) * constant.clone()).sum();
    let refused = error(&linear(), x(), loss, true);
    assert!(matches!(refused, Error::Trace(TraceError::TensorFromOutside { .. })), "{refused:?}");
}

#[test]
fn tensors_of_different_lengths() {
    let loss = |m: &Linear, (x, y): (Tensor<2>, Tensor<2>)| (m.forward(x) * y).sum();
    let batch = (x(), Tensor::ones([3, 3], &on()));
    let refused = error(&linear(), batch, loss, false);
    assert!(
        matches!(&refused, Error::Batch(BatchError::LengthsDiffer { lengths }) if *lengths == [2, 3]),
        "{refused:?}"
    );
}

#[test]
fn a_refusal_leaves_the_engine_usable() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let read = AtomicBool::new(true);
    let loss = |m: &Linear, x| {
        let y = m.forward(x);
        if read.load(Ordering::Relaxed) {
            let _ = y.clone().into_data();
        }
        y.sum()
    };
    let mut engine = Traced::new(&loss);
    let model = linear();
    assert!(matches!(
        engine.per_example(&model, x()),
        Err(Error::Trace(TraceError::ValueRead { .. }))
    ));
    read.store(false, Ordering::Relaxed);
    assert_eq!(engine.per_example(&model, x()).unwrap().len(), 2);
}

#[test]
fn verify_finds_engines_that_disagree() {
    // Dropout draws differently in the two engines.
    let dropout = DropoutConfig::new(0.5).init();
    let model = (LinearConfig::new(3, 64).init(&on()), dropout);
    let loss = |(linear, dropout): &(Linear, Dropout), x| dropout.forward(linear.forward(x)).sum();
    let disagreement = verify(&model, x(), loss, 1e-3);
    assert!(
        matches!(disagreement, Err(Error::Gradient(GradientError::EnginesDisagree { .. }))),
        "{disagreement:?}"
    );
    let model = (model.0, model.1.freeze());
    verify(&model, x(), loss, 1e-4).unwrap();
}
