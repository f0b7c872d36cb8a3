//! Choosing parameters by the private data, as a part of the plan.

use burn_dp_accounting::{ClippingNorm, DpEvent, NoiseMultiplier, SamplingRate};
use serde::{Deserialize, Serialize};

use crate::sampling::Sampling;

/// One release of gradient norms, by which parameters are selected
/// ([`TopGradientNorm`](crate::selection::TopGradientNorm)): each record of a Poisson sample contributes
/// a vector of norms, one for each group of parameters, clipped to `clipping_norm`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PrivateSelection {
    /// Each record enters the sample independently with this probability.
    pub sampling_rate: SamplingRate,
    /// z: noise standard deviation / `clipping_norm`.
    pub noise_multiplier: NoiseMultiplier,
    /// The L2 norm to which a record's vector is clipped, in the gradient's unit.
    pub clipping_norm: ClippingNorm,
}

impl PrivateSelection {
    /// The event to record for it.
    pub fn event(&self) -> DpEvent {
        let noise_multiplier = self.noise_multiplier;
        self.sampling().event(DpEvent::GaussianSelection { noise_multiplier })
    }

    pub(crate) fn sampling(&self) -> Sampling {
        Sampling::Poisson { rate: self.sampling_rate }
    }

    /// The standard deviation of the noise on each sum of norms, in the gradient's unit.
    pub fn noise_std(&self) -> f64 {
        self.noise_multiplier.value() * self.clipping_norm.value()
    }
}
