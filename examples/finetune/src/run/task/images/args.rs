//! What tasks with images can be asked for.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::run::task::own::OwnArgs;

/// What tasks with images can be asked for.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ImageArgs {
    /// squeezenet, or efficientnet-lite0: what examples/data.sh downloads
    #[arg(long, default_value = "efficientnet-lite0")]
    pub backbone: String,
    /// A folder as Hugging Face saves it, in place of --backbone: ViT, DeiT, BEiT or ResNet
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Height and width to which images are resized, with --backbone [default: 96, or 64 for squeezenet]
    #[arg(long)]
    pub pixels: Option<usize>,
}

impl Default for ImageArgs {
    fn default() -> Self {
        Self { backbone: "efficientnet-lite0".into(), model: None, pixels: None }
    }
}

/// Which images.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageSet {
    /// The data folder's.
    Cifar10,
    /// The data folder's.
    Cifar100,
    /// The data folder's.
    Celeba,
    /// The user's own.
    Own(Box<OwnImages>),
}

/// The user's own images.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct OwnImages {
    #[command(flatten)]
    #[serde(flatten)]
    pub data: OwnArgs,
    /// The column with the path of each image, where --train is a table
    #[arg(long)]
    pub path: Option<String>,
}
