//! The factor that brings a norm to a bound.

use burn_dp_accounting::ClippingNorm;

/// min(1, C/norm), rounded down so that factor · norm ≤ C also once the factor is an `f32`.
///
/// A norm that is NaN, infinite or negative gives 0: such a record contributes nothing.
pub fn clip_factor(norm: f64, clipping_norm: ClippingNorm) -> f64 {
    if !norm.is_finite() || norm < 0.0 {
        0.0
    } else if norm <= clipping_norm.value() {
        1.0
    } else {
        rounded_down(clipping_norm.value() / norm)
    }
}

/// Rounding to `f32` is off by at most 2^-24 relative, and below its normal range by anything.
pub(super) fn rounded_down(factor: f64) -> f64 {
    let lowered = factor.min(f64::from(f32::MAX)) * (1.0 - f64::from(f32::EPSILON));
    if lowered < f64::from(f32::MIN_POSITIVE) { 0.0 } else { lowered }
}
