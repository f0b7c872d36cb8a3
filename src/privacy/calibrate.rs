//! The least noise that meets a privacy target.

use super::accountant::Accountant;
use super::event::DpEvent;
use super::types::{Delta, Epsilon, NoiseMultiplier};
use crate::error::{Error, Result};

/// The largest noise multiplier that is tried.
const LARGEST: f64 = 1e9;

/// The answer is at most this much (relatively) above the least noise multiplier.
const TOLERANCE: f64 = 1e-6;

/// The least noise multiplier, to a relative 1e-6, for which a run meets (ε, δ).
///
/// `accountant` makes an empty accountant; `run` builds the event of the *whole* run for a noise
/// multiplier, and its cost must not rise with the noise. The answer never overshoots: ε of the
/// returned multiplier was itself computed and is at most `target`, because bisection returns the
/// safe end of its bracket. A run that costs nothing needs no noise and gets 0.
///
/// # Errors
/// [`Error::InvalidSetting`] for an infinite target, [`Error::UnreachableTarget`] where no noise
/// multiplier up to 1e9 is enough, and whatever `run` or the accountant return.
pub fn calibrate_noise_multiplier<A: Accountant>(
    target: Epsilon,
    delta: Delta,
    accountant: impl Fn() -> A,
    run: impl Fn(NoiseMultiplier) -> Result<DpEvent>,
) -> Result<NoiseMultiplier> {
    if !target.is_finite() {
        return Err(Error::setting("target epsilon", target.value(), "finite"));
    }
    let enough = |noise_multiplier: f64| -> Result<bool> {
        let mut accountant = accountant();
        accountant.compose(&run(NoiseMultiplier::new(noise_multiplier)?)?, 1)?;
        Ok(accountant.epsilon(delta) <= target)
    };
    if enough(0.0)? {
        return NoiseMultiplier::new(0.0);
    }

    let (mut low, mut high) = (0.5, 1.0);
    while !enough(high)? {
        if high > LARGEST {
            return Err(Error::UnreachableTarget {
                epsilon: target.value(),
                delta: delta.value(),
                largest: LARGEST,
            });
        }
        (low, high) = (high, high * 2.0);
    }
    // ε grows without bound as the noise vanishes, so this ends; should an accountant stay below
    // the target, the smallest multiplier that was found to be enough is the answer.
    while low < high / 1.5 && enough(low)? {
        (low, high) = (low / 2.0, low);
        if low < f64::MIN_POSITIVE {
            return NoiseMultiplier::new(high);
        }
    }
    while high > low * (1.0 + TOLERANCE) {
        let middle = (low * high).sqrt();
        if enough(middle)? { high = middle } else { low = middle }
    }
    NoiseMultiplier::new(high)
}
