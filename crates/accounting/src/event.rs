//! What was released, as data; accountants interpret it.

use serde::{Deserialize, Serialize};

use super::quantities::{Epsilon, NoiseMultiplier, RunCount, SamplingRate, ZeroConcentration};

/// One release, or several, described by their distribution. What they cost is for an accountant to say.
///
/// A noise multiplier is the scale of the noise divided by the clipping norm C, the largest norm
/// that *one record contributes* to the released sum. It does not change with the adjacency: under
/// replace-one the sum moves by up to 2C while the noise stays z·C. The accountant does that doubling,
/// never the caller.
///
/// Some events are given by a cost: pure DP, zCDP, and selection by the exponential mechanism. Their cost
/// is the one for the adjacency that is accounted for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DpEvent {
    /// A sum over all records plus independent Gaussian noise of mean 0 and standard deviation z·C
    /// in each coordinate, where each record contributes at most C in L2 norm.
    Gaussian {
        /// z = noise standard deviation / C, without unit.
        noise_multiplier: NoiseMultiplier,
    },
    /// A sum over all records plus independent Laplace noise of scale z·C (standard deviation
    /// √2·z·C), where each record contributes at most C in L1 norm.
    Laplace {
        /// z = noise scale / C, without unit.
        noise_multiplier: NoiseMultiplier,
    },
    /// Any release that is ε-differentially private, such as randomized response.
    PureDp {
        /// Its ε.
        epsilon: Epsilon,
    },
    /// Any release that is ρ-zero-concentrated differentially private (Bun & Steinke 2016, arXiv
    /// 1605.02065): of Rényi divergence at most ρα at every order α.
    ZeroConcentrated {
        /// Its ρ.
        rho: ZeroConcentration,
    },
    /// A choice among scores with Gaussian noise. Each record contributes a vector of scores of L2 norm at
    /// most C. The noised sum is released, and with it the best k of its entries for any k.
    GaussianSelection {
        /// z = noise standard deviation / C, without unit.
        noise_multiplier: NoiseMultiplier,
    },
    /// The best of several scores by the exponential mechanism or by Gumbel noise, `selections`
    /// times, each with bounded range `epsilon` (Durfee & Rogers 2019, arXiv 1905.04273): no record moves
    /// the log-ratio of two candidates' probabilities by more than `epsilon`.
    ExponentialSelection {
        /// The ε of one selection.
        epsilon: Epsilon,
        /// How many selections are made. A one-shot Gumbel top-k counts as k of them.
        selections: u64,
    },
    /// `event` applied to a batch into which each record enters independently with probability
    /// `rate`, drawn afresh for this event. A shuffled or fixed-size loader is *not* this event.
    PoissonSampled {
        /// The probability of each record to be in the batch.
        rate: SamplingRate,
        /// What is released about the batch.
        event: Box<DpEvent>,
    },
    /// As [`PoissonSampled`](Self::PoissonSampled), but a batch of more than `largest_batch` records is cut
    /// to a uniformly random subset of that size.
    TruncatedPoissonSampled {
        /// The probability of each record to be drawn.
        rate: SamplingRate,
        /// The number of records in the data set, which is public. Under add/remove, that of the larger
        /// one.
        dataset_size: u64,
        /// The largest number of records that are kept.
        largest_batch: u64,
        /// What is released about the batch.
        event: Box<DpEvent>,
    },
    /// `event` applied to a uniformly random subset of exactly `batch_size` of the `dataset_size`
    /// records, drawn afresh for this event.
    SampledWithoutReplacement {
        /// The number of records in the data set, which is public.
        dataset_size: u64,
        /// The number of records in the batch.
        batch_size: u64,
        /// What is released about the batch.
        event: Box<DpEvent>,
    },
    /// All of these events on the same data. What each of them computes may depend on earlier results, but
    /// its parameters (noise, sampling rate, counts) were fixed in advance.
    Composed(Vec<DpEvent>),
    /// `count` runs of `event`, each with fresh randomness.
    SelfComposed {
        /// What is run.
        event: Box<DpEvent>,
        /// How many times.
        count: u64,
    },
    /// `event`, run a random number of times. Only the best result is released (Papernot & Steinke 2022,
    /// arXiv 2110.03620): hyperparameter tuning.
    RepeatAndSelect {
        /// One run.
        event: Box<DpEvent>,
        /// The distribution of the number of runs, which must be drawn afresh and kept secret.
        runs: RunCount,
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
