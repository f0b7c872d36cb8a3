//! How records enter the batches of a run.
//!
//! [`Sampling`] is the part of a plan that says how, and what that does to a release.
//! [`PoissonSampler`] draws the records. The draw is a pure function of the
//! [`Seed`](crate::seed::Seed) and the step's number.

mod poisson;

pub use poisson::PoissonSampler;

use burn_dp_accounting::{DpEvent, SamplingRate};
use serde::{Deserialize, Serialize};

/// How records enter a batch: this amplifies privacy, and it is what a run has to draw.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Sampling {
    /// Each record enters each batch independently (Abadi et al. 2016, arXiv 1607.00133).
    Poisson {
        /// q, the probability.
        rate: SamplingRate,
    },
}

impl Sampling {
    /// The probability that a record is in one batch.
    pub const fn rate(self) -> SamplingRate {
        match self {
            Self::Poisson { rate } => rate,
        }
    }

    /// The event of `release`, made about one batch.
    pub fn event(self, release: DpEvent) -> DpEvent {
        match self {
            Self::Poisson { rate } => DpEvent::PoissonSampled { rate, event: Box::new(release) },
        }
    }
}
