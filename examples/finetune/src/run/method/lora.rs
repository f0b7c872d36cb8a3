//! `--method lora`: low-rank adapters, and the head.

use anyhow::Result;
use burn_dp::selection::{LowRank, ParamSelector, Schedule};

use super::parts;
use super::recipe::{Attachment, Defaults, DefaultsByTask, Recipe, Situation};

pub struct Lora;

const RANK: usize = 8;
const ALPHA: f64 = 16.0;

impl Recipe for Lora {
    fn defaults(&self) -> DefaultsByTask {
        DefaultsByTask {
            images: Defaults { steps: 30, batch: 1_000.0, lr: 2e-3, head_lr: 1e-2 },
            sentences: Defaults { steps: 15, batch: 500.0, lr: 2e-3, head_lr: 2e-2 },
        }
    }

    fn schedule(&self, _steps: u64, _late: &ParamSelector) -> Result<Schedule> {
        Ok(Schedule::new(ParamSelector::lora().union(parts::head()?)))
    }

    fn attachment(&self, _situation: &Situation) -> Result<Attachment> {
        Ok(Attachment::Adapters(LowRank::new(RANK, ALPHA)?))
    }
}
