//! A sentence classifier on top of the encoder.

use std::path::Path;

use anyhow::{Result, ensure};
use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};

use super::TextEncoder;

/// The encoder, the mean of its vectors over a text, and one dense map to class scores.
#[derive(Module, Debug)]
pub struct TextClassifier {
    pub encoder: TextEncoder,
    pub head: Linear,
}

impl TextClassifier {
    /// The encoder in `folder` with a new head, as [`new`](Self::new) makes it.
    ///
    /// # Errors
    /// As [`TextEncoder::load`], and when there are no classes.
    pub fn load(folder: &Path, classes: usize, device: &Device) -> Result<Self> {
        Self::new(TextEncoder::load(folder, device)?, classes, device)
    }

    /// `encoder` with a new head of zeros: every class starts even, without a seed to choose. A head
    /// that trains alone is a convex problem, so that any start will do. If the encoder trains too, the first step
    /// moves only the head, and the second moves everything.
    ///
    /// # Errors
    /// When there are no classes.
    pub fn new(encoder: TextEncoder, classes: usize, device: &Device) -> Result<Self> {
        ensure!(classes > 0, "a classifier needs at least one class");
        let head = LinearConfig::new(encoder.width(), classes).with_initializer(Initializer::Zeros);
        Ok(Self { encoder, head: head.init(device) })
    }

    /// `[batch, length]` token ids and their mask, as for [`TextEncoder::forward`], to `[batch, classes]`.
    ///
    /// # Panics
    /// As [`TextEncoder::forward`].
    pub fn forward(&self, tokens: Tensor<2, Int>, mask: Tensor<2>) -> Tensor<2> {
        self.classify(self.features(tokens, mask))
    }

    /// [`features`](Self::features) to `[batch, classes]`.
    pub fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.forward(features)
    }

    /// What the head sees, `[batch, width]`. It can be computed once if only the head trains.
    ///
    /// # Panics
    /// As [`TextEncoder::forward`].
    pub fn features(&self, tokens: Tensor<2, Int>, mask: Tensor<2>) -> Tensor<2> {
        mean(self.encoder.forward(tokens, mask.clone()), mask)
    }
}

/// The mean over the tokens of each text, as sentence-transformers pools this encoder.
fn mean(hidden: Tensor<3>, mask: Tensor<2>) -> Tensor<2> {
    let sum = (hidden * mask.clone().unsqueeze_dim::<3>(2)).sum_dim(1).squeeze_dim::<2>(1);
    // A text of nothing but padding has the mean zero.
    let tokens = mask.sum_dim(1).clamp_min(1e-9);
    sum / tokens
}
