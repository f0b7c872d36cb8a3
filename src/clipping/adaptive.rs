//! Clipping to a quantile of the gradient norms (Andrew et al. 2019, arXiv 1905.03871).

use burn_dp_accounting::ClippingNorm;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, SettingError};

/// The factor by which the clipping norm may leave its initial value, unless bounds are set.
const DEFAULT_RANGE: f64 = 1e6;

/// The settings of [`Clipping::Adaptive`](super::Clipping::Adaptive).
///
/// Each step also releases how many records had a norm of at most C: the sum of b_i − 1/2 over the
/// batch, plus Gaussian noise of standard deviation σ_b. b_i is 1 for such a record and 0
/// otherwise. Because the sum is centered, one record moves it by 1/2 instead of 1. C then follows
/// C ← C · e^(−η (b̃ − γ)), where b̃ is the noised fraction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct AdaptiveClipping {
    pub(super) initial: ClippingNorm,
    quantile: f64,
    learning_rate: f64,
    count_noise_std: f64,
    smallest: ClippingNorm,
    largest: ClippingNorm,
}

impl AdaptiveClipping {
    /// Starts at `initial` and follows the `quantile` (γ; the paper suggests 0.5) with the
    /// geometric `learning_rate` (η; the paper suggests 0.2). `count_noise_std` (σ_b) is in
    /// records; the paper uses a twentieth of the expected batch size.
    ///
    /// # Errors
    /// [`SettingError`] where γ is not strictly between 0 and 1, or η or σ_b is not finite
    /// and greater than 0.
    pub fn new(
        initial: ClippingNorm,
        quantile: f64,
        learning_rate: f64,
        count_noise_std: f64,
    ) -> Result<Self, SettingError> {
        if !(quantile > 0.0 && quantile < 1.0) {
            return Err(SettingError::invalid(
                "quantile",
                quantile,
                "greater than 0 and less than 1",
            ));
        }
        for (name, value) in
            [("learning_rate", learning_rate), ("count_noise_std", count_noise_std)]
        {
            if !(value.is_finite() && value > 0.0) {
                return Err(SettingError::invalid(name, value, "finite and greater than 0"));
            }
        }
        let within = |norm: f64| norm.clamp(f64::MIN_POSITIVE, f64::MAX);
        Ok(Self {
            initial,
            quantile,
            learning_rate,
            count_noise_std,
            smallest: ClippingNorm::try_from(within(initial.value() / DEFAULT_RANGE))?,
            largest: ClippingNorm::try_from(within(initial.value() * DEFAULT_RANGE))?,
        })
    }

    /// Keeps the clipping norm between these public bounds. By default it may leave its initial
    /// value by a factor of a million.
    ///
    /// # Errors
    /// [`SettingError`] where the initial clipping norm is not between them.
    pub fn with_bounds(
        mut self,
        smallest: ClippingNorm,
        largest: ClippingNorm,
    ) -> Result<Self, SettingError> {
        if !(smallest <= self.initial && self.initial <= largest) {
            return Err(SettingError::invalid(
                "initial clipping norm",
                self.initial.value(),
                "between the bounds of adaptive clipping",
            ));
        }
        (self.smallest, self.largest) = (smallest, largest);
        Ok(self)
    }

    /// γ, the fraction of records whose gradients should not be clipped.
    pub const fn quantile(&self) -> f64 {
        self.quantile
    }

    /// η. The logarithm of the clipping norm moves by this much per unit of error.
    pub const fn learning_rate(&self) -> f64 {
        self.learning_rate
    }

    /// σ_b, the standard deviation of the noise on the centered count, in records.
    pub const fn count_noise_std(&self) -> f64 {
        self.count_noise_std
    }

    /// How far one record moves the centered count: 1/2.
    pub const fn count_sensitivity(&self) -> f64 {
        0.5
    }

    /// Moves `norm` into the public bounds, for a state from elsewhere.
    pub(super) fn within_bounds(&self, norm: ClippingNorm) -> ClippingNorm {
        if norm < self.smallest {
            self.smallest
        } else if norm > self.largest {
            self.largest
        } else {
            norm
        }
    }

    /// C ← C · e^(−η (b̃ − γ)), kept within the public bounds.
    pub(super) fn next(
        &self,
        clipping_norm: ClippingNorm,
        noised_fraction_below: f64,
    ) -> Result<ClippingNorm> {
        if !noised_fraction_below.is_finite() {
            return Err(Error::setting("noised_fraction_below", noised_fraction_below, "finite"));
        }
        let error = noised_fraction_below - self.quantile;
        let moved = clipping_norm.value() * (-self.learning_rate * error).exp();
        // `max` and `min` cannot fail where `clamp` could, and both bounds are finite and positive.
        Ok(ClippingNorm::new(moved.max(self.smallest.value()).min(self.largest.value()))?)
    }
}

/// The state of clipping, carried from step to step and saved in checkpoints: the current clipping
/// norm.
///
/// It changes only under adaptive clipping, and depends on noised counts alone, so it may be
/// published.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClippingState {
    pub(super) clipping_norm: ClippingNorm,
}

impl ClippingState {
    /// The bound on one record's contribution, in the gradient's unit.
    pub const fn clipping_norm(&self) -> ClippingNorm {
        self.clipping_norm
    }
}

#[derive(Serialize, Deserialize)]
struct Stored {
    initial: ClippingNorm,
    quantile: f64,
    learning_rate: f64,
    count_noise_std: f64,
    smallest: ClippingNorm,
    largest: ClippingNorm,
}

impl From<AdaptiveClipping> for Stored {
    fn from(adaptive: AdaptiveClipping) -> Self {
        let AdaptiveClipping {
            initial,
            quantile,
            learning_rate,
            count_noise_std,
            smallest,
            largest,
        } = adaptive;
        Self { initial, quantile, learning_rate, count_noise_std, smallest, largest }
    }
}

impl TryFrom<Stored> for AdaptiveClipping {
    type Error = SettingError;

    fn try_from(stored: Stored) -> Result<Self, SettingError> {
        let Stored { initial, quantile, learning_rate, count_noise_std, smallest, largest } =
            stored;
        Self::new(initial, quantile, learning_rate, count_noise_std)?.with_bounds(smallest, largest)
    }
}
