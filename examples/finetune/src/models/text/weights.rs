//! The saved weights: which tensor belongs where.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;

use super::family::HEADS;
use super::{Family, Pooling, TextEncoder, TextEncoderConfig};
use crate::models::checkpoint::{Checkpoint, Dense, Entry, Size};

impl TextEncoder {
    /// The encoder in `folder`, which pools as sentence-transformers says there, and by the mean where it says
    /// nothing. Its parameters train on an autodiff device.
    ///
    /// # Errors
    /// When a file is missing, damaged, or not that of an encoder of the BERT family: says which, and what is wrong
    /// with it.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let pooling = Pooling::of(folder)?.unwrap_or_default();
        Self::load_with(folder, pooling, device)
    }

    /// As [`load`](Self::load), pooled as you say.
    ///
    /// # Errors
    /// As [`load`](Self::load), and when the folder has no pooler and you ask for it.
    pub fn load_with(folder: &Path, pooling: Pooling, device: &Device) -> Result<Self> {
        let config = TextEncoderConfig::read(folder)?;
        let family = config.family;
        // Older files, bert-base-uncased's among them, name these as TensorFlow does.
        let checkpoint = Checkpoint::open(folder)?.rename(|name| {
            let name = name.replace("LayerNorm.gamma", "LayerNorm.weight");
            name.replace("LayerNorm.beta", "LayerNorm.bias")
        })?;
        let of_task = checkpoint.names().any(|name| name.starts_with(family.prefix()));
        let prefix = if of_task { family.prefix() } else { "" };
        let entries = Entries::of(&config, prefix, pooling);
        if pooling == Pooling::Pooler {
            let pooler = format!("{prefix}{POOLER}.weight");
            ensure!(
                family != Family::DistilBert && checkpoint.names().any(|name| name == pooler),
                "{} has no pooler, its weights have no `{pooler}`: choose the pooling mean or cls",
                folder.display(),
            );
        }
        let unused = |name: &str| {
            let own = name.strip_prefix(prefix).unwrap_or(name);
            BUFFERS.contains(&own)
                || own.strip_prefix(POOLER).is_some_and(|rest| rest.starts_with('.'))
                || HEADS.iter().any(|head| name.starts_with(head))
        };
        checkpoint
            .load(config.build(pooling, device), &entries, Dense::OutIn, unused)
            .with_context(|| format!("cannot load the {} encoder", family.name()))
    }
}

const POOLER: &str = "pooler.dense";

/// Older files keep the numbers 0, 1, 2, ... and zeros, which are no weights.
const BUFFERS: [&str; 2] = ["embeddings.position_ids", "embeddings.token_type_ids"];

/// The entries so far, and what the tensors of the file begin with.
struct Entries<'a> {
    prefix: &'a str,
    list: Vec<Entry>,
}

impl<'a> Entries<'a> {
    fn of(config: &TextEncoderConfig, prefix: &'a str, pooling: Pooling) -> Vec<Entry> {
        let field = |name| config.family.field(name);
        let width = Size(config.hidden_size, field("hidden_size"));
        let mut entries = Self { prefix, list: Vec::new() };
        let tables = [
            ("word", config.vocab_size, "vocab_size"),
            ("position", config.max_position_embeddings, "max_position_embeddings"),
            ("token_type", config.type_vocab_size, "type_vocab_size"),
        ];
        for (table, rows, field) in tables {
            if rows > 0 {
                let stored = format!("embeddings.{table}_embeddings.weight");
                let path = format!("embeddings.{table}.weight");
                entries.add(stored, path, &[Size(rows, field), width]);
            }
        }
        entries.norm("embeddings.LayerNorm", "embeddings.norm", width);
        for layer in 0..config.num_hidden_layers {
            entries.layer(config, layer, width);
        }
        if pooling == Pooling::Pooler {
            entries.linear(POOLER, "pooler", [width, width]);
        }
        entries.list
    }

    fn layer(&mut self, config: &TextEncoderConfig, layer: usize, width: Size) {
        let names = config.family.layer();
        let inner = Size(config.intermediate_size, config.family.field("intermediate_size"));
        let linears = [
            (names.query, "attention.query", [width, width]),
            (names.key, "attention.key", [width, width]),
            (names.value, "attention.value", [width, width]),
            (names.output, "attention.output", [width, width]),
            (names.up, "feed_forward.up", [inner, width]),
            (names.down, "feed_forward.down", [width, inner]),
        ];
        let norms = [(names.attention_norm, "attention.norm"), (names.norm, "feed_forward.norm")];
        let stored = |name: &str| format!("{}.{layer}.{name}", names.layers);
        let path = |name: &str| format!("layers.{layer}.{name}");
        for (name, part, shape) in linears {
            self.linear(&stored(name), &path(part), shape);
        }
        for (name, part) in norms {
            self.norm(&stored(name), &path(part), width);
        }
    }

    fn linear(&mut self, stored: &str, path: &str, [out, from]: [Size; 2]) {
        self.add(format!("{stored}.weight"), format!("{path}.weight"), &[out, from]);
        self.add(format!("{stored}.bias"), format!("{path}.bias"), &[out]);
    }

    fn norm(&mut self, stored: &str, path: &str, width: Size) {
        self.add(format!("{stored}.weight"), format!("{path}.gamma"), &[width]);
        self.add(format!("{stored}.bias"), format!("{path}.beta"), &[width]);
    }

    fn add(&mut self, stored: String, path: String, shape: &[Size]) {
        let stored = format!("{}{stored}", self.prefix);
        self.list.push(Entry { stored, path, shape: shape.to_vec() });
    }
}
