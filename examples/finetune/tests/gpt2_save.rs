//! A GPT-2 in Hugging Face's files again.

mod common;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use burn::tensor::{Device, Int, Tensor};
use burn_dp::selection::LowRank;
use common::{assert_has, fixture, refused};
use finetune::models::gpt2::{Gpt2, Gpt2Config, Tokenizer};
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn saved_model_is_the_same_and_has_all_files() -> Result<()> {
    let (device, folder) =
        (Device::default().autodiff(), TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?);
    let target = folder.path().join("deep/saved");
    let mut model = Gpt2::load(&tiny(), &device)?;
    model.save(&tiny(), &target)?;
    ensure!(answer(&target)? == answer(&tiny())?);
    let [saved, original] =
        [&target, &tiny()].map(|folder| fs::read(folder.join("model.safetensors")));
    let (saved, original) = (saved?, original?);
    let (saved, original) =
        (SafeTensors::deserialize(&saved)?, SafeTensors::deserialize(&original)?);
    assert_eq!(saved.len(), original.len());
    for (name, tensor) in original.tensors() {
        assert_eq!(saved.tensor(&name)?, tensor, "{name}");
    }
    assert_eq!(Gpt2Config::read(&target)?, Gpt2Config::read(&tiny())?);
    assert_eq!(Tokenizer::load(&target)?.prompt("a")?, [0, 65]);
    // Half precision in, single precision out, and the configuration says so.
    let half = fixture("gpt2_tiny_guide");
    Gpt2::load(&half, &device)?.save(&half, &target)?;
    let config: Value = serde_json::from_str(&fs::read_to_string(target.join("config.json"))?)?;
    assert_eq!(config["dtype"], json!("float32"));
    ensure!(answer(&target)? == answer(&half)?);
    // What does not fit is refused by name.
    assert_has(&refused(model.save(&half, &target)), &["does not fit"]);
    assert_has(&refused(model.save(&tiny(), &tiny())), &["another folder"]);
    let adapted = LowRank::new(2, 1.0)?.apply(model.clone())?;
    assert_has(&refused(adapted.save(&tiny(), &target)), &["merge its adapters"]);
    model.h.pop();
    assert_has(&refused(model.save(&tiny(), &target)), &["16 parameters instead of 28"]);
    Ok(())
}

/// The logits of a few tokens.
fn answer(folder: &Path) -> Result<Vec<f32>> {
    let device = Device::default();
    let tokens = Tensor::<2, Int>::from_data([[0, 7, 250, 3]], &device);
    Ok(Gpt2::load(folder, &device)?.forward(tokens).into_data().iter::<f32>().collect())
}

fn tiny() -> PathBuf {
    fixture("gpt2_tiny")
}
