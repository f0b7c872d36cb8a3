//! The flags of a mask, and the mask that they stand for.

use anyhow::{Context, Result};
use burn_dp::mask::{MaskKind, Scope, Structure, SuperMaskConfig};
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
    /// Kept at random, with a learned probability
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
    /// The mask, wherever it goes; `output` is the axis of a weight's outputs.
    ///
    /// # Errors
    /// When the number does not suit the rule.
    pub fn config(&self, private: bool, output: usize) -> Result<SuperMaskConfig> {
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
        Ok(SuperMaskConfig::new(kind).context("--mask-at")?.with_structure(structure))
    }

    /// The rule, or its default. Privacy adds noise to every score: then a few scores that move smoothly do better
    /// than millions that switch.
    pub fn rule(&self, private: bool) -> Rule {
        self.mask.unwrap_or(if private { Rule::Multiplier } else { Rule::Threshold })
    }
}

impl Rule {
    /// Whether a score is a factor rather than a switch.
    pub fn multiplies(self) -> bool {
        matches!(self, Self::Sigmoid | Self::Multiplier)
    }
}
