//! The sizes of an encoder, as `config.json` gives them.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;

use super::fields::Fields;
use super::{Activation, Family};

/// An encoder's sizes, under the names that BERT's `config.json` has for them.
#[derive(Clone, Debug, PartialEq)]
pub struct TextEncoderConfig {
    /// The family that it is of: `model_type`.
    pub family: Family,
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
    /// Rows of the table of positions. See [`max_tokens`](Self::max_tokens).
    pub max_position_embeddings: usize,
    /// Rows of the table of token types; zero where there is no such table.
    pub type_vocab_size: usize,
    /// What the layer normalizations add to a variance.
    pub layer_norm_eps: f64,
    /// The token that fills a text up.
    pub pad_token_id: usize,
    /// The activation between the dense maps: `hidden_act`.
    pub activation: Activation,
}

/// No published encoder comes near it; a damaged file should not exhaust the memory.
const LARGEST: usize = 1 << 20;
const MOST_LAYERS: usize = 1 << 10;

impl TextEncoderConfig {
    /// all-MiniLM-L6-v2.
    pub fn minilm_l6() -> Self {
        Self {
            family: Family::Bert,
            vocab_size: 30_522,
            hidden_size: 384,
            num_hidden_layers: 6,
            num_attention_heads: 12,
            intermediate_size: 1536,
            max_position_embeddings: 512,
            type_vocab_size: 2,
            layer_norm_eps: 1e-12,
            pad_token_id: 0,
            activation: Activation::Gelu,
        }
    }

    /// Reads `config.json` of `folder`.
    ///
    /// # Errors
    /// When the file is missing, or describes something other than an encoder that can be built here. Names the
    /// field.
    pub fn read(folder: &Path) -> Result<Self> {
        let file = folder.join("config.json");
        Self::from_file(&file).with_context(|| format!("{} cannot be used", file.display()))
    }

    fn from_file(file: &Path) -> Result<Self> {
        let fields = Fields::read(file)?;
        let family = fields.family;
        // Where a file says nothing, transformers takes these.
        let activation = fields.text("hidden_act", "gelu")?;
        let config = Self {
            family,
            vocab_size: fields.size("vocab_size")?,
            hidden_size: fields.size("hidden_size")?,
            num_hidden_layers: fields.size("num_hidden_layers")?,
            num_attention_heads: fields.size("num_attention_heads")?,
            intermediate_size: fields.size("intermediate_size")?,
            max_position_embeddings: fields.size("max_position_embeddings")?,
            type_vocab_size: match family {
                Family::DistilBert => 0,
                _ => fields.size("type_vocab_size")?,
            },
            layer_norm_eps: match family {
                Family::DistilBert => 1e-12,
                _ => fields.number("layer_norm_eps", 1e-12)?,
            },
            pad_token_id: fields.size_or("pad_token_id", family.default_padding())?,
            activation: Activation::named(activation).ok_or_else(|| {
                let field = fields.name("hidden_act");
                anyhow!("{field} is {activation:?}: only {} is supported", Activation::NAMES)
            })?,
        };
        fields.only("position_embedding_type", json!("absolute"))?;
        // A decoder's tokens see only those before them.
        fields.only("is_decoder", json!(false))?;
        fields.only("add_cross_attention", json!(false))?;
        config.validate()?;
        Ok(config)
    }

    /// Checks that the sizes fit together.
    ///
    /// # Errors
    /// Names the first field that is wrong.
    pub fn validate(&self) -> Result<()> {
        let least_types = usize::from(self.family != Family::DistilBert);
        let least_positions = self.unused().saturating_add(1);
        let sizes = [
            ("vocab_size", self.vocab_size, 1, LARGEST),
            ("hidden_size", self.hidden_size, 1, LARGEST),
            ("num_hidden_layers", self.num_hidden_layers, 1, MOST_LAYERS),
            ("num_attention_heads", self.num_attention_heads, 1, LARGEST),
            ("intermediate_size", self.intermediate_size, 1, LARGEST),
            ("pad_token_id", self.pad_token_id, 0, self.vocab_size.saturating_sub(1)),
            ("max_position_embeddings", self.max_position_embeddings, least_positions, LARGEST),
            ("type_vocab_size", self.type_vocab_size, least_types, LARGEST),
        ];
        for (field, size, least, most) in sizes {
            let field = self.family.field(field);
            ensure!((least..=most).contains(&size), "{field} is {size}: give {least} to {most}");
        }
        ensure!(
            self.hidden_size.is_multiple_of(self.num_attention_heads),
            "{} {} cannot be shared by {} {}",
            self.family.field("hidden_size"),
            self.hidden_size,
            self.family.field("num_attention_heads"),
            self.num_attention_heads,
        );
        ensure!(
            (0.0..1.0).contains(&self.layer_norm_eps),
            "layer_norm_eps is {}: give a small number that is not negative",
            self.layer_norm_eps,
        );
        Ok(())
    }

    /// Tokens that a text may have, the marks at its ends included.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings.saturating_sub(self.unused())
    }

    /// Rows of the table of positions that no token has: RoBERTa counts from the id of padding plus one.
    fn unused(&self) -> usize {
        if self.family.counts_tokens() { self.pad_token_id.saturating_add(1) } else { 0 }
    }
}
