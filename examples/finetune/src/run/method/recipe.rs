//! What a method says about itself.

use anyhow::Result;
use burn_dp::mask::SuperMaskConfig;
use burn_dp::privacy::{ClippingNorm, NoiseMultiplier};
use burn_dp::selection::{LowRank, ParamSelector, Schedule, TopGradientNorm};

use super::supermask::MaskArgs;

/// A method's answers to what a run asks. Where it gives none, it does as full fine-tuning: all parameters train,
/// under privacy, and nothing is attached to the model.
pub trait Recipe {
    /// Settings that suit it on two cores, with or without privacy.
    fn defaults(&self, private: bool) -> DefaultsByTask;

    /// Whether it trains with privacy where the command line says nothing else.
    fn is_private(&self) -> bool {
        true
    }

    /// What is trained at each of `steps` steps; `late` is the last block of the trunk.
    ///
    /// # Errors
    /// When a pattern of parameters does not parse.
    fn schedule(&self, _steps: u64, _late: &ParamSelector) -> Result<Schedule> {
        Ok(Schedule::new(ParamSelector::all()))
    }

    /// Whether a step of `steps` trains nothing but the head. Features, computed once, then stand in for records.
    fn is_head_only(&self, _step: u64, _steps: u64) -> bool {
        false
    }

    /// How gradient norms choose what is trained beside the head, if they do. The choice is made before the first
    /// step and takes the place of the schedule.
    ///
    /// # Errors
    /// When a setting is out of range.
    fn choice(&self) -> Result<Option<Choice>> {
        Ok(None)
    }

    /// What is attached to the pretrained model. `output_axis` is that of the weights that get adapters or a mask.
    ///
    /// # Errors
    /// When a setting is out of range.
    fn attachment(&self, _situation: &Situation, _output_axis: usize) -> Result<Attachment> {
        Ok(Attachment::Nothing)
    }

    /// The learning rate of all but the head where the command line has none; `default` is that of
    /// [`defaults`](Self::defaults).
    fn learning_rate(&self, default: f64, _situation: &Situation) -> f64 {
        default
    }
}

/// What a method may want to know of the run.
pub struct Situation<'a> {
    pub private: bool,
    pub mask: &'a MaskArgs,
}

/// What trains in place of the weights that it is attached to.
pub enum Attachment {
    Nothing,
    Adapters(LowRank),
    Mask(SuperMaskConfig),
}

/// A choice by gradient norms, and its own release under privacy.
pub struct Choice {
    pub rule: TopGradientNorm,
    pub noise_multiplier: NoiseMultiplier,
    pub clipping_norm: ClippingNorm,
}

/// Settings where the command line has none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// Logical steps.
    pub steps: u64,
    /// Expected size of a logical batch.
    pub batch: f64,
    /// Learning rate of all but the head.
    pub lr: f64,
    /// Learning rate of the head.
    pub head_lr: f64,
}

/// Defaults for each of the tasks.
pub struct DefaultsByTask {
    pub images: Defaults,
    pub sentences: Defaults,
}
