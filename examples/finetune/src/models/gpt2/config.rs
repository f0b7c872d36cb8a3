//! The sizes of a model, as `config.json` gives them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::ADVICE;
use super::block::Activation;

/// A GPT-2's sizes, under the names that `config.json` has for them. What a file leaves out is as transformers has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Gpt2Config {
    /// The family of models; only `gpt2` is supported.
    pub model_type: String,
    /// Rows of the word table.
    pub vocab_size: usize,
    /// Tokens that the model can read at a time.
    pub n_positions: usize,
    /// Numbers that stand for one token.
    pub n_embd: usize,
    /// Blocks.
    pub n_layer: usize,
    /// Heads of an attention, which share the width.
    pub n_head: usize,
    /// Width between the two dense maps of a block; four times the width where it is not given.
    pub n_inner: Option<usize>,
    /// `gelu_new` or `gelu`.
    pub activation_function: Activation,
    /// What the layer normalizations add to a variance.
    pub layer_norm_epsilon: f64,
    /// The token that begins a text, if there is one.
    pub bos_token_id: Option<u32>,
    /// The token that ends a text, if there is one.
    pub eos_token_id: Option<u32>,
    /// Only `true` is supported.
    pub scale_attn_weights: bool,
    /// Only `false` is supported.
    pub scale_attn_by_inverse_layer_idx: bool,
    /// Only `false` is supported.
    pub reorder_and_upcast_attn: bool,
    /// Only `false` is supported.
    pub add_cross_attention: bool,
    /// Only `true` is supported.
    pub tie_word_embeddings: bool,
}

impl Default for Gpt2Config {
    fn default() -> Self {
        Self {
            // A file must say what it describes.
            model_type: String::new(),
            vocab_size: 50_257,
            n_positions: 1024,
            n_embd: 768,
            n_layer: 12,
            n_head: 12,
            n_inner: None,
            activation_function: Activation::GeluNew,
            layer_norm_epsilon: 1e-5,
            bos_token_id: Some(50_256),
            eos_token_id: Some(50_256),
            scale_attn_weights: true,
            scale_attn_by_inverse_layer_idx: false,
            reorder_and_upcast_attn: false,
            add_cross_attention: false,
            tie_word_embeddings: true,
        }
    }
}

/// No published model comes near it; a damaged file should not exhaust the memory.
const LARGEST: usize = 1 << 20;
const MOST_LAYERS: usize = 1 << 10;

impl Gpt2Config {
    /// The smallest of the published models, with 124 million parameters.
    pub fn small() -> Self {
        Self { model_type: "gpt2".to_owned(), ..Self::default() }
    }

    /// Reads `config.json` of `folder`.
    ///
    /// # Errors
    /// When the file is missing, or describes something other than a GPT-2 that is built here.
    pub fn read(folder: &Path) -> Result<Self> {
        let file = folder.join("config.json");
        let text = fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}; {ADVICE}", file.display()))?;
        // The family first: the fields of another one mean nothing here.
        let family: Family = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a model's; {ADVICE}", file.display()))?;
        ensure!(
            family.model_type == "gpt2",
            "{}: model_type is {:?}: only \"gpt2\" is supported; {ADVICE}",
            file.display(),
            family.model_type,
        );
        if let Some(activation) = family.activation_function {
            ensure!(
                ["gelu_new", "gelu"].contains(&activation.as_str()),
                "{}: activation_function is {activation:?}: only \"gelu_new\" and \"gelu\" are supported",
                file.display(),
            );
        }
        let config: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a GPT-2's; {ADVICE}", file.display()))?;
        config.validate().with_context(|| format!("{} cannot be used", file.display()))?;
        Ok(config)
    }

    /// Width between the two dense maps of a block.
    pub fn inner(&self) -> usize {
        self.n_inner.unwrap_or(4 * self.n_embd)
    }

    /// Checks that the sizes fit together and that nothing is asked for that is not built here.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("vocab_size", self.vocab_size, LARGEST),
            ("n_positions", self.n_positions, LARGEST),
            ("n_embd", self.n_embd, LARGEST),
            ("n_layer", self.n_layer, MOST_LAYERS),
            ("n_head", self.n_head, LARGEST),
            ("n_inner", self.inner(), 4 * LARGEST),
        ];
        for (name, size, most) in sizes {
            ensure!((1..=most).contains(&size), "{name} is {size}: give 1 to {most}");
        }
        ensure!(
            self.n_embd.is_multiple_of(self.n_head),
            "n_embd {} cannot be shared by n_head {}",
            self.n_embd,
            self.n_head,
        );
        ensure!(
            (0.0..1.0).contains(&self.layer_norm_epsilon),
            "layer_norm_epsilon is {}: give a small number that is not negative",
            self.layer_norm_epsilon,
        );
        for (name, id) in [("bos_token_id", self.bos_token_id), ("eos_token_id", self.eos_token_id)]
        {
            ensure!(
                id.is_none_or(|id| (id as usize) < self.vocab_size),
                "{name} {} is no row of a table of {}: give a token's id, or null for none",
                id.unwrap_or(0),
                self.vocab_size,
            );
        }
        let switches = [
            ("scale_attn_weights", self.scale_attn_weights, true),
            ("scale_attn_by_inverse_layer_idx", self.scale_attn_by_inverse_layer_idx, false),
            ("reorder_and_upcast_attn", self.reorder_and_upcast_attn, false),
            ("add_cross_attention", self.add_cross_attention, false),
            ("tie_word_embeddings", self.tie_word_embeddings, true),
        ];
        for (name, given, supported) in switches {
            ensure!(given == supported, "{name} is {given}: only {supported} is supported");
        }
        Ok(())
    }
}

/// What is told by name before the sizes are read.
#[derive(Deserialize)]
struct Family {
    #[serde(default)]
    model_type: String,
    activation_function: Option<String>,
}
