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
//! Both are ordinary burn modules. Images go through [`Preprocess`] first: the two networks were trained on
//! different encodings of the same pixels.

mod backbone;
mod classifier;
mod efficientnet;
mod pooling;
mod preprocess;
mod squeezenet;
mod weights;

pub use backbone::Backbone;
pub use classifier::ImageClassifier;
pub use efficientnet::{EfficientNetLite0, EfficientNetLite0Config};
pub use preprocess::Preprocess;
pub use squeezenet::{SqueezeNet, SqueezeNetConfig};
