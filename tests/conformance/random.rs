//! Random operations: every example draws its own numbers, and new ones at every call.

use burn::module::Module;
use burn::nn::*;
use burn::prelude::*;
use burn_dp::per_example::{Engine, NormMethod, Traced};

use crate::harness::{device, host};

/// Gradients of the bias, which are the masks that dropout drew: `[examples, width]`.
fn masks<D: Module>(
    layer: D,
    forward: fn(&D, Tensor<2>) -> Tensor<2>,
    calls: usize,
) -> Vec<Vec<f64>> {
    let device = device().autodiff();
    let model = (LinearConfig::new(3, 64).init(&device), layer);
    let id = model.0.bias.as_ref().unwrap().id;
    let loss = move |(linear, layer): &(Linear, D), x| {
        forward(layer, linear.forward(x)).powi_scalar(2).sum()
    };
    let mut engine = Traced::new(loss).with_norm_method(NormMethod::Ghost);
    let mut rows = Vec::new();
    for _ in 0..calls {
        // Identical examples.
        let batch = Tensor::<2>::ones([3, 3], &device);
        let gradient = host(engine.per_example(&model, batch).unwrap().gradient::<2>(id).unwrap());
        rows.extend(gradient.chunks(64).map(<[f64]>::to_vec));
    }
    rows
}

fn all_differ(rows: &[Vec<f64>]) -> bool {
    rows.iter().enumerate().all(|(i, a)| rows[..i].iter().all(|b| a != b))
}

#[test]
fn dropout_draws_for_every_example_and_call() {
    let rows = masks(DropoutConfig::new(0.5).init(), |layer, x| layer.forward(x), 3);
    assert_eq!(rows.len(), 9);
    assert!(all_differ(&rows));
    let kept = rows.iter().flatten().filter(|x| **x != 0.0).count();
    // Six standard deviations of 576 fair coins.
    assert!((216..=360).contains(&kept), "{kept} of 576 kept");
}

#[test]
fn noise_draws_for_every_example_and_call() {
    let rows = masks(GaussianNoiseConfig::new(0.5).init(), |layer, x| layer.forward(x), 3);
    assert!(all_differ(&rows));
}

#[test]
fn randomized_activations_draw_for_every_example_and_call() {
    let layer = activation::RReluConfig::new().init();
    let rows = masks(layer, |layer, x| layer.forward(x - 10.0), 3);
    assert!(all_differ(&rows));
}

#[test]
fn frozen_dropout_gives_identical_examples_identical_gradients() {
    let rows = masks(DropoutConfig::new(0.5).init().freeze(), |layer, x| layer.forward(x), 2);
    assert!(rows.iter().all(|row| *row == rows[0]));
}

#[test]
fn a_draw_used_twice_is_one_draw() {
    // The mask occurs in the loss and in its own gradient: with mask m, gradient 2·m²·y = 2·m·y.
    let device = device().autodiff();
    let model = LinearConfig::new(1, 64).with_bias(false).init(&device);
    let id = model.weight.id;
    let loss = |m: &Linear, x: Tensor<2>| {
        let y = m.forward(x);
        let mask = y.random_like(burn::tensor::Distribution::Bernoulli(0.5));
        (y.clone() * mask.clone()).sum() - (y * mask).sum()
    };
    let x = Tensor::<2>::ones([3, 1], &device);
    let gradients = Traced::new(loss).per_example(&model, x).unwrap();
    assert!(host(gradients.gradient::<3>(id).unwrap()).iter().all(|x| *x == 0.0));
}
