//! EfficientNet-Lite0: arXiv 1905.11946, in the variant for phones.

use std::path::Path;

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::prelude::*;

use super::pooling::global_mean;
use super::weights::Weights;

/// EfficientNet-Lite0: a convolution, sixteen inverted residual blocks, another convolution and a
/// linear head.
///
/// Each BatchNorm of the original is folded into the convolution before it, as it acts when its statistics
/// are fixed. Dropout and stochastic depth are left out.
#[derive(Module, Debug)]
pub struct EfficientNetLite0 {
    stem: Conv2d,
    blocks: Vec<Block>,
    top: Conv2d,
    head: Linear,
}

/// Configuration of an [`EfficientNetLite0`].
#[derive(Config, Debug)]
pub struct EfficientNetLite0Config {
    /// Number of classes of the head.
    pub classes: usize,
    /// Channels of the first convolution.
    #[config(default = 32)]
    pub stem: usize,
    /// Channels that the blocks of each stage give.
    #[config(default = "[16, 24, 40, 80, 112, 192, 320]")]
    pub stages: [usize; 7],
    /// Channels of the last convolution: the number of features.
    #[config(default = 1280)]
    pub top: usize,
}

/// What the blocks of a stage share besides their channels; all but the first have stride 1.
struct Stage {
    kernel: usize,
    stride: usize,
    expansion: usize,
    blocks: usize,
}

const STAGES: [Stage; 7] = [
    Stage { kernel: 3, stride: 1, expansion: 1, blocks: 1 },
    Stage { kernel: 3, stride: 2, expansion: 6, blocks: 2 },
    Stage { kernel: 5, stride: 2, expansion: 6, blocks: 2 },
    Stage { kernel: 3, stride: 2, expansion: 6, blocks: 3 },
    Stage { kernel: 5, stride: 1, expansion: 6, blocks: 3 },
    Stage { kernel: 5, stride: 2, expansion: 6, blocks: 4 },
    Stage { kernel: 3, stride: 1, expansion: 6, blocks: 1 },
];

impl EfficientNetLite0Config {
    /// A network with random weights.
    pub fn init(&self, device: &Device) -> EfficientNetLite0 {
        let mut blocks = Vec::new();
        let mut channels = self.stem;
        for (stage, to) in STAGES.iter().zip(self.stages) {
            for index in 0..stage.blocks {
                let stride = if index == 0 { stage.stride } else { 1 };
                blocks.push(Block::new(channels, to, stage, stride, device));
                channels = to;
            }
        }
        EfficientNetLite0 {
            stem: conv([3, self.stem], 3, 2, 1, device),
            blocks,
            top: conv([channels, self.top], 1, 1, 1, device),
            head: LinearConfig::new(self.top, self.classes).init(device),
        }
    }

    /// A network with pretrained weights and a new head.
    ///
    /// # Errors
    /// When the file is missing, damaged or of another network.
    pub fn load(&self, file: &Path, device: &Device) -> anyhow::Result<EfficientNetLite0> {
        self.read(&mut Weights::read(file, DOWNLOAD)?, device)
    }

    /// A network with pretrained weights, those of the head included.
    ///
    /// # Errors
    /// As [`load`](Self::load), and when the file's head is for another number of classes.
    pub fn load_with_head(
        &self,
        file: &Path,
        device: &Device,
    ) -> anyhow::Result<EfficientNetLite0> {
        let mut weights = Weights::read(file, DOWNLOAD)?;
        let mut model = self.read(&mut weights, device)?;
        weights.fill_linear(&mut model.head, "_fc", device)?;
        Ok(model)
    }

    fn read(&self, weights: &mut Weights, device: &Device) -> anyhow::Result<EfficientNetLite0> {
        let mut model = self.init(device);
        let mut fill = |conv: &mut Conv2d, name: &str, norm: &str| {
            weights.fill_conv_with_norm(conv, name, norm, NORM_EPSILON, device)
        };
        fill(&mut model.stem, "_conv_stem", "_bn0")?;
        for (index, block) in model.blocks.iter_mut().enumerate() {
            let of = |name: &str| format!("_blocks.{index}.{name}");
            if let Some(expand) = &mut block.expand {
                fill(expand, &of("_expand_conv"), &of("_bn0"))?;
            }
            fill(&mut block.depthwise, &of("_depthwise_conv"), &of("_bn1"))?;
            fill(&mut block.project, &of("_project_conv"), &of("_bn2"))?;
        }
        fill(&mut model.top, "_conv_head", "_bn1")?;
        Ok(model)
    }
}

/// What `examples/data.sh` calls the file.
const DOWNLOAD: &str = "efficientnet";
/// TensorFlow's default, which the network was trained with.
const NORM_EPSILON: f64 = 1e-3;
/// The weights that get adapters: all convolutions but those of each channel by itself.
pub(super) const ADAPTED: &str = r"(blocks\.\d+\.(expand|project)|top|stem)\.weight$";
/// The last block of the trunk.
pub(super) const LATE: &str = "top";

impl EfficientNetLite0 {
    /// Logits of images that went through [`Preprocess`](super::Preprocess).
    ///
    /// # Shapes
    /// - images: `[batch, 3, height, width]`
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
    /// - images: `[batch, 3, height, width]`
    /// - output: `[batch, top]`: 1280 features
    pub fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let mut x = relu6(self.stem.forward(images));
        for block in &self.blocks {
            x = block.forward(x);
        }
        global_mean(relu6(self.top.forward(x)))
    }
}

/// An inverted residual block: to many channels, each channel by itself in space, and back to few.
#[derive(Module, Debug)]
struct Block {
    expand: Option<Conv2d>,
    depthwise: Conv2d,
    project: Conv2d,
    skip: bool,
}

impl Block {
    fn new(from: usize, to: usize, stage: &Stage, stride: usize, device: &Device) -> Self {
        let wide = from * stage.expansion;
        Self {
            expand: (stage.expansion > 1).then(|| conv([from, wide], 1, 1, 1, device)),
            depthwise: conv([wide, wide], stage.kernel, stride, wide, device),
            project: conv([wide, to], 1, 1, 1, device),
            skip: stride == 1 && from == to,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let wide = match &self.expand {
            Some(expand) => relu6(expand.forward(x.clone())),
            None => x.clone(),
        };
        let out = self.project.forward(relu6(self.depthwise.forward(wide)));
        if self.skip { out + x } else { out }
    }
}

/// With burn's `Same`, which at stride 2 pads as TensorFlow does: the odd pixel goes to the bottom and right.
fn conv(
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
    device: &Device,
) -> Conv2d {
    Conv2dConfig::new(channels, [kernel, kernel])
        .with_stride([stride, stride])
        .with_groups(groups)
        .with_padding(PaddingConfig2d::Same)
        .init(device)
}

fn relu6(x: Tensor<4>) -> Tensor<4> {
    x.clamp(0.0, 6.0)
}
