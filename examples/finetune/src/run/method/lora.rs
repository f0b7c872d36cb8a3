//! `--method lora`: low-rank adapters, and the head.

use anyhow::Result;
use burn_dp::selection::{LowRank, ParamSelector, Schedule};

use super::parts;
use super::recipe::{Attachment, Defaults, DefaultsByTask, Recipe, Situation};

pub struct Lora;

const RANK: usize = 8;
const ALPHA: f64 = 16.0;

impl Recipe for Lora {
    /// For sentences steps and batch of [`Bitfit`](super::bitfit::Bitfit). Without privacy the learning rate is that of Hu et
    /// al. 2021 (arXiv 2106.09685) for SST-2, with it four times as much, a first guess.
    fn defaults(&self, private: bool) -> DefaultsByTask {
        let (lr, head_lr) = if private { (2e-3, 1e-2) } else { (5e-4, 1e-3) };
        DefaultsByTask {
            images: Defaults { steps: 30, batch: 1_000.0, lr: 2e-3, head_lr: 1e-2 },
            sentences: Defaults { steps: 200, batch: 1_000.0, lr, head_lr },
        }
    }

    fn schedule(&self, _steps: u64, _late: &ParamSelector) -> Result<Schedule> {
        Ok(Schedule::new(ParamSelector::lora().union(parts::head()?)))
    }

    fn attachment(&self, _situation: &Situation, _output_axis: usize) -> Result<Attachment> {
        Ok(Attachment::Adapters(LowRank::new(RANK, ALPHA)?))
    }
}
