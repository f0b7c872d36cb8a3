//! The model back in Hugging Face's files.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::Module;
use burn::store::ModuleSnapshot;
use burn::tensor::DType;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::Value;

use super::config::Gpt2Config;
use super::model::Gpt2;
use super::names::{PREFIX, entries};

impl Gpt2 {
    /// Saves the model in `folder` as `transformers` reads it, in single precision: the weights, with the configuration
    /// and the tokenizer of `original`, the folder that it was loaded from.
    ///
    /// # Errors
    /// When `folder` is `original`, when a file cannot be read or written, or when the model has other parameters than
    /// `original`'s configuration says (adapters that are not merged, for example).
    pub fn save(&self, original: &Path, folder: &Path) -> Result<()> {
        let config = Gpt2Config::read(original)?;
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let same = fs::canonicalize(original)? == fs::canonicalize(folder)?;
        ensure!(!same, "{} holds the original: save to another folder", folder.display());
        write_weights(self, &config, &folder.join("model.safetensors"))?;
        let tokenizer = "tokenizer.json";
        fs::copy(original.join(tokenizer), folder.join(tokenizer))
            .with_context(|| format!("cannot copy {tokenizer} to {}", folder.display()))?;
        write_config(original, folder)
    }
}

fn write_weights(model: &Gpt2, config: &Gpt2Config, file: &Path) -> Result<()> {
    let mut bytes = BTreeMap::new();
    for tensor in model.valid().collect(None, None, false) {
        let read = tensor.to_bytes().map_err(|error| anyhow!("cannot read a weight: {error}"))?;
        bytes.insert(tensor.name.clone(), (tensor.dtype, read));
    }
    let entries = entries(config);
    ensure!(
        bytes.len() == entries.len(),
        "the model has {} parameters instead of {}: merge its adapters before it is saved",
        bytes.len(),
        entries.len(),
    );
    let views = entries.iter().map(|entry| {
        let (dtype, bytes) = bytes
            .get(&entry.path)
            .with_context(|| format!("the model has no parameter {}", entry.path))?;
        ensure!(*dtype == DType::F32, "{} holds {dtype:?} instead of F32", entry.path);
        let view =
            TensorView::new(Dtype::F32, entry.shape.iter().map(|size| size.0).collect(), bytes)
                .with_context(|| format!("{} does not fit config.json", entry.path))?;
        Ok((format!("{PREFIX}{}", entry.stored), view))
    });
    let views: Vec<(String, TensorView)> = views.collect::<Result<_>>()?;
    // transformers refuses files that do not say this.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(views, Some(format), file)
        .with_context(|| format!("cannot write {}", file.display()))
}

/// The original configuration, but for the precision of the weights.
fn write_config(original: &Path, folder: &Path) -> Result<()> {
    let name = "config.json";
    let mut config: Value = serde_json::from_str(&fs::read_to_string(original.join(name))?)?;
    for precision in ["dtype", "torch_dtype"] {
        if let Some(value) = config.get_mut(precision) {
            *value = "float32".into();
        }
    }
    let file = folder.join(name);
    fs::write(&file, serde_json::to_string_pretty(&config)?)
        .with_context(|| format!("cannot write {}", file.display()))
}
