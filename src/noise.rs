//! The noise of a run.

use burn_dp_accounting::{DpEvent, NoiseMultiplier};
use serde::{Deserialize, Serialize};

/// What is added to each step's sum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Noise {
    /// Gaussian noise, independent from step to step.
    Gaussian {
        /// z, accounted over everything that a step releases.
        multiplier: NoiseMultiplier,
    },
}

impl Noise {
    /// z, accounted over everything that a step releases.
    pub const fn multiplier(self) -> NoiseMultiplier {
        match self {
            Self::Gaussian { multiplier } => multiplier,
        }
    }

    /// What a step releases about its batch.
    pub fn event(self) -> DpEvent {
        match self {
            Self::Gaussian { multiplier } => DpEvent::Gaussian { noise_multiplier: multiplier },
        }
    }
}
