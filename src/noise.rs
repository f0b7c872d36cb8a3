//! The noise of a run.
//!
//! [`Noise`] is the part of a plan that says what is added to each step's sum, and what that releases. [`add_gaussian`] draws
//! it, as a pure function of the [`Seed`] and the step's number, whatever the number of threads. Noise is
//! Gaussian in real arithmetic; `add_gaussian` says what floating point leaves open.

mod gaussian;
mod on_tensors;

pub(crate) use gaussian::noised;
pub use gaussian::{add_gaussian, gaussian};
pub(crate) use on_tensors::{SquaredLength, StepNoise};

use burn_dp_accounting::{DpEvent, NoiseMultiplier};
use serde::{Deserialize, Serialize};

use crate::seed::{Domain, Seed};

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

    /// The same noise with another multiplier.
    pub(crate) const fn with_multiplier(self, multiplier: NoiseMultiplier) -> Self {
        match self {
            Self::Gaussian { .. } => Self::Gaussian { multiplier },
        }
    }

    /// The same noise, `factor` times as large. The multiplier is rounded down, so that it is never above that of noise which is
    /// drawn with a standard deviation of `factor` times this one's.
    pub(crate) fn scaled(self, factor: f64) -> burn_dp_accounting::Result<Self> {
        if factor == 1.0 {
            return Ok(self);
        }
        let scaled = (self.multiplier().value() * factor) * (1.0 - 4.0 * f64::EPSILON);
        Ok(self.with_multiplier(NoiseMultiplier::new(scaled)?))
    }

    /// What a step releases about its batch.
    pub fn event(self) -> DpEvent {
        match self {
            Self::Gaussian { multiplier } => DpEvent::Gaussian { noise_multiplier: multiplier },
        }
    }

    /// The noise of one step, of this standard deviation on every number.
    pub(crate) fn of_step<'s>(
        self,
        std: f64,
        (seed, domain, step): (&'s Seed, Domain, u64),
    ) -> StepNoise<'s> {
        match self {
            Self::Gaussian { .. } => StepNoise::Gaussian { std, seed, domain, step },
        }
    }

    /// After "adds ".
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Gaussian { .. } => "Gaussian noise",
        }
    }
}
