//! ResNet (arXiv 1512.03385), with BatchNorm folded into its convolutions or with GroupNorm.

mod block;
mod config;
mod load;
mod names;

use burn::nn::Linear;
use burn::nn::pool::MaxPool2d;
use burn::prelude::*;
use burn::tensor::activation::relu;

use super::pooling::global_mean;
use block::{Block, ConvNorm};

/// A convolution, residual blocks and a linear head.
///
/// BatchNorm would mix the examples of a batch. Its statistics are fixed, and it is folded into the convolution
/// before it, so that each has a bias. GroupNorm (arXiv 1803.08494) treats each example by itself and stays.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNorm,
    pool: MaxPool2d,
    blocks: Vec<Block>,
    head: Linear,
}

/// The weights that get adapters: all convolutions.
pub(super) const ADAPTED: &str = r"(stem|blocks\.\d+\.(layers\.\d+|shortcut))\.conv\.weight$";

impl ResNet {
    /// Logits of images that went through [`Preprocess`](super::Preprocess).
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`
    /// - output: `[batch, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.classify(self.features(images))
    }

    /// Logits of [`features`](Self::features), `[batch, classes]`.
    pub fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.forward(features)
    }

    /// What the head sees.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`
    /// - output: `[batch, channels of the last stage]`
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = self.pool.forward(relu(self.stem.forward(images)));
        for block in &self.blocks {
            x = block.forward(x);
        }
        global_mean(x)
    }

    /// Where the last block is in the module.
    pub(super) fn late(&self) -> String {
        format!("blocks.{}", self.blocks.len().saturating_sub(1))
    }
}
