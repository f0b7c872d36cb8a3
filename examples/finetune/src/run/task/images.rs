//! Images, and a network that was trained on ImageNet.

mod network;
mod pixels;
mod sets;
mod views;

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use burn_dp::selection::ParamSelector;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::labeled::Labeled;
use super::own::OwnArgs;
use super::{Classifier, Defaults, Part, Task};
use crate::data::Split;
use crate::models::vision::ImageClassifier;
use crate::run::{Method, Targets, Units};
use network::Network;
use pixels::Pixels;
pub use sets::{cifar10, images};

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

/// Labeled images and a network.
pub struct Images {
    name: &'static str,
    words: String,
    pixels: Split<Pixels>,
    labeled: Labeled,
    network: Network,
}

impl Task for Images {
    type Inputs = Tensor<4>;
    type Model = ImageClassifier;

    fn name(&self) -> &'static str {
        self.name
    }

    fn data(&self) -> String {
        self.words.clone()
    }

    fn classes(&self) -> Vec<String> {
        self.labeled.classes.clone()
    }

    fn trunk(&self) -> String {
        match self.name {
            "cifar10" | "cifar100" => self.network.name().into(),
            _ => format!("{}-{:08x}", self.network.name(), self.pixels.train.checksum()),
        }
    }

    fn model(&self, device: &Device) -> Result<ImageClassifier> {
        self.network.load(self.labeled.classes.len(), device)
    }

    fn targets(&self, part: Part) -> &Targets {
        self.labeled.targets.part(part)
    }

    fn units(&self) -> Units {
        self.labeled.units.clone()
    }

    fn inputs(&self, part: Part, records: &[usize], device: &Device) -> Tensor<4> {
        self.network.preprocess(self.pixels.part(part).batch(records, device))
    }

    fn has_views(&self) -> bool {
        true
    }

    fn views(
        &self,
        part: Part,
        records: &[usize],
        seed: u64,
        device: &Device,
    ) -> Option<Tensor<4>> {
        let seen = views::of(self.pixels.part(part), records, seed);
        Some(self.network.preprocess(seen.all(device)))
    }

    fn read(&self, input: &str, device: &Device) -> Result<Tensor<4>> {
        let image = Pixels::read(Path::new(input), self.network.reading_size())?;
        Ok(self.network.preprocess(image.all(device)))
    }

    fn adapted(&self, model: &ImageClassifier) -> Result<ParamSelector> {
        model.adapted()
    }

    fn output_axis(&self, model: &ImageClassifier) -> usize {
        model.output_axis()
    }

    fn late(&self, model: &ImageClassifier) -> ParamSelector {
        model.late()
    }

    fn defaults(&self, method: Method, private: bool) -> Defaults {
        method.defaults(private).images
    }
}

impl Classifier<Tensor<4>> for ImageClassifier {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.features(images)
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.classify(features)
    }
}
