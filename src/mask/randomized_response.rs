//! Local differential privacy for masks.

use super::aggregate::MaskShares;
use super::mask_set::MaskSet;
use crate::error::{Error, Result};
use crate::privacy::{DpEvent, Epsilon, SamplingRate};
use crate::sampling::PoissonSampler;
use crate::seed::Seed;

/// Above this ε a bit is hardly ever flipped.
const LARGEST: f64 = 8.0;

/// Randomized response (Warner 1965) on each bit of a mask, before it leaves the client. A bit is
/// flipped with probability 1 / (1 + e^ε). This is ε-differentially private for that bit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomizedResponse {
    epsilon: Epsilon,
    flip: f64,
}

impl RandomizedResponse {
    /// A response with this ε for each bit.
    ///
    /// # Errors
    /// [`Error::Setting`] for an ε of 0 or above 8.
    pub fn new(epsilon_per_bit: Epsilon) -> Result<Self> {
        let epsilon = epsilon_per_bit.value();
        if !(epsilon > 0.0 && epsilon <= LARGEST) {
            return Err(Error::setting("epsilon_per_bit", epsilon, "above 0 and at most 8"));
        }
        // Rounded up: flipping more often than needed is still private. (Two steps, for exp and the
        // division.)
        let flip = (1.0 / (1.0 + libm::exp(epsilon))).next_up().next_up().next_up();
        Ok(Self { epsilon: epsilon_per_bit, flip })
    }

    /// The probability that a bit is flipped.
    pub fn flip_probability(&self) -> f64 {
        self.flip
    }

    /// The masks with bits flipped. One (seed, `round`) must never be used twice, and never by two
    /// clients.
    ///
    /// # Errors
    /// [`Error::Setting`] for masks of more than 2^48 bits.
    pub fn respond(&self, masks: &MaskSet, seed: &Seed, round: u64) -> Result<MaskSet> {
        let mut answer = masks.clone();
        let rate = SamplingRate::new(self.flip)?;
        for (index, layer) in answer.layers.iter_mut().enumerate() {
            // The bits to flip are a Poisson sample of them all.
            let flips = PoissonSampler::new(&seed.child(index as u64), rate, layer.bits.len())?;
            for place in flips.sample(round) {
                if let Some(bit) = layer.bits.get_mut(place) {
                    *bit = !*bit;
                }
            }
        }
        Ok(answer)
    }

    /// The cost to one client: ε for each of `scores` bits, because a client's data may change them
    /// all.
    ///
    /// # Errors
    /// [`Error::Setting`] if the product is not finite.
    pub fn event(&self, scores: usize) -> Result<DpEvent> {
        let epsilon = (self.epsilon.value() * scores as f64).next_up();
        Ok(DpEvent::PureDp { epsilon: Epsilon::new(epsilon)? })
    }

    /// An unbiased estimate of the original shares from the shares of flipped masks: (share - f) /
    /// (1 - 2f).
    #[must_use]
    pub fn unbiased(&self, shares: MaskShares) -> MaskShares {
        let flip = self.flip;
        shares.map(|share| (share - flip) / (1.0 - 2.0 * flip))
    }
}
