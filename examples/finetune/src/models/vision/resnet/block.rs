//! Two or three convolutions around which the input passes by.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::activation::relu;

use super::config::Layer;

/// A residual block.
#[derive(Module, Debug)]
pub(super) struct Block {
    pub(super) layers: Vec<ConvNorm>,
    /// Where input and output differ in shape.
    pub(super) shortcut: Option<ConvNorm>,
}

impl Block {
    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut out = x.clone();
        for (index, layer) in self.layers.iter().enumerate() {
            let inside = if index == 0 { out } else { relu(out) };
            out = layer.forward(inside);
        }
        let passed = match &self.shortcut {
            Some(shortcut) => shortcut.forward(x),
            None => x,
        };
        relu(out + passed)
    }
}

/// A convolution and its normalization.
#[derive(Module, Debug)]
pub(super) struct ConvNorm {
    /// With a bias, which comes from BatchNorm, if there is no `norm`.
    pub(super) conv: Conv2d,
    pub(super) norm: Option<GroupNorm>,
}

impl ConvNorm {
    /// With GroupNorm if there are `groups`. Random weights are not drawn before they are read.
    pub(super) fn new(layer: &Layer, groups: Option<usize>, device: &Device) -> Self {
        let around = layer.kernel / 2;
        let conv = Conv2dConfig::new([layer.from, layer.to], [layer.kernel; 2])
            .with_stride([layer.stride; 2])
            .with_padding(PaddingConfig2d::Explicit(around, around, around, around))
            .with_bias(groups.is_none())
            .init(device);
        let norm = groups.map(|groups| GroupNormConfig::new(groups, layer.to).init(device));
        Self { conv, norm }
    }

    pub(super) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.conv.forward(x);
        match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }
}
