//! The function between the dense maps of a layer.

use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, gelu_approximate, relu};

/// An activation, by the formula and not by the name, of which some have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x Φ(x)`.
    Gelu,
    /// The approximation of GELU by a hyperbolic tangent.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

impl Activation {
    /// What transformers means by `name`.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "gelu" => Some(Self::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Some(Self::GeluTanh),
            "relu" => Some(Self::Relu),
            _ => None,
        }
    }

    /// The names that [`named`](Self::named) knows, for errors.
    pub(super) const NAMES: &str = "gelu, gelu_new, gelu_pytorch_tanh or relu";

    pub(super) fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => gelu(x),
            Self::GeluTanh => gelu_approximate(x),
            Self::Relu => relu(x),
        }
    }
}
