//! Tokens to one vector each, and these to one for the text.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::tanh;

use super::attention::padding_bias;
use super::layer::Layer;
use super::{Embeddings, Pooling, TextInputs};

/// An encoder of the BERT family.
#[derive(Module, Debug)]
pub struct TextEncoder {
    pub embeddings: Embeddings,
    pub layers: Vec<Layer>,
    /// Only there where texts are pooled by it: a parameter without a use would still get noise.
    pub pooler: Option<Linear>,
    #[module(skip)]
    pub pooling: Pooling,
}

impl TextEncoder {
    /// A vector for every token: `[batch, length, width]`.
    ///
    /// # Panics
    /// If there are more tokens than [`max_length`](Self::max_length), or an id or type is not in its table. The
    /// [`Tokenizer`](super::Tokenizer) of the same folder gives neither.
    pub fn forward(&self, inputs: TextInputs) -> Tensor<3> {
        let bias = padding_bias(inputs.mask);
        let hidden = self.embeddings.forward(inputs.tokens, inputs.types);
        self.layers.iter().fold(hidden, |hidden, layer| layer.forward(hidden, bias.clone()))
    }

    /// A vector for every text: `[batch, width]`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn pooled(&self, inputs: TextInputs) -> Tensor<2> {
        let mask = inputs.mask.clone();
        let hidden = self.forward(inputs);
        let pooled = match self.pooling {
            Pooling::Mean => mean(hidden, mask),
            Pooling::Cls | Pooling::Pooler => hidden.slice_dim(1, 0..1).squeeze_dim::<2>(1),
        };
        match &self.pooler {
            Some(pooler) => tanh(pooler.forward(pooled)),
            None => pooled,
        }
    }

    /// Tokens that a text may have.
    pub fn max_length(&self) -> usize {
        let rows = self.embeddings.position.weight.shape()[0];
        rows.saturating_sub(self.embeddings.positions.unused())
    }

    /// Numbers that stand for one token.
    pub fn width(&self) -> usize {
        self.embeddings.position.weight.shape()[1]
    }
}

/// The mean over the tokens of each text.
fn mean(hidden: Tensor<3>, mask: Tensor<2>) -> Tensor<2> {
    let sum = (hidden * mask.clone().unsqueeze_dim::<3>(2)).sum_dim(1).squeeze_dim::<2>(1);
    // A text of nothing but padding has the mean zero.
    let tokens = mask.sum_dim(1).clamp_min(1e-9);
    sum / tokens
}
