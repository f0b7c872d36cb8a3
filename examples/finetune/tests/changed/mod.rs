//! Folders of encoders with something changed.
#![allow(dead_code)] // Each test crate uses a part.

use std::path::Path;
use std::{env, fs};

use anyhow::{Context, Result};
use burn::tensor::Device;
use finetune::models::text::{Pooling, TextEncoder, Tokenizer};
use safetensors::tensor::{SafeTensors, serialize};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{assert_has, fixture, refused};

/// A copy of a folder with something changed.
pub fn changed(name: &str, change: impl FnOnce(&Path) -> Result<()>) -> Result<TempDir> {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    for entry in fs::read_dir(fixture(name))? {
        let entry = entry?;
        fs::copy(entry.path(), folder.path().join(entry.file_name()))?;
    }
    change(folder.path())?;
    Ok(folder)
}

/// Changes a file of JSON.
pub fn edit(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
    let path = folder.join(file);
    let mut value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    change(&mut value);
    Ok(fs::write(path, value.to_string())?)
}

/// Gives every tensor of a file the name that `rename` says, or leaves it out.
pub fn tensors(folder: &Path, file: &str, rename: impl Fn(&str) -> Option<String>) -> Result<()> {
    let bytes = fs::read(folder.join(file))?;
    let tensors = SafeTensors::deserialize(&bytes)?.tensors();
    let tensors = tensors.into_iter().filter_map(|(name, view)| Some((rename(&name)?, view)));
    Ok(fs::write(folder.join(file), serialize(tensors, None)?)?)
}

pub const WEIGHTS: &str = "model.safetensors";
pub const INDEX: &str = "model.safetensors.index.json";

pub fn load(folder: &Path) -> Result<TextEncoder> {
    TextEncoder::load(folder, &Device::default())
}

pub fn load_refused(folder: &TempDir, words: &[&str]) {
    assert_has(&refused(load(folder.path())), words);
}

/// The vector of a text.
pub fn pooled(folder: &Path, pooling: Pooling) -> Result<Vec<f32>> {
    let encoder = TextEncoder::load_with(folder, pooling, &Device::default())?;
    let inputs = Tokenizer::load(folder)?.encode(&["A mild fever."], 12)?.all(&Device::default());
    encoder.pooled(inputs).into_data().try_to_vec().ok().context("no floats")
}
