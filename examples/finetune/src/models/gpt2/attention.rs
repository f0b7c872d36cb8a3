//! Attention of every token to itself and to the tokens before it.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::activation::softmax;
use burn::tensor::{Bool, Device, Tensor};

/// Multi-head self-attention.
#[derive(Module, Debug)]
pub struct Attention {
    /// Query, key and value side by side: `[width, 3 * width]`.
    pub c_attn: Linear,
    pub c_proj: Linear,
    pub heads: usize,
}

impl Attention {
    /// `future` is what [`future`] gives for the length of `hidden`.
    pub(super) fn forward(&self, hidden: Tensor<3>, future: Tensor<4>) -> Tensor<3> {
        let [batch, length, width] = hidden.dims();
        let size = width / self.heads;
        let fused = self.c_attn.forward(hidden);
        let part = |i: usize| {
            let part = fused.clone().slice_dim(2, i * width..(i + 1) * width);
            part.reshape([batch, length, self.heads, size]).swap_dims(1, 2)
        };
        let (query, key, value) = (part(0), part(1), part(2));
        let scores = query.matmul(key.swap_dims(2, 3)) / (size as f64).sqrt();
        let mixed = softmax(scores + future, 3).matmul(value);
        self.c_proj.forward(mixed.swap_dims(1, 2).reshape([batch, length, width]))
    }
}

/// What is added to the scores, `[1, 1, length, length]`: zero for a token itself and those before it, and minus
/// infinity for those after it. No row is without a zero, so every softmax is finite.
pub(super) fn future(length: usize, device: &Device) -> Tensor<4> {
    // The part of the matrix that the mask of a lower triangle marks is the one above it.
    let later = Tensor::<4, Bool>::tril_mask([1, 1, length, length], 0, device);
    Tensor::zeros([1, 1, length, length], device).mask_fill(later, f32::NEG_INFINITY)
}
