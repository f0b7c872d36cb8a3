//! How records enter the batches of a run.
//!
//! [`Sampling`] is the part of a plan that says how, and what that does to a release; [`PoissonSampler`] draws the records, as
//! a pure function of the [`Seed`] and the step's number.

mod poisson;

pub use poisson::PoissonSampler;

use burn_dp_accounting::{DpEvent, SamplingRate};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::seed::Seed;

/// How records enter a batch: what amplifies privacy, and what a run therefore has to draw.
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

    /// What draws the records of each step, out of `population`.
    pub(crate) fn sampler(self, seed: &Seed, population: usize) -> Result<Sampler> {
        match self {
            Self::Poisson { rate } => {
                PoissonSampler::new(seed, rate, population).map(Sampler::Poisson)
            }
        }
    }

    /// After "Sampling: ".
    pub(crate) fn in_words(self) -> String {
        match self {
            Self::Poisson { rate } => format!(
                "Poisson, each record enters each batch independently with probability {}",
                rate.value()
            ),
        }
    }
}

/// What draws the records of a run's steps. A pure function of the step's number.
pub(crate) enum Sampler {
    Poisson(PoissonSampler),
}

impl Sampler {
    /// The records of step `step`, ascending and without repetition.
    pub(crate) fn sample(&self, step: u64) -> Vec<usize> {
        match self {
            Self::Poisson(sampler) => sampler.sample(step),
        }
    }
}
