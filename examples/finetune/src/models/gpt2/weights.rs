//! The weights: which tensor of which file belongs where.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use burn::store::burn_pack::Tensor as PackTensor;
use burn::store::{FloatCastAdapter, ModuleSnapshot, ModuleStore, SafetensorsStore};
use burn::tensor::{DType, Device};

use super::ADVICE;
use super::config::Gpt2Config;
use super::model::Gpt2;
use super::names::{Entry, OUTPUT, entries, is_leftover, without_prefix};
use super::shards;

impl Gpt2 {
    /// The model whose `config.json` and `model.safetensors` (or shards of it) are in `folder`. Its parameters train on
    /// an autodiff device.
    ///
    /// # Errors
    /// When a file is missing, damaged, or not that of a GPT-2: says which, and what is wrong with it.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config = Gpt2Config::read(folder)?;
        let stored = read(&shards::files(folder)?)?;
        let entries = entries(&config);
        check_nothing_else(&stored, &entries, folder)?;
        check_tied(&stored)?;
        fill(config.init(device)?, chosen(&stored, &entries, folder)?, folder)
    }
}

/// A tensor and the file that it is in.
struct Stored {
    tensor: PackTensor,
    file: PathBuf,
}

/// The tensors of all files, by their names without the prefix.
fn read(files: &[PathBuf]) -> Result<BTreeMap<String, Stored>> {
    let mut stored = BTreeMap::new();
    for file in files {
        let name = file.display();
        let mut store = SafetensorsStore::from_file(file);
        let tensors =
            store.get_all_tensors().with_context(|| format!("cannot read {name}; {ADVICE}"))?;
        for (key, tensor) in tensors {
            let entry = Stored { tensor: tensor.clone(), file: file.clone() };
            let earlier = stored.insert(without_prefix(key).to_owned(), entry);
            ensure!(earlier.is_none(), "{name}: `{key}` is there twice; {ADVICE}");
        }
    }
    Ok(stored)
}

fn check_nothing_else(
    stored: &BTreeMap<String, Stored>,
    entries: &[Entry],
    folder: &Path,
) -> Result<()> {
    let known = |key: &str| is_leftover(key) || entries.iter().any(|entry| entry.stored == key);
    let extra: Vec<&str> = stored.keys().map(String::as_str).filter(|key| !known(key)).collect();
    ensure!(
        extra.is_empty(),
        "model.safetensors in {} has {} too, which is not used; {ADVICE}",
        folder.display(),
        listed(&extra),
    );
    Ok(())
}

/// An output layer that is kept must be the word table: it is not read, so another one would be lost in silence.
fn check_tied(stored: &BTreeMap<String, Stored>) -> Result<()> {
    let (Some(output), Some(table)) = (stored.get(OUTPUT), stored.get("wte.weight")) else {
        return Ok(());
    };
    let bytes = |stored: &Stored| {
        let bytes = stored.tensor.to_bytes().map_err(|error| anyhow!("{error}"));
        bytes.with_context(|| format!("cannot read {}; {ADVICE}", stored.file.display()))
    };
    let same = output.tensor.dtype == table.tensor.dtype && *bytes(output)? == *bytes(table)?;
    ensure!(
        same,
        "{}: `{OUTPUT}` differs from `wte.weight`: only tied weights are supported",
        output.file.display(),
    );
    Ok(())
}

/// The tensors of all parameters, under their paths in the module.
fn chosen(
    stored: &BTreeMap<String, Stored>,
    entries: &[Entry],
    folder: &Path,
) -> Result<Vec<PackTensor>> {
    let (mut tensors, mut missing) = (Vec::new(), Vec::new());
    for Entry { stored: key, path, shape } in entries {
        let Some(Stored { tensor, file }) = stored.get(key) else {
            missing.push(key.as_str());
            continue;
        };
        let name = file.display();
        ensure!(
            tensor.dtype.is_float(),
            "{name}: `{key}` holds {:?} instead of floats; {ADVICE}",
            tensor.dtype,
        );
        ensure!(
            tensor.shape[..] == shape[..],
            "{name}: `{key}` has the shape {:?}, but config.json makes it {shape:?}; {ADVICE}",
            &tensor.shape[..],
        );
        let mut tensor = tensor.clone();
        tensor.name.clone_from(path);
        tensors.push(tensor);
    }
    ensure!(
        missing.is_empty(),
        "model.safetensors in {} lacks {}; {ADVICE}",
        folder.display(),
        listed(&missing),
    );
    Ok(tensors)
}

/// `model` with the given weights. Half precision becomes single.
fn fill(mut model: Gpt2, tensors: Vec<PackTensor>, folder: &Path) -> Result<Gpt2> {
    let adapter = Box::new(FloatCastAdapter::to(DType::F32));
    let result = model.apply(tensors, None, Some(adapter), false);
    let folder = folder.display();
    if let Some(error) = result.errors.first() {
        bail!("the weights in {folder}: {error}; {ADVICE}");
    }
    let unloaded: Vec<&str> = result.missing.iter().map(|(path, _)| path.as_str()).collect();
    ensure!(unloaded.is_empty(), "the weights in {folder} gave nothing for {}", listed(&unloaded));
    Ok(model)
}

/// The first few of `names`, which may be all of a file's.
fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
