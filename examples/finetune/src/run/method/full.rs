//! `--method full`: everything.

use super::recipe::{Defaults, DefaultsByTask, Recipe};

pub struct Full;

impl Recipe for Full {
    /// For sentences as [`Bitfit`](super::bitfit::Bitfit) says.
    fn defaults(&self, private: bool) -> DefaultsByTask {
        let (lr, head_lr) = if private { (5e-4, 1e-2) } else { (5e-5, 1e-3) };
        DefaultsByTask {
            images: Defaults { steps: 30, batch: 1_000.0, lr: 5e-4, head_lr: 1e-2 },
            sentences: Defaults { steps: 200, batch: 1_000.0, lr, head_lr },
        }
    }
}
