//! Image classifiers that start from ImageNet.
//!
//! [`ImageClassifier::load`] reads what `examples/data.sh` downloads and puts a new linear head on it:
//!
//! - [`SqueezeNet`] 1.1 (arXiv 1602.07360): 0.72 million parameters in the trunk, 512 features. No
//!   normalization layers, dense convolutions.
//! - [`EfficientNetLite0`] (arXiv 1905.11946 without squeeze-and-excitation): 3.4 million, 1280
//!   features. Its BatchNorm, which would mix the examples of a batch, is folded into the convolutions, so
//!   that each has a bias and bias-only fine-tuning means what it says.
//!
//! [`ImageClassifier::load_folder`] reads a folder as Hugging Face saves it, with `config.json` and safetensors:
//!
//! - [`VisionTransformer`]: ViT, DeiT and BEiT (transformers' `vit`, `deit`, `beit`).
//! - [`ResNet`]: transformers' `resnet`, its BatchNorm folded as above; timm's plain ResNets, with GroupNorm
//!   (`resnet50_gn`) or BatchNorm.
//!
//! All are ordinary burn modules. Images go through [`Preprocess`] first: the networks were trained on
//! different encodings of the same pixels. [`Preprocess::load_folder`] reads what a folder says about it.

mod backbone;
mod classifier;
mod efficientnet;
mod folder;
mod pooling;
mod preprocess;
mod resnet;
mod squeezenet;
mod transformer;
mod weights;

pub use backbone::Backbone;
pub use classifier::ImageClassifier;
pub use efficientnet::{EfficientNetLite0, EfficientNetLite0Config};
pub use preprocess::Preprocess;
pub use resnet::ResNet;
pub use squeezenet::{SqueezeNet, SqueezeNetConfig};
pub use transformer::VisionTransformer;
