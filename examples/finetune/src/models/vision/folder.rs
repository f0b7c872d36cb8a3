//! Which network a folder holds.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The networks that folders may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// ViT, DeiT or BEiT.
    VisionTransformer,
    /// ResNet as transformers saves it.
    ResNet,
    /// ResNet as timm saves it.
    TimmResNet,
}

impl Family {
    /// By `config.json`: transformers has a `model_type`, timm an `architecture`.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let config: Kind = read_json(folder, "config.json")?;
        let file = folder.join("config.json");
        let file = file.display();
        match (config.model_type.as_deref(), config.architecture.as_deref()) {
            (Some("vit" | "deit" | "beit"), _) => Ok(Self::VisionTransformer),
            (Some("resnet"), _) => Ok(Self::ResNet),
            (Some(other), _) => bail!("{file}: model_type is {other:?}; {SUPPORTED}"),
            (None, Some(name)) if is_timm_resnet(name) => Ok(Self::TimmResNet),
            (None, Some(other)) => bail!("{file}: architecture is {other:?}; {SUPPORTED}"),
            (None, None) => bail!("{file} has neither model_type nor architecture; {SUPPORTED}"),
        }
    }
}

const SUPPORTED: &str = "there are the model types vit, deit, beit and resnet of transformers, and \
                         timm's plain ResNets (resnet50_gn, resnet18, resnet26, ...)";

#[derive(Deserialize)]
struct Kind {
    model_type: Option<String>,
    architecture: Option<String>,
}

/// `resnet`, layers, and `_gn` for GroupNorm; other endings stand for other layers.
fn is_timm_resnet(name: &str) -> bool {
    let layers = name.strip_prefix("resnet").map(|rest| rest.strip_suffix("_gn").unwrap_or(rest));
    layers.is_some_and(|layers| {
        !layers.is_empty() && layers.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// A JSON file of a folder.
pub(super) fn read_json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T> {
    let file = folder.join(name);
    let file = file.display();
    let text = fs::read_to_string(folder.join(name)).with_context(|| {
        format!("cannot read {file}: give a folder as Hugging Face saves it, with all of its files")
    })?;
    serde_json::from_str(&text).with_context(|| format!("{file} cannot be used"))
}

/// One number for both, or height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a size is one number, or the list [height, width]")]
pub(super) enum Size {
    /// Height and width.
    Square(usize),
    /// Each by itself.
    Sides([usize; 2]),
}

impl Size {
    /// Height and width.
    pub(super) fn sides(self) -> [usize; 2] {
        match self {
            Self::Square(side) => [side; 2],
            Self::Sides(sides) => sides,
        }
    }
}

/// No published network comes near it; a damaged file should not exhaust the memory.
pub(super) const LARGEST: usize = 1 << 16;
/// Layers, or blocks of a stage.
pub(super) const MOST_LAYERS: usize = 1 << 10;
