//! The files that hold a model's weights: one, or shards with an index.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::ADVICE;

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The index says which shard holds a tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files with the weights of the model in `folder`.
///
/// # Errors
/// When there is neither a whole file nor an index, or the index names something that is not a file of the folder.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (whole, index) = (folder.join(WHOLE), folder.join(INDEX));
    // A folder that has neither is told to lack the whole file.
    if whole.exists() || !index.exists() {
        return Ok(vec![whole]);
    }
    let name = index.display();
    let text =
        fs::read_to_string(&index).with_context(|| format!("cannot read {name}; {ADVICE}"))?;
    let read: Index = serde_json::from_str(&text)
        .with_context(|| format!("{name} is not an index of shards; {ADVICE}"))?;
    let shards: BTreeSet<&String> = read.weight_map.values().collect();
    ensure!(!shards.is_empty(), "{name} names no shard; {ADVICE}");
    for shard in &shards {
        // A path would lead out of the folder.
        let plain = Path::new(shard).file_name().is_some_and(|name| name == shard.as_str());
        ensure!(plain, "{name} names the shard {shard:?}, which is not a file's name; {ADVICE}");
    }
    Ok(shards.into_iter().map(|shard| folder.join(shard)).collect())
}
