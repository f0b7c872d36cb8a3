//! `--method bitfit`: every bias and shift, and the head (DP-BiTFiT: Bu et al. 2022, arXiv 2210.00036).

use anyhow::Result;
use burn_dp::selection::{ParamSelector, Schedule};

use super::parts;
use super::recipe::{Defaults, DefaultsByTask, Recipe};

pub struct Bitfit;

impl Recipe for Bitfit {
    /// For sentences: steps, batch and learning rates (with privacy and without) that the authors use for SST-2, in
    /// `examples/text_classification` of their fast-differential-privacy: three epochs of 67,349 sentences. They have no new head.
    fn defaults(&self, private: bool) -> DefaultsByTask {
        let (lr, head_lr) = if private { (5e-3, 1e-2) } else { (1e-3, 1e-3) };
        DefaultsByTask {
            images: Defaults { steps: 30, batch: 1_000.0, lr: 2e-3, head_lr: 1e-2 },
            sentences: Defaults { steps: 200, batch: 1_000.0, lr, head_lr },
        }
    }

    fn schedule(&self, _steps: u64, _late: &ParamSelector) -> Result<Schedule> {
        Ok(Schedule::new(parts::biases_and_head()?))
    }
}
