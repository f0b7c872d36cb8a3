//! A classifier of texts on top of the encoder.

use std::path::Path;

use anyhow::{Result, ensure};
use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::{TextEncoder, TextInputs};

/// The encoder, one vector for each text as it pools them, and one dense map to class scores.
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

    /// Scores, `[batch, classes]`.
    ///
    /// # Panics
    /// As [`TextEncoder::forward`].
    pub fn forward(&self, inputs: TextInputs) -> Tensor<2> {
        self.classify(self.features(inputs))
    }

    /// [`features`](Self::features) to `[batch, classes]`.
    pub fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.forward(features)
    }

    /// What the head sees, `[batch, width]`. It can be computed once if only the head trains.
    ///
    /// # Panics
    /// As [`TextEncoder::forward`].
    pub fn features(&self, inputs: TextInputs) -> Tensor<2> {
        self.encoder.pooled(inputs)
    }
}
