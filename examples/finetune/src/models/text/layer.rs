//! One layer of the encoder.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;

use super::Activation;
use super::attention::Attention;

/// Attention between tokens, then two dense maps at every token. Each half adds to its input and
/// normalizes the sum.
#[derive(Module, Debug)]
pub struct Layer {
    pub attention: Attention,
    pub feed_forward: FeedForward,
}

impl Layer {
    pub(super) fn forward(&self, hidden: Tensor<3>, bias: Tensor<4>) -> Tensor<3> {
        self.feed_forward.forward(self.attention.forward(hidden, bias))
    }
}

/// The two dense maps.
#[derive(Module, Debug)]
pub struct FeedForward {
    pub up: Linear,
    pub down: Linear,
    pub norm: LayerNorm,
    #[module(skip)]
    pub activation: Activation,
}

impl FeedForward {
    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        let inner = self.activation.forward(self.up.forward(hidden.clone()));
        self.norm.forward(self.down.forward(inner) + hidden)
    }
}
