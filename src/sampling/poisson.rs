//! Poisson sampling: every record enters independently.

use burn_dp_accounting::SamplingRate;
use rand::Rng;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::seed::{Domain, DomainKey, Seed, Stream};

/// The number of records for which one region of the keystream is used, 64 bits each.
const BLOCK: usize = 1 << 16;

/// The number of records for which one stream is used: far fewer than its regions would allow.
const LARGEST_POPULATION: u64 = 1 << 48;

/// Draws each step's records: every record independently, with probability q.
///
/// Amplification by Poisson subsampling assumes this sampling (Abadi et al. 2016; Mironov, Talwar
/// and Zhang 2019, section 2.3). Batch sizes vary, Binomial(n, q) distributed, and an empty batch
/// is a step like any other. Steps are independent of each other. The records of step t are a pure
/// function of (seed, t), so the number of the step is the sampler's whole state.
///
/// # Exactness
/// A record enters if its 64 random bits, read as a number, are below ⌊q · 2^64⌋. For q >= 2^-12
/// the probability is q itself. Otherwise it is lower than q by less than 2^-64. It is never
/// higher, so the accounted privacy loss is an upper bound.
///
/// Under add/remove adjacency the number of records is private, and so are the batches drawn and their sizes.
#[derive(Debug)]
pub struct PoissonSampler {
    rate: SamplingRate,
    population: usize,
    key: DomainKey,
}

impl PoissonSampler {
    /// A sampler of the records 0, 1, ..., `population` - 1 at the public `rate` q.
    ///
    /// Two samplers of one seed draw the same numbers. Give the second one a [`child`](Seed::child)
    /// of the seed.
    ///
    /// # Errors
    /// [`Error::Setting`] if `population` exceeds 2^48.
    pub fn new(seed: &Seed, rate: SamplingRate, population: usize) -> Result<Self> {
        if u64::try_from(population).is_ok_and(|n| n <= LARGEST_POPULATION) {
            Ok(Self { rate, population, key: seed.domain(Domain::Sampling) })
        } else {
            Err(Error::setting("population", population, "at most 2^48 records"))
        }
    }

    /// The records of step `step`, ascending and without repetition. There may be none.
    pub fn sample(&self, step: u64) -> Vec<usize> {
        let Some(largest) = largest_included(self.rate.value()) else { return Vec::new() };
        let stream = self.key.stream(step, 0);
        if self.population <= BLOCK {
            return included(&stream, 0, 0..self.population, largest);
        }
        let blocks: Vec<Vec<usize>> = (0..self.population.div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| {
                let start = block * BLOCK;
                let end = (start + BLOCK).min(self.population);
                included(&stream, block, start..end, largest)
            })
            .collect();
        blocks.concat()
    }

    /// The probability q with which each record enters a step.
    pub const fn rate(&self) -> SamplingRate {
        self.rate
    }

    /// The size of the population. It is private under add/remove adjacency.
    pub const fn population(&self) -> usize {
        self.population
    }
}

/// ⌊q · 2^64⌋ - 1, the largest draw that includes a record; none if no draw does.
fn largest_included(rate: f64) -> Option<u64> {
    // 2^64 scales without rounding, the cast rounds down, and u128 holds the 2^64 of q = 1.
    let below = (rate * 2_f64.powi(64)) as u128;
    below.checked_sub(1).and_then(|largest| u64::try_from(largest).ok())
}

fn included(
    stream: &Stream,
    region: usize,
    records: core::ops::Range<usize>,
    largest: u64,
) -> Vec<usize> {
    let mut rng = stream.region(region);
    records.filter(|_| rng.next_u64() <= largest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SettingError;

    const TWO_TO_MINUS_64: f64 = 1.0 / (u64::MAX as f64 + 1.0);

    fn rate(q: f64) -> SamplingRate {
        SamplingRate::new(q).expect("a test's rate is valid")
    }

    #[test]
    fn inclusion_probability_never_exceeds_the_rate() {
        assert_eq!(largest_included(0.0), None);
        assert_eq!(largest_included(-0.0), None);
        assert_eq!(largest_included(TWO_TO_MINUS_64 * 0.99), None);
        assert_eq!(largest_included(TWO_TO_MINUS_64), Some(0));
        assert_eq!(largest_included(TWO_TO_MINUS_64 * 2.99), Some(1));
        assert_eq!(largest_included(0.5), Some(u64::MAX / 2));
        assert_eq!(largest_included(1.0), Some(u64::MAX));
        let just_below_one = 1.0 - f64::EPSILON / 2.0;
        assert_eq!(largest_included(just_below_one), Some(u64::MAX - 2048));
    }

    #[test]
    fn inclusion_probability_is_the_rate_itself_from_2_to_the_minus_12_on() {
        for q in [2_f64.powi(-12), 0.001, 0.01, 1.0 / 3.0, 0.1, 0.7, 1.0 - f64::EPSILON] {
            let included = largest_included(q).map_or(0, |largest| u128::from(largest) + 1);
            // Two 32-bit halves: each is exact in f64, and so is their sum when it is q.
            let (high, low) = ((included >> 32) as f64, (included & 0xffff_ffff) as f64);
            assert_eq!((high + low / 2_f64.powi(32)) / 2_f64.powi(32), q, "q = {q}");
        }
    }

    #[test]
    fn an_impossible_population_is_refused() {
        let seed = Seed::reproducible(1);
        let largest = usize::try_from(LARGEST_POPULATION).expect("tests run on 64 bits");
        assert!(PoissonSampler::new(&seed, rate(0.1), largest).is_ok());
        assert!(matches!(
            PoissonSampler::new(&seed, rate(0.1), largest + 1),
            Err(Error::Setting(SettingError::Invalid { name: "population", .. }))
        ));
        assert!(PoissonSampler::new(&seed, rate(0.1), usize::MAX).is_err());
    }

    #[test]
    fn rate_zero_draws_nothing_at_once_whatever_the_population() {
        let largest = usize::try_from(LARGEST_POPULATION).expect("tests run on 64 bits");
        let sampler = PoissonSampler::new(&Seed::reproducible(1), rate(0.0), largest);
        assert!(sampler.is_ok_and(|sampler| sampler.sample(0).is_empty()));
    }

    #[test]
    fn debug_shows_no_key() {
        let sampler = PoissonSampler::new(&Seed::reproducible(1), rate(0.5), 3);
        let shown = sampler.map(|sampler| format!("{sampler:?}")).unwrap_or_default();
        assert!(shown.contains("DomainKey(Key(..))"), "{shown}");
    }
}
