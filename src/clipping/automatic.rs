//! Normalizing every gradient (AUTO-S, Bu et al. 2022, arXiv 2206.07136).

use burn_dp_accounting::ClippingNorm;
use serde::{Deserialize, Serialize};

use super::factor::rounded_down;
use crate::error::SettingError;

/// The settings of [`Clipping::Automatic`](super::Clipping::Automatic).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredAutomatic", into = "StoredAutomatic")]
pub struct AutomaticClipping {
    pub(super) clipping_norm: ClippingNorm,
    stability: f64,
}

impl AutomaticClipping {
    pub(super) fn new(clipping_norm: ClippingNorm, stability: f64) -> Result<Self, SettingError> {
        if !(stability.is_finite() && stability > 0.0) {
            return Err(SettingError::invalid("stability", stability, "finite and greater than 0"));
        }
        Ok(Self { clipping_norm, stability })
    }

    /// R, which the norm of a normalized gradient stays below.
    pub const fn clipping_norm(&self) -> ClippingNorm {
        self.clipping_norm
    }

    /// γ, in the gradient's unit.
    pub const fn stability(&self) -> f64 {
        self.stability
    }

    pub(super) fn factor(&self, norm: f64) -> f64 {
        if !norm.is_finite() || norm < 0.0 {
            return 0.0;
        }
        rounded_down(self.clipping_norm.value() / (norm + self.stability))
    }
}

#[derive(Serialize, Deserialize)]
struct StoredAutomatic {
    clipping_norm: ClippingNorm,
    stability: f64,
}

impl From<AutomaticClipping> for StoredAutomatic {
    fn from(AutomaticClipping { clipping_norm, stability }: AutomaticClipping) -> Self {
        Self { clipping_norm, stability }
    }
}

impl TryFrom<StoredAutomatic> for AutomaticClipping {
    type Error = SettingError;

    fn try_from(stored: StoredAutomatic) -> Result<Self, SettingError> {
        Self::new(stored.clipping_norm, stored.stability)
    }
}
