//! `--method two-phase`: the head first, then biases and the last block as well.

use anyhow::Result;
use burn_dp::selection::{ParamSelector, Schedule};

use super::parts;
use super::recipe::{Defaults, DefaultsByTask, Recipe};

pub struct TwoPhase;

/// The share of steps that train the head alone: they are the cheap ones.
const FIRST_PHASE: f64 = 0.95;

impl Recipe for TwoPhase {
    fn defaults(&self, _private: bool) -> DefaultsByTask {
        DefaultsByTask {
            images: Defaults { steps: 220, batch: 1_000.0, lr: 1e-3, head_lr: 3e-3 },
            sentences: Defaults { steps: 200, batch: 500.0, lr: 1e-3, head_lr: 5e-3 },
        }
    }

    fn schedule(&self, steps: u64, late: &ParamSelector) -> Result<Schedule> {
        let second = parts::biases_and_head()?.union(late.clone());
        Ok(Schedule::new(parts::head()?).then(first_phase(steps).into(), second))
    }

    fn is_head_only(&self, step: u64, steps: u64) -> bool {
        step < first_phase(steps)
    }
}

fn first_phase(steps: u64) -> u64 {
    (steps as f64 * FIRST_PHASE) as u64
}
