//! One type for both networks, so that a program can choose at run time.

use std::path::Path;

use burn::prelude::*;

use super::{
    Backbone, EfficientNetLite0, EfficientNetLite0Config, Preprocess, SqueezeNet, SqueezeNetConfig,
};

/// A pretrained network with a linear head.
#[derive(Module, Debug)]
pub enum ImageClassifier {
    /// SqueezeNet 1.1.
    SqueezeNet(SqueezeNet),
    /// EfficientNet-Lite0.
    EfficientNetLite0(EfficientNetLite0),
}

impl ImageClassifier {
    /// Reads the pretrained weights of `backbone` from the data folder; the head for `classes` classes is
    /// new and random.
    ///
    /// # Errors
    /// When the file is missing or is not what `examples/data.sh` makes, or `classes` is zero.
    pub fn load(
        backbone: Backbone,
        folder: &Path,
        classes: usize,
        device: &Device,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(classes > 0, "a classifier needs at least one class");
        let file = folder.join(backbone.file());
        Ok(match backbone {
            Backbone::SqueezeNet => {
                Self::SqueezeNet(SqueezeNetConfig::new(classes).load(&file, device)?)
            }
            Backbone::EfficientNetLite0 => {
                Self::EfficientNetLite0(EfficientNetLite0Config::new(classes).load(&file, device)?)
            }
        })
    }

    /// The network as it was trained, with its head for the 1000 classes of ImageNet.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_imagenet(
        backbone: Backbone,
        folder: &Path,
        device: &Device,
    ) -> anyhow::Result<Self> {
        let file = folder.join(backbone.file());
        Ok(match backbone {
            Backbone::SqueezeNet => {
                Self::SqueezeNet(SqueezeNetConfig::new(1000).load_with_head(&file, device)?)
            }
            Backbone::EfficientNetLite0 => Self::EfficientNetLite0(
                EfficientNetLite0Config::new(1000).load_with_head(&file, device)?,
            ),
        })
    }

    /// Which network this is.
    pub fn backbone(&self) -> Backbone {
        match self {
            Self::SqueezeNet(_) => Backbone::SqueezeNet,
            Self::EfficientNetLite0(_) => Backbone::EfficientNetLite0,
        }
    }

    /// What images must go through before [`forward`](Self::forward), when they are to be `size` high and
    /// wide.
    ///
    /// # Errors
    /// When images of that size are too small for the network.
    pub fn preprocess(&self, size: usize) -> anyhow::Result<Preprocess> {
        Preprocess::new(self.backbone(), size)
    }

    /// Logits of preprocessed images.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`
    /// - output: `[batch, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::SqueezeNet(model) => model.forward(images),
            Self::EfficientNetLite0(model) => model.forward(images),
        }
    }

    /// What the head sees of preprocessed images.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`
    /// - output: `[batch, 512]` (SqueezeNet) or `[batch, 1280]` (EfficientNet-Lite0)
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::SqueezeNet(model) => model.features(images),
            Self::EfficientNetLite0(model) => model.features(images),
        }
    }

    /// Logits of [`features`](Self::features), `[batch, classes]`.
    pub fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        match self {
            Self::SqueezeNet(model) => model.classify(features),
            Self::EfficientNetLite0(model) => model.classify(features),
        }
    }
}
