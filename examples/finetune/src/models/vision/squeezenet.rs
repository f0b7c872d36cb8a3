//! SqueezeNet 1.1: arXiv 1602.07360, and the authors' release of version 1.1.

use std::path::Path;

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::activation::relu;

use super::pooling::global_mean;
use super::weights::Weights;

/// SqueezeNet 1.1: a convolution, eight fire modules and a linear head.
///
/// The original ends in a convolution of 1 x 1, ReLU and the mean over all positions. Here the mean comes
/// first, so that the head is linear; with the weights of ImageNet its logits are the original's without
/// that ReLU. Dropout is left out.
#[derive(Module, Debug)]
pub struct SqueezeNet {
    conv1: Conv2d,
    fires: Vec<Fire>,
    pool: MaxPool2d,
    head: Linear,
}

/// Configuration of a [`SqueezeNet`].
#[derive(Config, Debug)]
pub struct SqueezeNetConfig {
    /// Number of classes of the head.
    pub classes: usize,
    /// Channels of the narrowest layer, in proportion to which all others are.
    #[config(default = 16)]
    pub width: usize,
}

/// Channels that each fire module is squeezed to, in multiples of the width.
const SQUEEZE: [usize; 8] = [1, 1, 2, 2, 3, 3, 4, 4];
/// Fire modules that a pooling precedes.
const POOLED: [usize; 3] = [0, 2, 4];
/// Fire modules are counted from 2 in the file, the first layer being 1.
const FIRST_FIRE: usize = 2;

impl SqueezeNetConfig {
    /// A network with random weights.
    pub fn init(&self, device: &Device) -> SqueezeNet {
        let mut channels = 4 * self.width;
        let conv1 = Conv2dConfig::new([3, channels], [3, 3]).with_stride([2, 2]).init(device);
        let mut fires = Vec::new();
        for multiple in SQUEEZE {
            let fire = Fire::new(channels, multiple * self.width, device);
            channels = 8 * multiple * self.width;
            fires.push(fire);
        }
        let pool = MaxPool2dConfig::new([3, 3]).with_strides([2, 2]).with_ceil_mode(true).init();
        SqueezeNet {
            conv1,
            fires,
            pool,
            head: LinearConfig::new(channels, self.classes).init(device),
        }
    }

    /// A network with pretrained weights and a new head.
    ///
    /// # Errors
    /// When the file is missing, damaged or of another network.
    pub fn load(&self, file: &Path, device: &Device) -> anyhow::Result<SqueezeNet> {
        self.read(&mut Weights::read(file, DOWNLOAD)?, device)
    }

    /// A network with pretrained weights, those of the head included.
    ///
    /// # Errors
    /// As [`load`](Self::load), and when the file's head is for another number of classes.
    pub fn load_with_head(&self, file: &Path, device: &Device) -> anyhow::Result<SqueezeNet> {
        let mut weights = Weights::read(file, DOWNLOAD)?;
        let mut model = self.read(&mut weights, device)?;
        weights.fill_linear_from_conv(&mut model.head, "conv10", device)?;
        Ok(model)
    }

    fn read(&self, weights: &mut Weights, device: &Device) -> anyhow::Result<SqueezeNet> {
        let mut model = self.init(device);
        weights.fill_conv(&mut model.conv1, "conv1", device)?;
        for (number, fire) in (FIRST_FIRE..).zip(&mut model.fires) {
            weights.fill_conv(&mut fire.squeeze, &format!("fire{number}.squeeze1x1"), device)?;
            weights.fill_conv(&mut fire.expand1, &format!("fire{number}.expand1x1"), device)?;
            weights.fill_conv(&mut fire.expand3, &format!("fire{number}.expand3x3"), device)?;
        }
        Ok(model)
    }
}

/// What `examples/data.sh` calls the file.
const DOWNLOAD: &str = "squeezenet";
/// The weights that get adapters: all convolutions.
pub(super) const ADAPTED: &str = r"(fires\.\d+\.\w+|conv1)\.weight$";
/// The last block of the trunk.
pub(super) const LATE: &str = "fires.7";

impl SqueezeNet {
    /// Logits of images that went through [`Preprocess`](super::Preprocess).
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, blue first
    /// - output: `[batch, classes]`
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        self.classify(self.features(images))
    }

    /// Logits of [`features`](Self::features), `[batch, classes]`.
    pub fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.forward(features)
    }

    /// What the head sees.
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`, blue first
    /// - output: `[batch, 32 · width]`: 512 features
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = relu(self.conv1.forward(images));
        for (index, fire) in self.fires.iter().enumerate() {
            if POOLED.contains(&index) {
                x = self.pool.forward(x);
            }
            x = fire.forward(x);
        }
        global_mean(x)
    }
}

/// Few channels, then many again: half of them see one position, half its neighbors too.
#[derive(Module, Debug)]
struct Fire {
    squeeze: Conv2d,
    expand1: Conv2d,
    expand3: Conv2d,
}

impl Fire {
    fn new(channels: usize, squeezed: usize, device: &Device) -> Self {
        let conv = |from, to, kernel: usize| {
            let config = Conv2dConfig::new([from, to], [kernel, kernel]);
            config.with_padding(PaddingConfig2d::Same).init(device)
        };
        Self {
            squeeze: conv(channels, squeezed, 1),
            expand1: conv(squeezed, 4 * squeezed, 1),
            expand3: conv(squeezed, 4 * squeezed, 3),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = relu(self.squeeze.forward(x));
        relu(Tensor::cat(vec![self.expand1.forward(x.clone()), self.expand3.forward(x)], 1))
    }
}
