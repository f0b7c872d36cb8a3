//! Attention, then a small network for each token.

use burn::module::Param;
use burn::nn::activation::Activation;
use burn::nn::{LayerNorm, Linear};
use burn::prelude::*;

use super::attention::Attention;

/// Both parts add to what they read.
#[derive(Module, Debug)]
pub(super) struct Block {
    pub(super) norm_before: LayerNorm,
    pub(super) attention: Attention,
    /// Layer scale of BEiT (arXiv 2103.17239): what attention adds is multiplied by it, channel by channel.
    pub(super) lambda_1: Option<Param<Tensor<1>>>,
    pub(super) norm_after: LayerNorm,
    pub(super) mlp: Mlp,
    /// The same for the small network.
    pub(super) lambda_2: Option<Param<Tensor<1>>>,
}

impl Block {
    /// `shared` is added to the scores of attention.
    pub(super) fn forward(&self, tokens: Tensor<3>, shared: Option<Tensor<4>>) -> Tensor<3> {
        let mixed = self.attention.forward(self.norm_before.forward(tokens.clone()), shared);
        let tokens = tokens + scaled(mixed, &self.lambda_1);
        let added = self.mlp.forward(self.norm_after.forward(tokens.clone()));
        tokens + scaled(added, &self.lambda_2)
    }
}

fn scaled(x: Tensor<3>, lambda: &Option<Param<Tensor<1>>>) -> Tensor<3> {
    match lambda {
        Some(lambda) => x * lambda.val().unsqueeze(),
        None => x,
    }
}

/// Two linear layers with an activation between them.
#[derive(Module, Debug)]
pub(super) struct Mlp {
    pub(super) up: Linear,
    pub(super) activation: Activation,
    pub(super) down: Linear,
}

impl Mlp {
    fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        self.down.forward(self.activation.forward(self.up.forward(tokens)))
    }
}
