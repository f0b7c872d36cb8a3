//! One type for all networks, so that a program can choose at run time.

use std::path::Path;

use anyhow::Context;
use burn::prelude::*;
use burn_dp::selection::ParamSelector;

use super::folder::Family;
use super::{
    Backbone, EfficientNetLite0, EfficientNetLite0Config, Preprocess, ResNet, SqueezeNet,
    SqueezeNetConfig, VisionTransformer, efficientnet, resnet, squeezenet, transformer,
};

/// A pretrained network with a linear head.
#[derive(Module, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a program has one, and burn has no modules in boxes"
)]
pub enum ImageClassifier {
    /// SqueezeNet 1.1.
    SqueezeNet(SqueezeNet),
    /// EfficientNet-Lite0.
    EfficientNetLite0(EfficientNetLite0),
    /// ViT, DeiT or BEiT.
    VisionTransformer(VisionTransformer),
    /// ResNet, with BatchNorm that is folded into its convolutions or with GroupNorm.
    ResNet(ResNet),
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

    /// The network in a folder as Hugging Face saves it: `config.json` and `model.safetensors`, or shards with
    /// `model.safetensors.index.json`. It is a ViT, DeiT, BEiT or ResNet of transformers, or a plain ResNet of
    /// timm. The head for `classes` classes is new and random. Images go through
    /// [`Preprocess::load_folder`].
    ///
    /// # Errors
    /// When a file is missing or damaged, the network is none of these, or the weights are not those of
    /// `config.json`: names the file and the field or tensor. When `classes` is zero.
    pub fn load_folder(folder: &Path, classes: usize, device: &Device) -> anyhow::Result<Self> {
        anyhow::ensure!(classes > 0, "a classifier needs at least one class");
        Ok(match Family::of(folder)? {
            Family::VisionTransformer => {
                Self::VisionTransformer(VisionTransformer::load(folder, classes, device)?)
            }
            Family::ResNet => Self::ResNet(ResNet::load(folder, classes, device)?),
            Family::TimmResNet => Self::ResNet(ResNet::load_timm(folder, classes, device)?),
        })
    }

    /// A network with random weights, which are drawn when they are read.
    pub fn random(backbone: Backbone, classes: usize, device: &Device) -> Self {
        match backbone {
            Backbone::SqueezeNet => Self::SqueezeNet(SqueezeNetConfig::new(classes).init(device)),
            Backbone::EfficientNetLite0 => {
                Self::EfficientNetLite0(EfficientNetLite0Config::new(classes).init(device))
            }
        }
    }

    /// Which network this is, if it is one of the examples' downloads.
    pub fn backbone(&self) -> Option<Backbone> {
        match self {
            Self::SqueezeNet(_) => Some(Backbone::SqueezeNet),
            Self::EfficientNetLite0(_) => Some(Backbone::EfficientNetLite0),
            Self::VisionTransformer(_) | Self::ResNet(_) => None,
        }
    }

    /// What images must go through before [`forward`](Self::forward), when they are to be `size` high and
    /// wide.
    ///
    /// # Errors
    /// When images of that size are too small for the network. When the network is from a folder, which has
    /// its own preprocessing: [`Preprocess::load_folder`].
    pub fn preprocess(&self, size: usize) -> anyhow::Result<Preprocess> {
        let backbone = self.backbone().context(
            "the folder of this network says how images are preprocessed: use Preprocess::load_folder",
        )?;
        Preprocess::new(backbone, size)
    }

    /// The weights that get adapters.
    ///
    /// # Errors
    /// When a pattern does not parse.
    pub fn adapted(&self) -> anyhow::Result<ParamSelector> {
        Ok(ParamSelector::regex(match self {
            Self::SqueezeNet(_) => squeezenet::ADAPTED,
            Self::EfficientNetLite0(_) => efficientnet::ADAPTED,
            Self::VisionTransformer(_) => transformer::ADAPTED,
            Self::ResNet(_) => resnet::ADAPTED,
        })?)
    }

    /// The axis of outputs of [`adapted`](Self::adapted) weights: 0 for convolutions, 1 for linear layers.
    pub fn output_axis(&self) -> usize {
        match self {
            Self::SqueezeNet(_) | Self::EfficientNetLite0(_) | Self::ResNet(_) => 0,
            Self::VisionTransformer(_) => 1,
        }
    }

    /// The last block of the trunk.
    pub fn late(&self) -> ParamSelector {
        ParamSelector::path(match self {
            Self::SqueezeNet(_) => format!("SqueezeNet.{}", squeezenet::LATE),
            Self::EfficientNetLite0(_) => format!("EfficientNetLite0.{}", efficientnet::LATE),
            Self::VisionTransformer(model) => format!("VisionTransformer.{}", model.late()),
            Self::ResNet(model) => format!("ResNet.{}", model.late()),
        })
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
            Self::VisionTransformer(model) => model.forward(images),
            Self::ResNet(model) => model.forward(images),
        }
    }

    /// What the head sees of preprocessed images.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`
    /// - output: `[batch, features]`: 512 of SqueezeNet, 1280 of EfficientNet-Lite0, `hidden_size` of a vision
    ///   transformer, the channels of a ResNet's last stage
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        match self {
            Self::SqueezeNet(model) => model.features(images),
            Self::EfficientNetLite0(model) => model.features(images),
            Self::VisionTransformer(model) => model.features(images),
            Self::ResNet(model) => model.features(images),
        }
    }

    /// Logits of [`features`](Self::features), `[batch, classes]`.
    pub fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        match self {
            Self::SqueezeNet(model) => model.classify(features),
            Self::EfficientNetLite0(model) => model.classify(features),
            Self::VisionTransformer(model) => model.classify(features),
            Self::ResNet(model) => model.classify(features),
        }
    }
}
