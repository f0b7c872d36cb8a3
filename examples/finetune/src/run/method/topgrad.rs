//! `--method topgrad`: the layers with the largest gradients, and the head.

use anyhow::Result;
use burn_dp::privacy::{ClippingNorm, NoiseMultiplier};
use burn_dp::selection::{Groups, TopGradientNorm};

use super::recipe::{Choice, Defaults, DefaultsByTask, Recipe};

pub struct Topgrad;

/// The share of the model's parameters that may be chosen.
const SHARE: f64 = 0.1;
/// Noise multiplier and clipping norm of the release by which layers are chosen.
const NOISE_MULTIPLIER: f64 = 4.0;
const CLIPPING_NORM: f64 = 1.0;

impl Recipe for Topgrad {
    fn defaults(&self, _private: bool) -> DefaultsByTask {
        DefaultsByTask {
            images: Defaults { steps: 30, batch: 1_000.0, lr: 5e-4, head_lr: 1e-2 },
            sentences: Defaults { steps: 15, batch: 500.0, lr: 2e-4, head_lr: 2e-2 },
        }
    }

    fn choice(&self) -> Result<Option<Choice>> {
        Ok(Some(Choice {
            rule: TopGradientNorm::share(SHARE)?.by(Groups::Layers).per_scalar(),
            noise_multiplier: NoiseMultiplier::new(NOISE_MULTIPLIER)?,
            clipping_norm: ClippingNorm::new(CLIPPING_NORM)?,
        }))
    }
}
