//! The published weights: which tensor belongs where.

use std::path::Path;

use anyhow::Result;
use burn::module::Initializer;
use burn::nn::conv::Conv2dConfig;
use burn::nn::{LayerNormConfig, LinearConfig};
use burn::prelude::*;

use super::super::weights::Weights;
use super::VisionTransformer;
use super::attention::Attention;
use super::block::{Block, Mlp};
use super::config::{ModelType, Sizes};
use super::embeddings::Embeddings;
use super::names::{Names, Parts};
use super::positions::{RelativePositions, distances};

impl VisionTransformer {
    /// The network in a folder as transformers saves it, with a new and random head for `classes` classes.
    ///
    /// # Errors
    /// When a file is missing or damaged, or describes or holds another network: says which, and names the
    /// field or tensor.
    pub fn load(folder: &Path, classes: usize, device: &Device) -> Result<Self> {
        let sizes = Sizes::read(folder)?;
        let mut weights = Weights::open(folder)?;
        let mut model = random(&sizes, classes, device)?;
        let names = Names::of(&sizes, &weights);
        fill(&mut model, &mut weights, names, device)?;
        weights.finish(|name| names.is_spare(name))?;
        Ok(model)
    }
}

/// Random weights are not drawn before they are read.
fn random(sizes: &Sizes, classes: usize, device: &Device) -> Result<VisionTransformer> {
    let (width, patch) = (sizes.hidden_size, sizes.patch());
    let zeros = |shape: [usize; 3]| Initializer::Zeros.init(shape, device);
    let tokens = sizes.special_tokens() + sizes.grid().iter().product::<usize>();
    let blocks =
        (0..sizes.num_hidden_layers).map(|_| block(sizes, device)).collect::<Result<_>>()?;
    Ok(VisionTransformer {
        embeddings: Embeddings {
            patches: Conv2dConfig::new([3, width], patch).with_stride(patch).init(device),
            class_token: zeros([1, 1, width]),
            distillation_token: (sizes.model_type == ModelType::Deit).then(|| zeros([1, 1, width])),
            positions: sizes.has_absolute_positions().then(|| zeros([1, tokens, width])),
        },
        positions: sizes.has_shared_positions().then(|| positions(sizes, device)),
        blocks,
        norm: norm(sizes).init(device),
        head: LinearConfig::new(width, classes).init(device),
        mean_of_patches: sizes.has_mean_pooling(),
        grid: sizes.grid(),
    })
}

fn block(sizes: &Sizes, device: &Device) -> Result<Block> {
    let (width, inner) = (sizes.hidden_size, sizes.intermediate_size);
    let linear = |from, to, bias| LinearConfig::new(from, to).with_bias(bias).init(device);
    let lambda = || Initializer::Ones.init([width], device);
    Ok(Block {
        norm_before: norm(sizes).init(device),
        attention: Attention {
            query: linear(width, width, sizes.has_bias()),
            key: linear(width, width, sizes.has_key_bias()),
            value: linear(width, width, sizes.has_bias()),
            output: linear(width, width, true),
            positions: sizes.has_positions_per_block().then(|| positions(sizes, device)),
            heads: sizes.num_attention_heads,
        },
        lambda_1: sizes.has_layer_scale().then(lambda),
        norm_after: norm(sizes).init(device),
        mlp: Mlp {
            up: linear(width, inner, true),
            activation: sizes.activation()?.init(device),
            down: linear(inner, width, true),
        },
        lambda_2: sizes.has_layer_scale().then(lambda),
    })
}

fn norm(sizes: &Sizes) -> LayerNormConfig {
    LayerNormConfig::new(sizes.hidden_size).with_epsilon(sizes.layer_norm_eps)
}

fn positions(sizes: &Sizes, device: &Device) -> RelativePositions {
    let shape = [distances(sizes.grid()), sizes.num_attention_heads];
    RelativePositions { table: Initializer::Zeros.init(shape, device), grid: sizes.grid() }
}

fn fill(
    model: &mut VisionTransformer,
    weights: &mut Weights,
    names: Names,
    device: &Device,
) -> Result<()> {
    let of = |part| names.embeddings(part);
    let embeddings = &mut model.embeddings;
    weights.fill_conv(&mut embeddings.patches, &of("patch_embeddings.projection"), device)?;
    weights.fill(&mut embeddings.class_token, &of("cls_token"), device)?;
    let distillation = &mut embeddings.distillation_token;
    weights.fill_if_any(distillation, &of("distillation_token"), device)?;
    weights.fill_if_any(&mut embeddings.positions, &of("position_embeddings"), device)?;
    fill_positions(&mut model.positions, weights, &names.shared_positions(), device)?;
    for (index, block) in model.blocks.iter_mut().enumerate() {
        fill_block(block, weights, &names.block(index), names.parts, device)?;
    }
    let norm = names.norm(model.mean_of_patches, weights);
    weights.fill_layer_norm(&mut model.norm, &norm, device)
}

fn fill_block(
    block: &mut Block,
    weights: &mut Weights,
    name: &str,
    parts: &Parts,
    device: &Device,
) -> Result<()> {
    let of = |part: &str| format!("{name}.{part}");
    weights.fill_layer_norm(&mut block.norm_before, &of("layernorm_before"), device)?;
    let attention = &mut block.attention;
    weights.fill_linear(&mut attention.query, &of(parts.query), device)?;
    weights.fill_linear(&mut attention.key, &of(parts.key), device)?;
    weights.fill_linear(&mut attention.value, &of(parts.value), device)?;
    weights.fill_linear(&mut attention.output, &of(parts.output), device)?;
    fill_positions(&mut attention.positions, weights, &of(parts.positions), device)?;
    weights.fill_if_any(&mut block.lambda_1, &of("lambda_1"), device)?;
    weights.fill_layer_norm(&mut block.norm_after, &of("layernorm_after"), device)?;
    weights.fill_linear(&mut block.mlp.up, &of(parts.up), device)?;
    weights.fill_linear(&mut block.mlp.down, &of(parts.down), device)?;
    weights.fill_if_any(&mut block.lambda_2, &of("lambda_2"), device)
}

fn fill_positions(
    positions: &mut Option<RelativePositions>,
    weights: &mut Weights,
    name: &str,
    device: &Device,
) -> Result<()> {
    let Some(positions) = positions else { return Ok(()) };
    weights.fill(&mut positions.table, &format!("{name}.relative_position_bias_table"), device)
}
