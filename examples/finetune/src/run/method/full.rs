//! `--method full`: everything.

use super::recipe::{Defaults, DefaultsByTask, Recipe};

pub struct Full;

impl Recipe for Full {
    fn defaults(&self) -> DefaultsByTask {
        DefaultsByTask {
            images: Defaults { steps: 30, batch: 1_000.0, lr: 5e-4, head_lr: 1e-2 },
            sentences: Defaults { steps: 15, batch: 500.0, lr: 2e-4, head_lr: 2e-2 },
        }
    }
}
