//! The least noise, the most steps and the largest sampling rate that meet a privacy target.

mod search;

use self::search::{Snap, boundary};
use super::accountant::Accountant;
use super::event::DpEvent;
use super::quantities::{Delta, Epsilon, NoiseMultiplier, SamplingRate, Steps};
use crate::error::{Error, Result};

/// The largest noise multiplier that is tried.
const LARGEST_NOISE: f64 = 1e9;

/// The smallest sampling rate above 0 that is tried.
const SMALLEST_RATE: f64 = 1e-15;

/// The largest number of steps that is tried: all integers up to here are exact in an `f64`.
const MOST_STEPS: f64 = 9_007_199_254_740_992.0;

/// Noise multipliers and sampling rates are at most this much (relatively) on the safe side.
const TOLERANCE: f64 = 1e-6;

/// The least noise multiplier, to a relative 1e-6, for which a run meets (ε, δ).
///
/// `accountant` makes an empty accountant; `run` builds the event of the *whole* run for a noise
/// multiplier, and its cost must not rise with the noise. The answer never overshoots: ε of the
/// returned multiplier was itself computed and is at most `target`. A run that costs nothing needs
/// no noise and gets 0. About ten evaluations of the accountant are needed.
///
/// # Errors
/// [`Error::Setting`] for an infinite target, [`Error::UnreachableTarget`] where no noise
/// multiplier up to 1e9 is enough, and whatever `run` or the accountant return.
pub fn calibrate_noise_multiplier<A: Accountant>(
    target: Epsilon,
    delta: Delta,
    accountant: impl Fn() -> A,
    run: impl Fn(NoiseMultiplier) -> Result<DpEvent>,
) -> Result<NoiseMultiplier> {
    finite(target)?;
    let cost = |noise_multiplier: f64| {
        let event = run(NoiseMultiplier::new(noise_multiplier)?)?;
        excess(&accountant, &event, 1, target, delta)
    };
    if cost(0.0)? <= 0.0 {
        return NoiseMultiplier::new(0.0);
    }
    let least = boundary(1.0, f64::MIN_POSITIVE..=LARGEST_NOISE, Snap::Above(TOLERANCE), cost)?;
    least.map_or_else(
        || {
            Err(Error::UnreachableTarget {
                epsilon: target.value(),
                delta: delta.value(),
                largest: LARGEST_NOISE,
            })
        },
        NoiseMultiplier::new,
    )
}

/// The largest number of runs of `event` that together meet (ε, δ). It is 0 if a single run is too much,
/// and 2^53 if even more runs would do.
///
/// ε of the answer was itself computed and is at most `target`; ε of one more run is above `target`. About
/// ten evaluations of the accountant are needed.
///
/// # Errors
/// [`Error::Setting`] for an infinite target, and whatever the accountant returns: it
/// refuses, for example, to count more than 2^64 − 1 of what `event` is made of.
pub fn affordable_steps<A: Accountant>(
    target: Epsilon,
    delta: Delta,
    accountant: impl Fn() -> A,
    event: &DpEvent,
) -> Result<Steps> {
    finite(target)?;
    let cost = |steps: f64| excess(&accountant, event, steps as u64, target, delta);
    let most = boundary(1.0, 1.0..=MOST_STEPS, Snap::Integer, cost)?;
    Ok(Steps::from(most.map_or(0, |steps| steps as u64)))
}

/// The largest sampling rate, to a relative 1e-6 and rounded down, for which a run meets (ε, δ).
///
/// `run` builds the event of the *whole* run for a sampling rate, and its cost must not fall with the
/// rate. ε of the answer was itself computed and is at most `target`. Rates below 1e-15 become 0.
///
/// # Errors
/// [`Error::Setting`] for an infinite target, and where the run costs more than `target`
/// even at rate 0; and whatever `run` or the accountant return.
pub fn affordable_sampling_rate<A: Accountant>(
    target: Epsilon,
    delta: Delta,
    accountant: impl Fn() -> A,
    run: impl Fn(SamplingRate) -> Result<DpEvent>,
) -> Result<SamplingRate> {
    finite(target)?;
    let cost = |rate: f64| {
        let event = run(SamplingRate::new(rate)?)?;
        excess(&accountant, &event, 1, target, delta)
    };
    if let Some(most) = boundary(1.0, SMALLEST_RATE..=1.0, Snap::Below(TOLERANCE), cost)? {
        return SamplingRate::new(most);
    }
    if cost(0.0)? > 0.0 {
        return Err(Error::setting(
            "target epsilon",
            target.value(),
            "at least what the run costs at sampling rate 0",
        ));
    }
    SamplingRate::new(0.0)
}

fn finite(target: Epsilon) -> Result<()> {
    if target.is_finite() {
        Ok(())
    } else {
        Err(Error::setting("target epsilon", target.value(), "finite"))
    }
}

/// log(ε / target) of `count` runs of `event`: at most 0 if they meet the target. It may be −∞ or +∞, but
/// never NaN: if ε and the target are both 0, the target is met; if ε is infinite, it is not.
fn excess<A: Accountant>(
    accountant: impl Fn() -> A,
    event: &DpEvent,
    count: u64,
    target: Epsilon,
    delta: Delta,
) -> Result<f64> {
    let mut accountant = accountant();
    accountant.compose(event, count)?;
    let epsilon = accountant.epsilon(delta);
    let log_ratio = epsilon.value().ln() - target.value().ln();
    // The comparison decides which side of 0 the answer is on, so the rounding of the logarithm cannot.
    Ok(if epsilon <= target { log_ratio.min(0.0) } else { log_ratio.max(f64::MIN_POSITIVE) })
}

#[cfg(test)]
mod tests;
