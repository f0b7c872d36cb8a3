//! `--method supermask`: a mask over the frozen trunk, and the head.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use burn::module::Module;
use burn_dp::mask::{MaskKind, MaskSet, Scope, Structure, SuperMaskConfig};
use burn_dp::selection::Selection;
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// What a mask can be asked for.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct MaskArgs {
    /// How scores become a mask, for --method supermask
    #[arg(long, value_enum, default_value_t = Rule::Threshold)]
    pub mask: Rule,
    /// What one score is for
    #[arg(long, value_enum, default_value_t = Of::Weight)]
    pub mask_of: Of,
    /// The threshold, the share that is kept, or the probability to be kept
    /// [default: -0.005, 0.9, 0.95]
    #[arg(long, allow_negative_numbers = true)]
    pub mask_at: Option<f64>,
}

/// How scores become a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// What is at least the threshold is kept
    Threshold,
    /// The largest share of each weight is kept
    TopK,
    /// The largest share of all is kept
    TopKGlobal,
    /// Kept at random, with a learnt probability
    Stochastic,
    /// Multiplied by a sigmoid
    Sigmoid,
    /// Multiplied by any number
    Multiplier,
}

/// What one score is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// Each number of a weight
    Weight,
    /// Each row: a linear layer's input, a convolution's output channel
    Row,
    /// Each column: a linear layer's neuron, a convolution's input channel
    Column,
}

impl MaskArgs {
    /// # Errors
    /// When the number does not suit the rule.
    pub(super) fn config(&self, place: &Selection) -> Result<SuperMaskConfig> {
        let at = |default: f64| self.mask_at.unwrap_or(default);
        let kind = match self.mask {
            Rule::Threshold => MaskKind::Threshold { threshold: at(-0.005) },
            Rule::TopK => MaskKind::TopK { share: at(0.9), scope: Scope::Layer },
            Rule::TopKGlobal => MaskKind::TopK { share: at(0.9), scope: Scope::Global },
            Rule::Stochastic => MaskKind::Stochastic { keep: at(0.95) },
            Rule::Sigmoid => MaskKind::Sigmoid,
            Rule::Multiplier => MaskKind::Multiplier,
        };
        let structure = match self.mask_of {
            Of::Weight => Structure::Weight,
            Of::Row => Structure::Axis(0),
            Of::Column => Structure::Axis(1),
        };
        let config = SuperMaskConfig::new(kind).context("--mask-at")?;
        Ok(config.with_structure(structure).on(place))
    }
}

/// The exported mask, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaskSummary {
    /// Scores, each a bit of the mask.
    pub scores: usize,
    /// Weights that the mask is over.
    pub weights: usize,
    /// Weights that it keeps.
    pub kept: usize,
    /// The exported file, entropy-coded, with its header.
    pub bytes: usize,
}

/// Writes a binary mask to `mask.bin`, and what it keeps of each layer to `mask.txt`; nothing for a soft one.
pub(super) fn save<M: Module>(
    folder: &Path,
    config: &SuperMaskConfig,
    model: &M,
) -> Result<Option<MaskSummary>> {
    if !config.kind().is_binary() {
        return Ok(None);
    }
    let masks = MaskSet::of(config, model)?;
    let bytes = masks.to_bytes()?;
    let place = || format!("cannot write to {}", folder.display());
    fs::write(folder.join("mask.bin"), &bytes).with_context(place)?;
    fs::write(folder.join("mask.txt"), format!("{masks}\n")).with_context(place)?;
    let sizes = masks.layers().iter().map(|layer| layer.shape().iter().product::<usize>());
    Ok(Some(MaskSummary {
        scores: masks.scores(),
        weights: sizes.sum(),
        kept: masks.kept_weights(),
        bytes: bytes.len(),
    }))
}
