//! The noise of a run.
//!
//! [`Noise`] is the part of a plan that says what is added to each step's sum, and what that
//! releases. [`add_gaussian`] draws the noise. It is a pure function of the
//! [`Seed`](crate::seed::Seed) and the step's number, whatever the number of threads. Noise is
//! Gaussian in real arithmetic; `add_gaussian` explains what floating point leaves open.

mod gaussian;
mod on_tensors;

pub(crate) use gaussian::noised;
pub use gaussian::{add_gaussian, gaussian};
pub(crate) use on_tensors::{SquaredLength, noised_tensor};

use burn_dp_accounting::{DpEvent, NoiseMultiplier};
use serde::{Deserialize, Serialize};

/// What is added to each step's sum.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Noise {
    /// Gaussian noise, independent from step to step.
    Gaussian {
        /// z, accounting for everything that a step releases.
        multiplier: NoiseMultiplier,
    },
}

impl Noise {
    /// z, accounting for everything that a step releases.
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
