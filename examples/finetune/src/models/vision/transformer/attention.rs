//! Attention of every token to every token.

use burn::nn::Linear;
use burn::prelude::*;
use burn::tensor::activation::softmax;

use super::positions::RelativePositions;

/// Multi-head self-attention.
#[derive(Module, Debug)]
pub(super) struct Attention {
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    pub(super) output: Linear,
    /// Of BEiT.
    pub(super) positions: Option<RelativePositions>,
    pub(super) heads: usize,
}

impl Attention {
    /// `shared` is added to the scores, `[1, heads, tokens, tokens]`.
    pub(super) fn forward(&self, tokens: Tensor<3>, shared: Option<Tensor<4>>) -> Tensor<3> {
        let [batch, count, width] = tokens.dims();
        let size = width / self.heads;
        let split = |x: Tensor<3>| x.reshape([batch, count, self.heads, size]).swap_dims(1, 2);
        let query = split(self.query.forward(tokens.clone()));
        let key = split(self.key.forward(tokens.clone()));
        let value = split(self.value.forward(tokens));
        let mut scores = query.matmul(key.swap_dims(2, 3)) / (size as f64).sqrt();
        if let Some(shared) = shared {
            scores = scores + shared;
        }
        if let Some(positions) = &self.positions {
            scores = scores + positions.forward();
        }
        let mixed = softmax(scores, 3).matmul(value);
        self.output.forward(mixed.swap_dims(1, 2).reshape([batch, count, width]))
    }
}
