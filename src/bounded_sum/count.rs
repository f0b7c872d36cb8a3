//! The count that adaptive clipping releases beside a sum (Andrew et al. 2021, arXiv 1905.03871).

use crate::clipping::ClippingState;
use crate::error::Result;
use crate::noise::noised;
use crate::plan::PrivacyPlan;
use crate::seed::{Domain, Seed};

/// The clipping of the next step. Only under adaptive clipping it changes: by `below`, the centered count of contributions that
/// were not clipped, once noise is on it. The plan's noise multiplier pays for that noise.
///
/// # Errors
/// [`Error::Setting`](crate::Error::Setting) for noise that single precision cannot hold.
pub(crate) fn next_clipping(
    plan: &PrivacyPlan,
    mut state: ClippingState,
    below: f64,
    (seed, step): (&Seed, u64),
) -> Result<ClippingState> {
    if let Some(std) = plan.count_noise_std() {
        for count in noised(&[below], seed, Domain::CountNoise, step, 0, std)? {
            state.update(plan.clipping(), plan.noised_fraction_below(f64::from(count)))?;
        }
    }
    Ok(state)
}
