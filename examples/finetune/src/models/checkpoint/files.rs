//! Which files of a folder hold its weights.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// The last words of every error about a folder.
pub const ADVICE: &str = "save the folder again with save_pretrained of transformers, or run examples/data.sh if it \
                          is one that the examples download";

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// Copies every tensor, since safetensors refuses two names for one memory.
const CONVERT: &str = "python3 -c 'import glob, torch; from safetensors.torch import save_file; \
                       save_file({k: v.clone().contiguous() for file in glob.glob(\"pytorch_model*.bin\") for k, v in \
                       torch.load(file, map_location=\"cpu\", weights_only=True).items()}, \"model.safetensors\")'";

/// `model.safetensors`, or the files that `model.safetensors.index.json` lists.
pub struct Files {
    /// What errors call them.
    pub shown: PathBuf,
    pub paths: Vec<PathBuf>,
    /// By the index, the file of each tensor.
    homes: Option<BTreeMap<String, String>>,
}

/// Which file has which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Files {
    /// # Errors
    /// When there are none, or the index is damaged or leads out of the folder. Weights in PyTorch's own format, which may run
    /// any code when it is read, are refused with the command that converts them.
    pub fn of(folder: &Path) -> Result<Self> {
        let (single, index) = (folder.join(SINGLE), folder.join(INDEX));
        if single.is_file() {
            return Ok(Self { shown: single.clone(), paths: vec![single], homes: None });
        }
        if index.is_file() {
            return Self::listed(folder, index);
        }
        let folder = folder.display();
        for file in ["pytorch_model.bin", "pytorch_model.bin.index.json"] {
            ensure!(
                !single.with_file_name(file).exists(),
                "{folder} has {file} instead of {SINGLE}. In that folder, this writes the file: {CONVERT}",
            );
        }
        bail!("{folder} has neither {SINGLE} nor {INDEX}; {ADVICE}");
    }

    fn listed(folder: &Path, index: PathBuf) -> Result<Self> {
        let shown = index.display();
        let text = fs::read_to_string(&index).with_context(|| format!("cannot read {shown}"))?;
        let Index { weight_map } = serde_json::from_str(&text).with_context(|| {
            format!("{shown} does not say which file has which tensor; {ADVICE}")
        })?;
        let names: BTreeSet<&String> = weight_map.values().collect();
        ensure!(!names.is_empty(), "weight_map of {shown} names no file; {ADVICE}");
        for name in &names {
            // A folder from elsewhere should not make this program read another one.
            let plain = Path::new(name).file_name().is_some_and(|file| file == name.as_str());
            ensure!(
                plain,
                "weight_map of {shown} names {name:?}, which is not a file of its folder"
            );
        }
        let paths = names.into_iter().map(|name| folder.join(name)).collect();
        Ok(Self { paths, homes: Some(weight_map), shown: index })
    }

    /// Checks that a tensor is in the file that the index says.
    pub fn check_home(&self, tensor: &str, file: &Path) -> Result<()> {
        let Some(homes) = &self.homes else { return Ok(()) };
        let (name, home) = (file.file_name().unwrap_or_default(), homes.get(tensor));
        ensure!(
            home.is_some_and(|home| name == home.as_str()),
            "{} has `{tensor}`, but {} has it in {}; {ADVICE}",
            file.display(),
            self.shown.display(),
            home.map_or("no file", String::as_str),
        );
        Ok(())
    }

    /// Checks that every tensor of the index is there.
    pub fn check_all(&self, is_there: impl Fn(&str) -> bool) -> Result<()> {
        for (tensor, file) in self.homes.iter().flatten() {
            ensure!(
                is_there(tensor),
                "{} has `{tensor}` in {file}, which lacks it; {ADVICE}",
                self.shown.display(),
            );
        }
        Ok(())
    }
}
