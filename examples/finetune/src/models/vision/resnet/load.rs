//! From a folder to a network.

use std::path::Path;

use anyhow::{Context, Result};
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::{LinearConfig, PaddingConfig2d};
use burn::prelude::*;

use super::super::weights::Weights;
use super::ResNet;
use super::block::{Block, ConvNorm};
use super::config::{BlockLayers, Shape};
use super::names::{Names, shape_of_timm, shape_of_transformers};

impl ResNet {
    /// The network in a folder as transformers saves it, with a new and random head for `classes` classes.
    ///
    /// # Errors
    /// When a file is missing or damaged, or describes or holds another network: says which, and names the
    /// field or tensor.
    pub fn load(folder: &Path, classes: usize, device: &Device) -> Result<Self> {
        let shape = shape_of_transformers(folder)?;
        let weights = Weights::open(folder)?;
        let names = Names::transformers(&weights);
        read(folder, &shape, weights, names, classes, device)
    }

    /// The same of a folder as timm saves it: with GroupNorm (`resnet50_gn`), or with BatchNorm if the file has
    /// its statistics.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_timm(folder: &Path, classes: usize, device: &Device) -> Result<Self> {
        let weights = Weights::open(folder)?;
        let shape = shape_of_timm(folder, &weights)?;
        read(folder, &shape, weights, Names::Timm, classes, device)
    }
}

fn read(
    folder: &Path,
    shape: &Shape,
    mut weights: Weights,
    names: Names,
    classes: usize,
    device: &Device,
) -> Result<ResNet> {
    shape.validate().with_context(|| format!("{} cannot be used", folder.display()))?;
    let mut fill = |layer: &mut ConvNorm, [conv, norm]: [String; 2]| {
        fill(layer, &mut weights, &conv, &norm, device)
    };
    let mut model = random(shape, classes, device);
    fill(&mut model.stem, names.stem())?;
    for (block, layers) in model.blocks.iter_mut().zip(shape.blocks()) {
        for (index, layer) in block.layers.iter_mut().enumerate() {
            fill(layer, names.layer(&layers, index))?;
        }
        if let Some(shortcut) = &mut block.shortcut {
            fill(shortcut, names.shortcut(&layers))?;
        }
    }
    weights.finish(|name| names.is_spare(name))?;
    Ok(model)
}

fn random(shape: &Shape, classes: usize, device: &Device) -> ResNet {
    let block = |BlockLayers { layers, shortcut, .. }: BlockLayers| {
        let layer = |layer| ConvNorm::new(layer, shape.groups, device);
        Block { layers: layers.iter().map(layer).collect(), shortcut: shortcut.as_ref().map(layer) }
    };
    ResNet {
        stem: ConvNorm::new(&shape.stem(), shape.groups, device),
        pool: MaxPool2dConfig::new([3, 3])
            .with_strides([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            .init(),
        blocks: shape.blocks().into_iter().map(block).collect(),
        head: LinearConfig::new(shape.features(), classes).init(device),
    }
}

fn fill(
    layer: &mut ConvNorm,
    weights: &mut Weights,
    conv: &str,
    norm: &str,
    device: &Device,
) -> Result<()> {
    match &mut layer.norm {
        Some(group_norm) => {
            weights.fill_conv(&mut layer.conv, conv, device)?;
            weights.fill_group_norm(group_norm, norm, device)
        }
        None => weights.fill_conv_with_norm(&mut layer.conv, conv, norm, NORM_EPSILON, device),
    }
}

/// PyTorch's default, which both libraries leave as it is; GroupNorm has the same in burn.
const NORM_EPSILON: f64 = 1e-5;
