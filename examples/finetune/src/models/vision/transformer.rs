//! Vision transformers: ViT (arXiv 2010.11929), DeiT (2012.12877) and BEiT (2106.08254).

mod attention;
mod block;
mod config;
mod embeddings;
mod load;
mod names;
mod positions;

use burn::nn::{LayerNorm, Linear};
use burn::prelude::*;

use block::Block;
pub(super) use config::image_size;
use embeddings::Embeddings;
use positions::RelativePositions;

/// Patches of an image as tokens of a transformer that normalizes before each layer.
///
/// The three networks differ in tokens, positions and pooling. Dropout and stochastic depth are left out.
#[derive(Module, Debug)]
pub struct VisionTransformer {
    embeddings: Embeddings,
    /// Of BEiT: added to the scores of every block.
    positions: Option<RelativePositions>,
    blocks: Vec<Block>,
    norm: LayerNorm,
    head: Linear,
    /// The features are the mean of the patches (BEiT), not the class token.
    mean_of_patches: bool,
    /// Rows and columns of patches.
    grid: [usize; 2],
}

/// The weights that get adapters: all linear layers but the head.
pub(super) const ADAPTED: &str =
    r"blocks\.\d+\.(attention\.(query|key|value|output)|mlp\.(up|down))\.weight$";

impl VisionTransformer {
    /// Logits of images that went through [`Preprocess`](super::Preprocess).
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`
    /// - output: `[batch, classes]`
    ///
    /// # Panics
    /// When images have another size than `image_size` of `config.json`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.classify(self.features(images))
    }

    /// Logits of [`features`](Self::features), `[batch, classes]`.
    pub fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.forward(features)
    }

    /// What the head sees: the class token or the mean of the patches, normalized.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`
    /// - output: `[batch, hidden_size]`
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let shared = self.positions.as_ref().map(RelativePositions::forward);
        let mut tokens = self.embeddings.forward(images);
        for block in &self.blocks {
            tokens = block.forward(tokens, shared.clone());
        }
        // LayerNorm treats each token by itself, so the others need none.
        self.norm.forward(self.pool(tokens))
    }

    fn pool(&self, tokens: Tensor<3>) -> Tensor<2> {
        let patches: usize = self.grid.iter().product();
        let [_, count, _] = tokens.dims();
        let pooled = if self.mean_of_patches {
            tokens.narrow(1, count - patches, patches).mean_dim(1)
        } else {
            tokens.narrow(1, 0, 1)
        };
        pooled.squeeze_dim(1)
    }

    /// Where the last block is in the module.
    pub(super) fn late(&self) -> String {
        format!("blocks.{}", self.blocks.len().saturating_sub(1))
    }
}
