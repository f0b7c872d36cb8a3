//! The weights: which tensor of a folder belongs where.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;

use super::config::Gpt2Config;
use super::model::Gpt2;
use super::names::{OUTPUT, entries, is_leftover, without_prefix};
use crate::models::checkpoint::{Checkpoint, Dense};

impl Gpt2 {
    /// The model whose `config.json` and `model.safetensors` (or shards of it) are in `folder`. Its parameters train on
    /// an autodiff device.
    ///
    /// # Errors
    /// When a file is missing, damaged, or not that of a GPT-2: says which, and what is wrong with it.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config = Gpt2Config::read(folder)?;
        let checkpoint =
            Checkpoint::open(folder)?.rename(|name| without_prefix(name).to_owned())?;
        // An output layer that is kept must be the word table: it is not read, so another one would be lost in silence.
        ensure!(
            checkpoint.same(OUTPUT, "wte.weight")? != Some(false),
            "{}: `{OUTPUT}` differs from `wte.weight`: only tied weights are supported",
            checkpoint.shown(),
        );
        checkpoint
            .load(config.init(device)?, &entries(&config), Dense::InOut, is_leftover)
            .context("cannot load the GPT-2")
    }
}
