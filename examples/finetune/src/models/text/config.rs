//! The sizes of an encoder, as `config.json` gives them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::ADVICE;

/// A BERT encoder's sizes, under the names that `config.json` has for them.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TextEncoderConfig {
    /// Rows of the word table.
    pub vocab_size: usize,
    /// Numbers that stand for one token.
    pub hidden_size: usize,
    /// Layers, each of attention and two dense maps.
    pub num_hidden_layers: usize,
    /// Heads of an attention, which share the hidden size.
    pub num_attention_heads: usize,
    /// Width between the two dense maps of a layer.
    pub intermediate_size: usize,
    /// Tokens that a text may have.
    pub max_position_embeddings: usize,
    /// Rows of the table of token types, of which the first is used.
    pub type_vocab_size: usize,
    /// What the layer normalizations add to a variance.
    #[serde(default = "layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// The token that fills a text up.
    #[serde(default)]
    pub pad_token_id: u32,
    /// The activation between the dense maps; only `gelu` is supported.
    #[serde(default = "hidden_act")]
    pub hidden_act: String,
    /// The family of models; only `bert` is supported.
    #[serde(default = "model_type")]
    pub model_type: String,
    /// How positions enter; only `absolute` is supported.
    #[serde(default = "position_embedding_type")]
    pub position_embedding_type: String,
}

// What transformers takes where an older or shorter file says nothing.

fn layer_norm_eps() -> f64 {
    1e-12
}

fn hidden_act() -> String {
    "gelu".to_owned()
}

fn model_type() -> String {
    "bert".to_owned()
}

fn position_embedding_type() -> String {
    "absolute".to_owned()
}

/// No published encoder comes near it; a damaged file should not exhaust the memory.
const LARGEST: usize = 1 << 20;
const MOST_LAYERS: usize = 1 << 10;

impl TextEncoderConfig {
    /// all-MiniLM-L6-v2.
    pub fn minilm_l6() -> Self {
        Self {
            vocab_size: 30_522,
            hidden_size: 384,
            num_hidden_layers: 6,
            num_attention_heads: 12,
            intermediate_size: 1536,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: layer_norm_eps(),
            pad_token_id: 0,
            hidden_act: hidden_act(),
            model_type: model_type(),
            position_embedding_type: position_embedding_type(),
        }
    }

    /// Reads `config.json` of `folder`.
    ///
    /// # Errors
    /// When the file is missing, or describes something other than a BERT encoder.
    pub fn read(folder: &Path) -> Result<Self> {
        let file = folder.join("config.json");
        let text = fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}; {ADVICE}", file.display()))?;
        let config: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not an encoder's; {ADVICE}", file.display()))?;
        config.validate().with_context(|| format!("{} cannot be used", file.display()))?;
        Ok(config)
    }

    /// Checks that the sizes fit together and that nothing is asked for that is not built here.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size, LARGEST),
            ("hidden_size", self.hidden_size, LARGEST),
            ("num_hidden_layers", self.num_hidden_layers, MOST_LAYERS),
            ("num_attention_heads", self.num_attention_heads, LARGEST),
            ("intermediate_size", self.intermediate_size, LARGEST),
            ("max_position_embeddings", self.max_position_embeddings, LARGEST),
            ("type_vocab_size", self.type_vocab_size, LARGEST),
        ];
        for (name, size, most) in sizes {
            ensure!((1..=most).contains(&size), "{name} is {size}: give 1 to {most}");
        }
        ensure!(
            self.hidden_size.is_multiple_of(self.num_attention_heads),
            "hidden_size {} cannot be shared by num_attention_heads {}",
            self.hidden_size,
            self.num_attention_heads,
        );
        ensure!(
            (0.0..1.0).contains(&self.layer_norm_eps),
            "layer_norm_eps is {}: give a small number that is not negative",
            self.layer_norm_eps,
        );
        ensure!(
            (self.pad_token_id as usize) < self.vocab_size,
            "pad_token_id {} is no row of a table of {}",
            self.pad_token_id,
            self.vocab_size,
        );
        let kinds = [
            ("model_type", &self.model_type, "bert"),
            ("hidden_act", &self.hidden_act, "gelu"),
            ("position_embedding_type", &self.position_embedding_type, "absolute"),
        ];
        for (name, given, supported) in kinds {
            ensure!(given == supported, "{name} is {given:?}: only {supported:?} is supported");
        }
        Ok(())
    }
}
