//! An encoder with random weights.

use anyhow::Result;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::Device;

use super::attention::Attention;
use super::config::TextEncoderConfig;
use super::encoder::{Embeddings, TextEncoder};
use super::layer::{FeedForward, Layer};

impl TextEncoderConfig {
    /// An encoder of these sizes with burn's random weights.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<TextEncoder> {
        self.validate()?;
        let embeddings = Embeddings {
            word: self.table(self.vocab_size, device),
            position: self.table(self.max_position_embeddings, device),
            token_type: self.table(self.type_vocab_size, device),
            norm: self.norm(device),
        };
        let layers = (0..self.num_hidden_layers).map(|_| self.layer(device)).collect();
        Ok(TextEncoder { embeddings, layers })
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
