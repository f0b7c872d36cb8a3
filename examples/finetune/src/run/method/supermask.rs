//! `--method supermask`: a mask over the frozen trunk, and the head.

mod flags;

use anyhow::Result;
use burn_dp::selection::{ParamSelector, Schedule};

use super::parts;
use super::recipe::{Attachment, Defaults, DefaultsByTask, Recipe, Situation};

pub use flags::{MaskArgs, Of, Rule};

pub struct Supermask;

/// The learning rate of scores that switch weights. Adam moves a score by about as much in each step, and the default
/// threshold is 0.005 away: some scores get there in the tens of steps that a run has.
const SWITCHES: f64 = 3e-4;

impl Recipe for Supermask {
    /// The learning rates are those of scores that multiply.
    fn defaults(&self, _private: bool) -> DefaultsByTask {
        DefaultsByTask {
            images: Defaults { steps: 30, batch: 1_000.0, lr: 1e-2, head_lr: 1e-2 },
            sentences: Defaults { steps: 15, batch: 500.0, lr: 2e-2, head_lr: 2e-2 },
        }
    }

    fn schedule(&self, _steps: u64, _late: &ParamSelector) -> Result<Schedule> {
        Ok(Schedule::new(ParamSelector::masks().union(parts::head()?)))
    }

    fn attachment(&self, situation: &Situation, output_axis: usize) -> Result<Attachment> {
        let config = situation.mask.config(situation.private, output_axis)?;
        Ok(Attachment::Mask(config))
    }

    fn learning_rate(&self, default: f64, situation: &Situation) -> f64 {
        let multiplies = situation.mask.rule(situation.private).multiplies();
        if multiplies { default } else { SWITCHES }
    }
}
