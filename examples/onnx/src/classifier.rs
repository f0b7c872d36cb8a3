//! A classifier around the generated encoder.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::DType;

use crate::encoder;

/// Token numbers and mask, both `[batch, length]`.
pub type Tokens = (Tensor<2, Int>, Tensor<2, Int>);

/// The generated module (`build.rs` changes one expression in it), and a new head.
#[derive(Module, Debug)]
pub struct Classifier {
    pub encoder: encoder::Model,
    pub head: Linear,
}

impl Classifier {
    /// The encoder with the ONNX file's weights.
    pub fn new(classes: usize, device: &Device) -> Self {
        let encoder = encoder::Model::from_embedded(device);
        // ONNX says nothing about the width that is easy to read, so ask the model.
        let tokens = Tensor::<2, Int>::ones([1, crate::LENGTH], (device, DType::I64));
        let [_, width] = encoder.forward(tokens.clone(), tokens).pooled().dims();
        Self { encoder, head: LinearConfig::new(width, classes).init(device) }
    }

    /// `[batch, width]`.
    pub fn pooled(&self, (tokens, mask): Tokens) -> Tensor<2> {
        self.encoder.forward(tokens, mask).pooled()
    }

    /// `[batch, classes]`.
    pub fn forward(&self, tokens: Tokens) -> Tensor<2> {
        self.head.forward(self.pooled(tokens))
    }

    /// The mean over a batch, as without privacy.
    pub fn loss(&self, (tokens, labels): (Tokens, Tensor<1, Int>)) -> Tensor<1> {
        let logits = self.forward(tokens);
        CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels)
    }
}

/// What `forward` of a converted encoder returns. For a file with other outputs, add one `impl`.
trait Pooled {
    /// `[batch, width]`.
    fn pooled(self) -> Tensor<2>;
}

impl Pooled for Tensor<2> {
    fn pooled(self) -> Tensor<2> {
        self
    }
}

/// Exports of sentence-transformers: tokens, mask, the last layer and its mean.
impl Pooled for (Tensor<2, Int>, Tensor<2, Int>, Tensor<3>, Tensor<2>) {
    fn pooled(self) -> Tensor<2> {
        self.3
    }
}
