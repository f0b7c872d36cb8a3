//! CIFAR-10 with a network that was trained on ImageNet.

use std::path::Path;

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};
use burn_dp::selection::ParamSelector;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Classifier, Defaults, Part, Task};
use crate::data::{self, Split};
use crate::models::vision::{Backbone, ImageClassifier, Preprocess};
use crate::run::Method;

/// What the image task can be asked for.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ImageArgs {
    /// squeezenet, or efficientnet-lite0
    #[arg(long, default_value = "efficientnet-lite0")]
    pub backbone: String,
    /// Height and width to which images are resized [default: 96, or 64 for squeezenet]
    #[arg(long)]
    pub pixels: Option<usize>,
}

/// Labeled images and a backbone.
pub struct Images {
    data: Split<data::Images>,
    backbone: Backbone,
    /// The network's layers. Its weights are never read.
    layers: ImageClassifier,
    preprocess: Preprocess,
    pixels: usize,
    folder: std::path::PathBuf,
}

/// CIFAR-10 in `folder`.
///
/// # Errors
/// When data are missing or damaged, or a flag makes no sense.
pub fn cifar10(folder: &Path, args: &ImageArgs) -> Result<Images> {
    let backbone: Backbone = args.backbone.parse()?;
    let pixels = args.pixels.unwrap_or(match backbone {
        Backbone::SqueezeNet => 64,
        Backbone::EfficientNetLite0 => 96,
    });
    let preprocess = Preprocess::new(backbone, pixels)?;
    let data = data::cifar10(folder)?;
    let layers = ImageClassifier::random(backbone, data.train.classes.len(), &Device::default());
    Ok(Images { data, backbone, layers, preprocess, pixels, folder: folder.to_owned() })
}

impl Images {
    /// Any RGB image, channel by channel, as the model reads it.
    pub fn preprocess(
        &self,
        rgb: Vec<u8>,
        height: usize,
        width: usize,
        device: &Device,
    ) -> Tensor<4> {
        self.preprocess.forward(tensor(rgb, [1, 3, height, width], device))
    }
}

fn tensor(pixels: Vec<u8>, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let pixels: Vec<f32> = pixels.into_iter().map(f32::from).collect();
    Tensor::from_data(TensorData::new(pixels, shape), device)
}

impl Task for Images {
    type Inputs = Tensor<4>;
    type Model = ImageClassifier;

    fn name(&self) -> &'static str {
        "cifar10"
    }

    fn data(&self) -> String {
        "CIFAR-10".into()
    }

    fn classes(&self) -> Vec<String> {
        self.data.train.classes.iter().map(|class| (*class).to_owned()).collect()
    }

    fn trunk(&self) -> String {
        format!("{}-{}", self.backbone, self.pixels)
    }

    fn model(&self, device: &Device) -> Result<ImageClassifier> {
        ImageClassifier::load(self.backbone, &self.folder, self.data.train.classes.len(), device)
    }

    fn labels(&self, part: Part) -> &[u8] {
        match part {
            Part::Train => &self.data.train.labels,
            Part::Test => &self.data.test.labels,
        }
    }

    fn inputs(&self, part: Part, records: &[usize], device: &Device) -> Tensor<4> {
        let images = match part {
            Part::Train => &self.data.train,
            Part::Test => &self.data.test,
        };
        let pixels = records.iter().flat_map(|record| images.image(*record)).copied().collect();
        let shape = [records.len(), images.channels, images.height, images.width];
        self.preprocess.forward(tensor(pixels, shape, device))
    }

    fn adapted(&self) -> Result<ParamSelector> {
        self.layers.adapted()
    }

    fn output_axis(&self) -> usize {
        self.layers.output_axis()
    }

    fn late(&self) -> ParamSelector {
        self.layers.late()
    }

    fn defaults(&self, method: Method) -> Defaults {
        method.defaults().images
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
