//! From pixels to tokens.

use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::prelude::*;

/// A token for each patch, behind the tokens that stand for the whole image.
#[derive(Module, Debug)]
pub(super) struct Embeddings {
    /// As wide and high as a patch, and so is its stride.
    pub(super) patches: Conv2d,
    /// `[1, 1, width]`
    pub(super) class_token: Param<Tensor<3>>,
    /// Of DeiT.
    pub(super) distillation_token: Option<Param<Tensor<3>>>,
    /// `[1, tokens, width]`
    pub(super) positions: Option<Param<Tensor<3>>>,
}

impl Embeddings {
    /// `[batch, 3, height, width]` to `[batch, tokens, width]`.
    pub(super) fn forward(&self, images: Tensor<4>) -> Tensor<3> {
        let patches = self.patches.forward(images).flatten::<3>(2, 3).swap_dims(1, 2);
        let [batch, _, width] = patches.dims();
        let of_all = |token: &Param<Tensor<3>>| token.val().expand([batch, 1, width]);
        let mut tokens = vec![of_all(&self.class_token)];
        tokens.extend(self.distillation_token.as_ref().map(of_all));
        tokens.push(patches);
        let tokens = Tensor::cat(tokens, 1);
        match &self.positions {
            Some(positions) => tokens + positions.val(),
            None => tokens,
        }
    }
}
