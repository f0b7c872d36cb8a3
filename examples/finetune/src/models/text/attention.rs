//! Attention of every token to every token that is not padding.

use burn::module::Module;
use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

/// Multi-head self-attention, added to its input and normalized.
#[derive(Module, Debug)]
pub struct Attention {
    pub query: Linear,
    pub key: Linear,
    pub value: Linear,
    pub output: Linear,
    pub norm: LayerNorm,
    pub heads: usize,
}

impl Attention {
    /// `bias` is added to the scores: `[batch, 1, 1, length]`.
    pub(super) fn forward(&self, hidden: Tensor<3>, bias: Tensor<4>) -> Tensor<3> {
        let [batch, length, width] = hidden.dims();
        let size = width / self.heads;
        let split = |x: Tensor<3>| x.reshape([batch, length, self.heads, size]).swap_dims(1, 2);
        let query = split(self.query.forward(hidden.clone()));
        let key = split(self.key.forward(hidden.clone()));
        let value = split(self.value.forward(hidden.clone()));
        let scores = query.matmul(key.swap_dims(2, 3)) / (size as f64).sqrt();
        let mixed = softmax(scores + bias, 3).matmul(value);
        let mixed = mixed.swap_dims(1, 2).reshape([batch, length, width]);
        self.norm.forward(self.output.forward(mixed) + hidden)
    }
}

/// A `[batch, length]` mask as what it adds to the scores.
pub(super) fn padding_bias(mask: Tensor<2>) -> Tensor<4> {
    let [batch, length] = mask.dims();
    ((-mask + 1.0) * PADDING).reshape([batch, 1, 1, length])
}

/// The score of padding: its share rounds to zero, and half precision can still hold it. It is finite, so
/// that a text of nothing but padding gives numbers.
const PADDING: f64 = -1e4;
