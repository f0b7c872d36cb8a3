//! One block of the model.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, gelu_approximate};
use serde::Deserialize;

use super::attention::Attention;

/// Attention between tokens, then two dense maps at every token. Each half normalizes what it reads and adds to it.
#[derive(Module, Debug)]
pub struct Block {
    pub ln_1: LayerNorm,
    pub attn: Attention,
    pub ln_2: LayerNorm,
    pub mlp: Mlp,
}

impl Block {
    pub(super) fn forward(&self, hidden: Tensor<3>, future: Tensor<4>) -> Tensor<3> {
        let hidden = self.attn.forward(self.ln_1.forward(hidden.clone()), future) + hidden;
        self.mlp.forward(self.ln_2.forward(hidden.clone())) + hidden
    }
}

/// The two dense maps.
#[derive(Module, Debug)]
pub struct Mlp {
    pub c_fc: Linear,
    pub c_proj: Linear,
    #[module(skip)]
    pub activation: Activation,
}

impl Mlp {
    fn forward(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.c_proj.forward(self.activation.forward(self.c_fc.forward(hidden)))
    }
}

/// What stands between the dense maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Activation {
    /// GELU by its tanh formula, with which GPT-2 was trained.
    #[default]
    #[serde(rename = "gelu_new")]
    GeluNew,
    /// GELU by the error function.
    #[serde(rename = "gelu")]
    Gelu,
}

impl Activation {
    fn forward(self, x: Tensor<3>) -> Tensor<3> {
        match self {
            Self::GeluNew => gelu_approximate(x),
            Self::Gelu => gelu(x),
        }
    }
}
