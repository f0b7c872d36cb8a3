//! `--method bitfit`: every bias and shift, and the head (DP-BiTFiT: Bu et al. 2022, arXiv 2210.00036).

use anyhow::Result;
use burn_dp::selection::{ParamSelector, Schedule};

use super::parts;
use super::recipe::{Defaults, DefaultsByTask, Recipe};

pub struct Bitfit;

impl Recipe for Bitfit {
    fn defaults(&self) -> DefaultsByTask {
        DefaultsByTask {
            images: Defaults { steps: 30, batch: 1_000.0, lr: 2e-3, head_lr: 1e-2 },
            sentences: Defaults { steps: 15, batch: 500.0, lr: 2e-3, head_lr: 2e-2 },
        }
    }

    fn schedule(&self, _steps: u64, _late: &ParamSelector) -> Result<Schedule> {
        Ok(Schedule::new(parts::biases_and_head()?))
    }
}
