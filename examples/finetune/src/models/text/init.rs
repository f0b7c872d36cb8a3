//! An encoder with random weights.

use anyhow::Result;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::Device;

use super::attention::Attention;
use super::layer::{FeedForward, Layer};
use super::{Embeddings, Pooling, Positions, TextEncoder, TextEncoderConfig};

impl TextEncoderConfig {
    /// An encoder of these sizes with burn's random weights, which pools by the mean.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<TextEncoder> {
        self.validate()?;
        Ok(self.build(Pooling::Mean, device))
    }

    /// burn draws the weights when they are first used, so that an encoder that is loaded next costs nothing here.
    pub(super) fn build(&self, pooling: Pooling, device: &Device) -> TextEncoder {
        let types = (self.type_vocab_size > 0).then(|| self.table(self.type_vocab_size, device));
        let width = self.hidden_size;
        let embeddings = Embeddings {
            word: self.table(self.vocab_size, device),
            position: self.table(self.max_position_embeddings, device),
            token_type: types,
            norm: self.norm(device),
            positions: match self.family.counts_tokens() {
                true => Positions::AfterPadding(self.pad_token_id),
                false => Positions::FromZero,
            },
        };
        let pooler = LinearConfig::new(width, width);
        TextEncoder {
            embeddings,
            layers: (0..self.num_hidden_layers).map(|_| self.layer(device)).collect(),
            pooler: (pooling == Pooling::Pooler).then(|| pooler.init(device)),
            pooling,
        }
    }

    fn layer(&self, device: &Device) -> Layer {
        let (width, inner) = (self.hidden_size, self.intermediate_size);
        let linear = |from, to| -> Linear { LinearConfig::new(from, to).init(device) };
        Layer {
            attention: Attention {
                query: linear(width, width),
                key: linear(width, width),
                value: linear(width, width),
                output: linear(width, width),
                norm: self.norm(device),
                heads: self.num_attention_heads,
            },
            feed_forward: FeedForward {
                up: linear(width, inner),
                down: linear(inner, width),
                norm: self.norm(device),
                activation: self.activation,
            },
        }
    }

    fn table(&self, rows: usize, device: &Device) -> Embedding {
        EmbeddingConfig::new(rows, self.hidden_size).init(device)
    }

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.hidden_size).with_epsilon(self.layer_norm_eps).init(device)
    }
}
