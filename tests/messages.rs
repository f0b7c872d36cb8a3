//! A loss that cannot be traced is refused with the advice that helps.

mod common;

use burn::module::Module;
use burn::nn::loss::*;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor};
use burn_dp::Error;
use burn_dp::batch::Batch;
use burn_dp::error::TraceError;
use burn_dp::per_example::{Engine, Loop, Traced};
use common::*;

fn model() -> Linear {
    fill(LinearConfig::new(3, 2).init(&device()))
}

fn x() -> Tensor<2> {
    Tensor::ones([4, 3], &device())
}

fn labels() -> Tensor<1, Int> {
    Tensor::from_data([0, 1, 1, 0], &device())
}

/// The traced engine's error, after checking that its message has all of `parts`.
#[track_caller]
fn refused<X, F>(batch: X, loss: F, parts: &[&str]) -> Error
where
    X: Batch,
    F: Fn(&Linear, X) -> Tensor<1>,
{
    let error = Traced::new(&loss).per_example(&model(), batch).err().expect("an error");
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    error
}

macro_rules! refused {
    ($batch:expr, $loss:expr, $pattern:pat, $($part:literal),+ $(,)?) => {{
        let error = refused($batch, $loss, &[$($part),+]);
        assert!(matches!(error, $pattern), "{error:?}");
    }};
}

#[test]
fn a_captured_device_is_named_with_the_one_to_use() {
    for device in [device(), Device::default()] {
        let one = |m: &Linear, x| (m.forward(x) * Tensor::<2>::ones([1, 2], &device)).mean();
        refused!(
            x(),
            one,
            Error::Trace(TraceError::TensorFromOutside { .. }),
            "do not capture a device",
            "x.device()"
        );
        let chosen = |m: &Linear, x| {
            m.forward(x).select(1, Tensor::<1, Int>::from_data([0], &device)).mean()
        };
        refused!(x(), chosen, Error::Trace(TraceError::TensorFromOutside { .. }), "x.device()");
    }
    let moved = |m: &Linear, x| m.forward(x).to_device(&Device::default()).mean();
    refused!(x(), moved, Error::Trace(TraceError::TensorFromOutside { .. }), "x.device()");
    let right = |m: &Linear, x: Tensor<2>| {
        let ones = Tensor::<2>::ones([1, 2], &x.device());
        (m.forward(x) * ones).mean()
    };
    assert!(Traced::new(right).per_example(&model(), x()).is_ok());
}

#[test]
fn a_captured_loss_with_tensors_is_to_be_made_inside() {
    let batch = || (x(), labels());
    let config = CrossEntropyLossConfig::new().with_weights(Some(vec![1.0, 2.0]));
    for device in [device(), Device::default()] {
        let captured = config.init(&device);
        let loss = |m: &Linear, (x, y)| captured.forward(m.forward(x), y);
        refused!(
            batch(),
            loss,
            Error::Trace(TraceError::TensorFromOutside { .. }),
            "class weights",
            "inside of the closure"
        );
    }
    let inside = |m: &Linear, (x, y): (Tensor<2>, Tensor<1, Int>)| {
        config.init(&x.device()).forward(m.forward(x), y)
    };
    assert!(Traced::new(inside).per_example(&model(), batch()).is_ok());
}

#[test]
fn a_captured_teacher_is_to_be_a_frozen_field_or_in_the_batch() {
    let difference = |a: Tensor<2>, b: Tensor<2>| (a - b).square().mean();
    for teacher in [model(), model().valid()] {
        let loss = |m: &Linear, x: Tensor<2>| difference(m.forward(x.clone()), teacher.forward(x));
        refused!(
            x(),
            loss,
            Error::Trace(TraceError::TensorFromOutside { .. }),
            "a teacher",
            "frozen field",
            "batch"
        );
    }
    // Both remedies.
    let both = (model(), model().no_grad());
    let field = |(m, teacher): &(Linear, Linear), x: Tensor<2>| {
        difference(m.forward(x.clone()), teacher.forward(x))
    };
    assert!(Traced::new(field).per_example(&both, x()).is_ok());
    let outputs = model().forward(x()).detach();
    let in_batch = |m: &Linear, (x, y): (Tensor<2>, Tensor<2>)| difference(m.forward(x), y);
    assert!(Traced::new(in_batch).per_example(&model(), (x(), outputs)).is_ok());
}

#[test]
fn a_shape_that_does_not_fit_one_example_says_that_there_is_one() {
    macro_rules! one {
        ($loss:expr) => {
            refused!(
                x(),
                $loss,
                Error::Trace(TraceError::ShapeOfOneExample { .. }),
                "batch of ONE",
                "axis 0",
                "squeeze_dim"
            )
        };
    }
    one!(|m: &Linear, x| m.forward(x).unsqueeze_dim::<3>(1).squeeze::<2>().mean());
    one!(|m: &Linear, x| m.forward(x).reshape([4, 2]).mean());
    one!(|m: &Linear, x| m.forward(x).reshape([2, 2, -1]).mean());
    one!(|m: &Linear, x| m.forward(x).narrow(0, 1, 2).mean());
    one!(|m: &Linear, x| {
        let halves = m.forward(x).chunk(2, 0);
        (halves[0].clone() - halves[1].clone()).mean()
    });
    let asserted = |m: &Linear, x: Tensor<2>| {
        assert!(x.dims()[0] == 4, "four examples are wanted");
        m.forward(x).mean()
    };
    refused!(
        x(),
        asserted,
        Error::Trace(TraceError::Failed { .. }),
        "four examples",
        "batch of one example"
    );
    let right = |m: &Linear, x: Tensor<2>| {
        m.forward(x.clone())
            .unsqueeze_dim::<3>(1)
            .squeeze_dim::<2>(1)
            .reshape([x.dims()[0], 2])
            .mean()
    };
    assert!(Traced::new(right).per_example(&model(), x()).is_ok());
}

#[test]
fn a_value_read_for_a_log_says_where_losses_come_from() {
    let logged = |m: &Linear, x| {
        let loss = m.forward(x).mean();
        let _ = loss.clone().into_scalar::<f32>();
        loss
    };
    refused!(
        x(),
        logged,
        Error::Trace(TraceError::ValueRead { .. }),
        "to log",
        "PerExample::losses",
        "outside"
    );
    let read = |m: &Linear, x| {
        let loss = m.forward(x).mean();
        let _ = loss.to_data();
        loss
    };
    refused!(x(), read, Error::Trace(TraceError::ValueRead { .. }), "to log", "PerExample::losses");
    let plain = |m: &Linear, x| m.forward(x).mean();
    let losses = Traced::new(plain).per_example(&model(), x()).expect("losses").losses();
    assert_eq!(losses.into_data().iter::<f32>().count(), 4);
}

#[test]
fn a_loss_of_burn_that_checks_values_says_so_and_both_ways_out_work() {
    let poisson = |m: &Linear, (x, y): (Tensor<2>, Tensor<2>)| {
        PoissonNllLossConfig::new().init().forward(m.forward(x), y, Reduction::Mean)
    };
    let batch = || (x(), Tensor::<2>::ones([4, 2], &device()));
    refused!(
        batch(),
        poisson,
        Error::Trace(TraceError::ValueRead { .. }),
        "PoissonNllLoss",
        "formula",
        "`Loop`"
    );
    let formula = |m: &Linear, (x, y): (Tensor<2>, Tensor<2>)| {
        let predictions = m.forward(x);
        (predictions.clone().exp() - y * predictions).mean()
    };
    let model = model();
    let weight = |sum: burn_dp::per_example::PerExample| {
        let gradients = sum.gradient::<3>(model.weight.id).expect("a gradient");
        gradients.into_data().iter::<f64>().collect::<Vec<_>>()
    };
    let looped = weight(Loop::new(poisson).per_example(&model, batch()).expect("gradients"));
    let traced = weight(Traced::new(formula).per_example(&model, batch()).expect("gradients"));
    assert!(distance(&looped, &traced) < 1e-6 * norm(&looped), "{looped:?} {traced:?}");
}

#[cfg(debug_assertions)]
#[test]
fn the_connectionist_loss_says_that_it_checks_values() {
    let ctc = |m: &Linear, (x, y): (Tensor<3>, Tensor<2, Int>)| {
        let lengths = Tensor::<1, Int>::ones([y.dims()[0]], &y.device());
        let log_probabilities = log_softmax(m.forward(x), 2).swap_dims(0, 1);
        CTCLossConfig::new()
            .init()
            .forward(log_probabilities, y, lengths.clone() * 2, lengths)
            .mean()
    };
    let batch = (Tensor::ones([2, 2, 3], &device()), Tensor::from_data([[1], [1]], &device()));
    refused!(batch, ctc, Error::Trace(TraceError::ValueRead { .. }), "CTCLoss", "`Loop`");
}

#[test]
fn autodiff_inside_of_the_loss_says_how_to_stop_a_gradient() {
    let stopped = |m: &Linear, x: Tensor<2>| {
        let y = m.forward(x);
        (y.clone() - y.inner().autodiff()).square().mean() + m.weight.val().mean()
    };
    refused!(x(), stopped, Error::Trace(TraceError::AutodiffInLoss { .. }), "detach()");
    let differentiated = |m: &Linear, x: Tensor<2>| {
        let loss = m.forward(x).mean();
        let gradients = loss.backward();
        let weight = m.weight.val().grad(&gradients).expect("a gradient");
        loss + Tensor::from_inner(weight).mean()
    };
    refused!(x(), differentiated, Error::Trace(TraceError::AutodiffInLoss { .. }), "Loop");
}
