//! `--method none`: everything, without privacy.

use super::recipe::{Defaults, DefaultsByTask, Recipe};

pub struct NonPrivate;

impl Recipe for NonPrivate {
    fn defaults(&self, _private: bool) -> DefaultsByTask {
        DefaultsByTask {
            images: Defaults { steps: 470, batch: 64.0, lr: 3e-4, head_lr: 1e-3 },
            sentences: Defaults { steps: 240, batch: 32.0, lr: 5e-5, head_lr: 1e-3 },
        }
    }

    fn is_private(&self) -> bool {
        false
    }
}
