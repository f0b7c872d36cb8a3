//! How a text gets one vector.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The vector of a text, from those of its tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean. It needs no training of its own, so it is the default.
    #[default]
    Mean,
    /// That of the first token, which stands for the text.
    Cls,
    /// That of the first token, through the dense map and tanh with which BERT was pretrained.
    Pooler,
}

impl Pooling {
    /// What sentence-transformers wrote into `folder` (its `modules.json`, or `1_Pooling/config.json`), if it wrote
    /// it. Other files of a folder do not tell how texts are pooled.
    ///
    /// # Errors
    /// When the files are damaged or ask for something that is not built here. Names the field.
    pub fn of(folder: &Path) -> Result<Option<Self>> {
        let Some(file) = file(folder)? else { return Ok(None) };
        let pooling = Self::from_config(&json(&file)?);
        let pooling = pooling.with_context(|| format!("{} cannot be used", file.display()))?;
        Ok(Some(pooling))
    }

    /// Older files have a field for each way, newer files one for all.
    fn from_config(config: &Map<String, Value>) -> Result<Self> {
        let ways: Vec<&str> = match config.get("pooling_mode") {
            Some(Value::String(way)) => vec![way],
            Some(Value::Array(ways)) => ways.iter().filter_map(Value::as_str).collect(),
            Some(other) => bail!("pooling_mode is {other} instead of a text"),
            None => config
                .iter()
                .filter(|(_, on)| **on == Value::Bool(true))
                .filter_map(|(field, _)| field.strip_prefix("pooling_mode_"))
                .collect(),
        };
        match ways[..] {
            [] | ["mean" | "mean_tokens"] => Ok(Self::Mean),
            ["cls" | "cls_token"] => Ok(Self::Cls),
            _ => bail!(
                "pooling_mode is {}: only mean or cls is supported, alone; ask for one to use it instead",
                ways.join(" with "),
            ),
        }
    }
}

/// A part of sentence-transformers' pipeline.
#[derive(Deserialize)]
struct Stage {
    path: String,
    #[serde(rename = "type")]
    class: String,
}

fn file(folder: &Path) -> Result<Option<PathBuf>> {
    let modules = folder.join("modules.json");
    if !modules.is_file() {
        let usual = folder.join("1_Pooling").join("config.json");
        return Ok(usual.is_file().then_some(usual));
    }
    let stages: Vec<Stage> = json(&modules)?;
    let Some(stage) = stages.into_iter().find(|stage| stage.class.ends_with(".Pooling")) else {
        return Ok(None);
    };
    let plain = Path::new(&stage.path).file_name().is_some_and(|name| name == stage.path.as_str());
    ensure!(
        plain,
        "{}: path is {:?}, which is not a folder beside it",
        modules.display(),
        stage.path
    );
    Ok(Some(folder.join(stage.path).join("config.json")))
}

fn json<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))
}
