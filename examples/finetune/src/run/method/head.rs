//! `--method head`: the last layer, on features that are computed once.

use anyhow::Result;
use burn_dp::selection::{ParamSelector, Schedule};

use super::parts;
use super::recipe::{Defaults, DefaultsByTask, Recipe};

pub struct Head;

impl Recipe for Head {
    /// Steps on features cost next to nothing, so batches are large: more records a step for the same noise.
    fn defaults(&self, _private: bool) -> DefaultsByTask {
        DefaultsByTask {
            images: Defaults { steps: 500, batch: 10_000.0, lr: 3e-3, head_lr: 3e-3 },
            sentences: Defaults { steps: 200, batch: 750.0, lr: 5e-3, head_lr: 5e-3 },
        }
    }

    fn schedule(&self, _steps: u64, _late: &ParamSelector) -> Result<Schedule> {
        Ok(Schedule::new(parts::head()?))
    }

    fn is_head_only(&self, _step: u64, _steps: u64) -> bool {
        true
    }
}
