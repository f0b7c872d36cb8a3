//! A model with random weights.

use anyhow::Result;
use burn::nn::{
    Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig,
};
use burn::tensor::Device;

use super::attention::Attention;
use super::block::{Block, Mlp};
use super::config::Gpt2Config;
use super::model::Gpt2;

/// GPT-2's own start.
const SPREAD: Initializer = Initializer::Normal { mean: 0.0, std: 0.02 };

impl Gpt2Config {
    /// A model of these sizes with random weights.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn init(&self, device: &Device) -> Result<Gpt2> {
        self.validate()?;
        Ok(Gpt2 {
            wte: self.table(self.vocab_size, device),
            wpe: self.table(self.n_positions, device),
            h: (0..self.n_layer).map(|_| self.block(device)).collect(),
            ln_f: self.norm(device),
        })
    }

    fn block(&self, device: &Device) -> Block {
        let (width, inner) = (self.n_embd, self.inner());
        let linear = |from, to| -> Linear {
            LinearConfig::new(from, to).with_initializer(SPREAD).init(device)
        };
        Block {
            ln_1: self.norm(device),
            attn: Attention {
                c_attn: linear(width, 3 * width),
                c_proj: linear(width, width),
                heads: self.n_head,
            },
            ln_2: self.norm(device),
            mlp: Mlp {
                c_fc: linear(width, inner),
                c_proj: linear(inner, width),
                activation: self.activation_function,
            },
        }
    }

    fn table(&self, rows: usize, device: &Device) -> Embedding {
        EmbeddingConfig::new(rows, self.n_embd).with_initializer(SPREAD).init(device)
    }

    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.n_embd).with_epsilon(self.layer_norm_epsilon).init(device)
    }
}
