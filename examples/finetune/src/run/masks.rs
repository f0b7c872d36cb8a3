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
    /// [default: multiplier with privacy, threshold without]
    #[arg(long, value_enum)]
    pub mask: Option<Rule>,
    /// What one score is for [default: output where it multiplies, weight where it switches]
    #[arg(long, value_enum)]
    pub mask_of: Option<Of>,
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
    /// All weights of an output: a neuron, a channel
    Output,
    /// All weights of an input
    Input,
}

impl MaskArgs {
    /// `output` is the axis of a weight's outputs.
    ///
    /// # Errors
    /// When the number does not suit the rule.
    pub(super) fn config(
        &self,
        place: &Selection,
        private: bool,
        output: usize,
    ) -> Result<SuperMaskConfig> {
        let at = |default: f64| self.mask_at.unwrap_or(default);
        let rule = self.rule(private);
        let kind = match rule {
            Rule::Threshold => MaskKind::Threshold { threshold: at(-0.005) },
            Rule::TopK => MaskKind::TopK { share: at(0.9), scope: Scope::Layer },
            Rule::TopKGlobal => MaskKind::TopK { share: at(0.9), scope: Scope::Global },
            Rule::Stochastic => MaskKind::Stochastic { keep: at(0.95) },
            Rule::Sigmoid => MaskKind::Sigmoid,
            Rule::Multiplier => MaskKind::Multiplier,
        };
        let of = self.mask_of.unwrap_or(if rule.multiplies() { Of::Output } else { Of::Weight });
        let structure = match of {
            Of::Weight => Structure::Weight,
            Of::Output => Structure::Axis(output),
            Of::Input => Structure::Axis(1 - output),
        };
        let config = SuperMaskConfig::new(kind).context("--mask-at")?;
        Ok(config.with_structure(structure).on(place))
    }

    /// The learning rate of scores, where that of multipliers is `multipliers`.
    pub(super) fn learning_rate(&self, private: bool, multipliers: f64) -> f64 {
        if self.rule(private).multiplies() { multipliers } else { SWITCHES }
    }

    /// Noise goes to every score, so that under privacy few of them that move smoothly do better than
    /// millions that switch.
    fn rule(&self, private: bool) -> Rule {
        self.mask.unwrap_or(if private { Rule::Multiplier } else { Rule::Threshold })
    }
}

/// The learning rate of scores that switch weights. Adam moves each score by about as much in a step,
/// and the default threshold is 0.005 away: some get there in the tens of steps that a run has.
const SWITCHES: f64 = 3e-4;

impl Rule {
    /// Whether a score is a factor rather than a switch.
    fn multiplies(self) -> bool {
        matches!(self, Self::Sigmoid | Self::Multiplier)
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
