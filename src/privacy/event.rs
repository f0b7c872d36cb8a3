//! What was released, as data; accountants interpret it.

use serde::{Deserialize, Serialize};

use super::types::{NoiseMultiplier, SamplingRate};

/// One release, or several, described by its distribution and never by its cost.
///
/// A noise multiplier is the standard deviation of the noise divided by the clipping norm C, the
/// largest L2 norm that *one record contributes* to the released sum. It does not change with the
/// adjacency: under replace-one the sum moves by up to 2C while the noise stays z·C, and doubling
/// is the accountant's work, never the caller's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DpEvent {
    /// A sum over all records plus independent Gaussian noise of mean 0 and standard deviation z·C
    /// in each coordinate, where each record contributes at most C in L2 norm.
    Gaussian {
        /// z = noise standard deviation / C, without unit.
        noise_multiplier: NoiseMultiplier,
    },
    /// `event` applied to a batch into which each record enters independently with probability
    /// `rate`, drawn afresh for this event. A shuffled or fixed-size loader is *not* this event.
    PoissonSampled {
        /// The probability of each record to be in the batch.
        rate: SamplingRate,
        /// What is released about the batch.
        event: Box<DpEvent>,
    },
    /// All of these events on the same data, each possibly chosen in the light of earlier results,
    /// with parameters that were fixed in advance.
    Composed(Vec<DpEvent>),
    /// `count` runs of `event`, each with fresh randomness.
    SelfComposed {
        /// What is run.
        event: Box<DpEvent>,
        /// How many times.
        count: u64,
    },
}

impl DpEvent {
    /// A Gaussian release on all records.
    pub const fn gaussian(noise_multiplier: NoiseMultiplier) -> Self {
        Self::Gaussian { noise_multiplier }
    }

    /// One step of DP-SGD (Abadi et al. 2016, arXiv 1607.00133): a Gaussian release on a
    /// Poisson-sampled batch.
    pub fn poisson_sampled_gaussian(rate: SamplingRate, noise_multiplier: NoiseMultiplier) -> Self {
        Self::PoissonSampled { rate, event: Box::new(Self::gaussian(noise_multiplier)) }
    }

    /// This event, `count` times.
    pub fn repeated(self, count: u64) -> Self {
        Self::SelfComposed { event: Box::new(self), count }
    }
}
