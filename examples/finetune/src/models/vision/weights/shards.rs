//! Which files of a folder hold its weights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::super::folder::read_json;

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// `model.safetensors`, or the files that `model.safetensors.index.json` lists.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let whole = folder.join(WHOLE);
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    ensure!(
        folder.join(INDEX).is_file(),
        "{} has neither {WHOLE} nor {INDEX}; other formats of weights (pytorch_model.bin) are not \
         read: save the model as safetensors",
        folder.display(),
    );
    let index: Index = read_json(folder, INDEX)?;
    let names: BTreeSet<&String> = index.weight_map.values().collect();
    ensure!(!names.is_empty(), "{}: weight_map of {INDEX} lists no file", folder.display());
    names.into_iter().map(|name| inside(folder, name)).collect()
}

#[derive(Deserialize)]
struct Index {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// An index may not point out of its folder.
fn inside(folder: &Path, name: &str) -> Result<PathBuf> {
    let is_plain = Path::new(name).file_name().is_some_and(|file| file == name);
    ensure!(
        is_plain,
        "{}: weight_map of {INDEX} has the file {name:?}, which is not the name of a file beside it",
        folder.display(),
    );
    Ok(folder.join(name))
}
