//! The names of tensors in a checkpoint, and what they belong to.

use super::config::Gpt2Config;
use crate::models::checkpoint::{Entry, Size};

/// Every parameter of a model.
pub(super) fn entries(config: &Gpt2Config) -> Vec<Entry> {
    let (width, inner) = (Size(config.n_embd, "n_embd"), Size(config.inner(), "n_inner"));
    let thrice = Size(3 * config.n_embd, "3 n_embd");
    let mut entries = Entries(Vec::new());
    entries.add("wte.weight", "wte.weight", &[Size(config.vocab_size, "vocab_size"), width]);
    entries.add("wpe.weight", "wpe.weight", &[Size(config.n_positions, "n_positions"), width]);
    for i in 0..config.n_layer {
        entries.norm(&format!("h.{i}.ln_1"), width);
        entries.linear(&format!("h.{i}.attn.c_attn"), [width, thrice]);
        entries.linear(&format!("h.{i}.attn.c_proj"), [width, width]);
        entries.norm(&format!("h.{i}.ln_2"), width);
        entries.linear(&format!("h.{i}.mlp.c_fc"), [width, inner]);
        entries.linear(&format!("h.{i}.mlp.c_proj"), [inner, width]);
    }
    entries.norm("ln_f", width);
    entries.0
}

/// What checkpoints hold beside the parameters: the output layer, a second copy of the word table, and the causal mask of
/// each block.
pub(super) fn is_leftover(name: &str) -> bool {
    let block = || name.strip_prefix("h.").and_then(|rest| rest.split_once('.'));
    name == OUTPUT
        || block().is_some_and(|(number, rest)| {
            number.parse::<usize>().is_ok() && ["attn.bias", "attn.masked_bias"].contains(&rest)
        })
}

/// The output layer, which has to be the word table where it is kept.
pub(super) const OUTPUT: &str = "lm_head.weight";

/// What stands before every name where the output layer is part of the model.
pub(super) const PREFIX: &str = "transformer.";

/// A name as a model without the output layer has it.
pub(super) fn without_prefix(name: &str) -> &str {
    name.strip_prefix(PREFIX).unwrap_or(name)
}

struct Entries(Vec<Entry>);

impl Entries {
    fn linear(&mut self, name: &str, [from, to]: [Size; 2]) {
        self.add(&format!("{name}.weight"), &format!("{name}.weight"), &[from, to]);
        self.add(&format!("{name}.bias"), &format!("{name}.bias"), &[to]);
    }

    fn norm(&mut self, name: &str, width: Size) {
        self.add(&format!("{name}.weight"), &format!("{name}.gamma"), &[width]);
        self.add(&format!("{name}.bias"), &format!("{name}.beta"), &[width]);
    }

    fn add(&mut self, stored: &str, path: &str, shape: &[Size]) {
        let (stored, path) = (stored.to_owned(), path.to_owned());
        self.0.push(Entry { stored, path, shape: shape.to_vec() });
    }
}
