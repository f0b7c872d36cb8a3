//! Building a plan: every way in, including deserialisation, runs the same checks.

use serde::{Deserialize, Serialize};

use burn_dp_accounting::{
    Accountant, Adjacency, Delta, DpEvent, Epsilon, ExpectedBatchSize, NoiseMultiplier,
    PrivacyAccountant, SamplingRate, Steps, calibrate_noise_multiplier,
};

use super::selection::PrivateSelection;
use super::{PrivacyPlan, run_event};
use crate::clipping::Clipping;
use crate::error::{Error, Result, SettingError};

/// Collects the settings of a [`PrivacyPlan`].
///
/// Everything but the adjacency must be set; the noise comes from exactly one of
/// [`noise_multiplier`](Self::noise_multiplier) and [`target`](Self::target).
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct PrivacyPlanBuilder {
    sampling_rate: Option<SamplingRate>,
    expected_batch_size: Option<ExpectedBatchSize>,
    steps: Option<Steps>,
    clipping: Option<Clipping>,
    adjacency: Adjacency,
    selection: Option<PrivateSelection>,
    noise_multiplier: Option<NoiseMultiplier>,
    target: Option<(Epsilon, Delta)>,
}

impl PrivacyPlanBuilder {
    /// Checks the settings and, for a target, calibrates the noise.
    ///
    /// # Errors
    /// [`Error::Setting`] names what was not set, or what excludes each other (a noise multiplier and a target), and
    /// where a target ε is infinite or adaptive clipping leaves no noise budget for the gradient (2σ_b ≤ z);
    /// [`Error::Accounting`] where no noise is enough.
    pub fn build(self) -> Result<PrivacyPlan> {
        let sampling_rate = self.sampling_rate.ok_or_else(|| missing("sampling_rate"))?;
        let expected_batch_size =
            self.expected_batch_size.ok_or_else(|| missing("expected_batch_size"))?;
        let steps = self.steps.ok_or_else(|| missing("steps"))?;
        let clipping = self.clipping.ok_or_else(|| missing("clipping"))?;
        let (adjacency, selection) = (self.adjacency, self.selection);
        let noise_multiplier = match (self.noise_multiplier, self.target) {
            (Some(noise_multiplier), None) => noise_multiplier,
            (None, Some((epsilon, delta))) => {
                let run = |noise_multiplier| {
                    let step = DpEvent::poisson_sampled_gaussian(sampling_rate, noise_multiplier);
                    Ok(run_event(selection, step, steps))
                };
                let accountant = || PrivacyAccountant::new(adjacency);
                let least = calibrate_noise_multiplier(epsilon, delta, accountant, run)?;
                let readable = rounded_up(least)?;
                // Numerical bounds are not monotone in their last digits.
                let mut accountant = accountant();
                accountant.compose(&run(readable)?, 1)?;
                if accountant.epsilon(delta) <= epsilon { readable } else { least }
            }
            (None, None) => return Err(missing("noise_multiplier or target")),
            (Some(_), Some(_)) => {
                return Err(Error::Setting(SettingError::Conflicting {
                    first: "noise_multiplier",
                    second: "target",
                }));
            }
        };
        Stored {
            version: VERSION,
            sampling_rate,
            expected_batch_size,
            steps,
            clipping,
            adjacency,
            selection,
            noise_multiplier,
            target: self.target,
        }
        .into_plan()
    }

    /// q: each record enters each batch independently with this probability.
    pub fn sampling_rate(mut self, sampling_rate: SamplingRate) -> Self {
        self.sampling_rate = Some(sampling_rate);
        self
    }

    /// The public number by which the noised sum is divided, the same at every step.
    pub fn expected_batch_size(mut self, expected_batch_size: ExpectedBatchSize) -> Self {
        self.expected_batch_size = Some(expected_batch_size);
        self
    }

    /// The number of logical steps of the whole run.
    pub fn steps(mut self, steps: Steps) -> Self {
        self.steps = Some(steps);
        self
    }

    /// How one record's gradient is bounded.
    pub fn clipping(mut self, clipping: Clipping) -> Self {
        self.clipping = Some(clipping);
        self
    }

    /// The neighbouring relation of the guarantee; [`Adjacency::AddRemove`] unless set.
    pub fn adjacency(mut self, adjacency: Adjacency) -> Self {
        self.adjacency = adjacency;
        self
    }

    /// Lets the run start with a selection of parameters by the private data, and pays for it: a target ε
    /// covers it and all steps.
    pub fn selection(mut self, selection: PrivateSelection) -> Self {
        self.selection = Some(selection);
        self
    }

    /// The noise multiplier z, accounted over everything that a step releases.
    pub fn noise_multiplier(mut self, noise_multiplier: NoiseMultiplier) -> Self {
        self.noise_multiplier = Some(noise_multiplier);
        self
    }

    /// The ε that the whole run must not exceed at δ: [`build`](Self::build) finds the least noise.
    pub fn target(mut self, epsilon: Epsilon, delta: Delta) -> Self {
        self.target = Some((epsilon, delta));
        self
    }
}

/// Nine significant digits, so that it reads well and comes back the same from any text format.
fn rounded_up(noise_multiplier: NoiseMultiplier) -> Result<NoiseMultiplier> {
    let z = noise_multiplier.value();
    if z == 0.0 {
        return Ok(noise_multiplier);
    }
    let unit = 10.0_f64.powi(8 - z.log10().floor() as i32);
    NoiseMultiplier::new(((z * unit).ceil() / unit).max(z))
}

fn missing(name: &'static str) -> Error {
    Error::Setting(SettingError::Missing { name })
}

/// The serialised form that this version writes and reads.
const VERSION: u32 = 1;

/// What a plan is made of, without what follows from it.
#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    version: u32,
    sampling_rate: SamplingRate,
    expected_batch_size: ExpectedBatchSize,
    steps: Steps,
    clipping: Clipping,
    adjacency: Adjacency,
    selection: Option<PrivateSelection>,
    noise_multiplier: NoiseMultiplier,
    target: Option<(Epsilon, Delta)>,
}

impl Stored {
    fn into_plan(self) -> Result<PrivacyPlan> {
        let gradient_noise_multiplier =
            gradient_noise_multiplier(&self.clipping, self.noise_multiplier)?;
        let fingerprint = fingerprint(&self)?;
        Ok(PrivacyPlan {
            sampling_rate: self.sampling_rate,
            expected_batch_size: self.expected_batch_size,
            steps: self.steps,
            clipping: self.clipping,
            adjacency: self.adjacency,
            selection: self.selection,
            noise_multiplier: self.noise_multiplier,
            target: self.target,
            gradient_noise_multiplier,
            fingerprint,
        })
    }
}

impl From<PrivacyPlan> for Stored {
    fn from(plan: PrivacyPlan) -> Self {
        Self {
            version: VERSION,
            sampling_rate: plan.sampling_rate,
            expected_batch_size: plan.expected_batch_size,
            steps: plan.steps,
            clipping: plan.clipping,
            adjacency: plan.adjacency,
            selection: plan.selection,
            noise_multiplier: plan.noise_multiplier,
            target: plan.target,
        }
    }
}

impl TryFrom<Stored> for PrivacyPlan {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        if stored.version != VERSION {
            return Err(Error::setting(
                "privacy plan version",
                stored.version,
                "1, the version that this release reads",
            ));
        }
        let plan = stored.into_plan()?;
        // An edited file must not claim a target that its noise does not meet. Another machine's
        // transform may round the last digits of the same ε otherwise.
        let above =
            |epsilon: Epsilon, delta| plan.epsilon(delta).value() > epsilon.value() * (1.0 + 1e-9);
        match plan.target {
            Some((epsilon, delta)) if above(epsilon, delta) || !epsilon.is_finite() => {
                Err(Error::setting(
                    "noise_multiplier",
                    plan.noise_multiplier.value(),
                    "large enough for the plan's target",
                ))
            }
            _ => Ok(plan),
        }
    }
}

/// z_Δ: the gradient sum, scaled to sensitivity 1, has noise z_Δ; the centred count, of sensitivity
/// 1/2, has noise σ_b. Together they are one Gaussian release with z^−2 = z_Δ^−2 + (2σ_b)^−2.
/// Replace-one doubles both sensitivities, so the relation is the same.
fn gradient_noise_multiplier(
    clipping: &Clipping,
    noise_multiplier: NoiseMultiplier,
) -> Result<NoiseMultiplier> {
    let adaptive = match clipping {
        Clipping::Adaptive(adaptive) => adaptive,
        Clipping::Flat { .. } | Clipping::Automatic(_) | Clipping::PerGroup(_) => {
            return Ok(noise_multiplier);
        }
    };
    let count = adaptive.count_noise_std() / adaptive.count_sensitivity();
    noise_multiplier.beside(count).ok_or_else(|| {
        Error::setting(
            "count_noise_std",
            adaptive.count_noise_std(),
            "greater than half the noise multiplier, or no noise budget is left for the gradient",
        )
    })
}

/// 64-bit FNV-1a over the MessagePack form: the same on every machine.
fn fingerprint(stored: &Stored) -> Result<u64> {
    let bytes = rmp_serde::to_vec(stored)
        .map_err(|error| Error::setting("privacy plan", error, "serialisable"))?;
    Ok(bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}
