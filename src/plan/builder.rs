//! Building a plan.

use burn_dp_accounting::{
    Accountant, Adjacency, Delta, Epsilon, ExpectedBatchSize, Ledger, NoiseMultiplier,
    PrivacyAccountant, SamplingRate, Steps, calibrate_noise_multiplier,
};

use super::parts::Parts;
use super::privacy_plan::PrivacyPlan;
use super::run::Run;
use super::selection::PrivateSelection;
use crate::clipping::Clipping;
use crate::error::{Error, Result, SettingError};
use crate::noise::Noise;
use crate::sampling::Sampling;

/// Collects the settings of a [`PrivacyPlan`].
///
/// Everything except the adjacency must be set. The noise comes from exactly one of
/// [`noise_multiplier`](Self::noise_multiplier) and [`target`](Self::target).
/// [`build`](Self::build) checks the numbers, so you can pass plain ones.
#[derive(Debug, Clone, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct PrivacyPlanBuilder {
    sampling_rate: Option<SamplingRate>,
    expected_batch_size: Option<ExpectedBatchSize>,
    steps: Option<Steps>,
    clipping: Option<Clipping>,
    adjacency: Adjacency,
    earlier: Ledger,
    selection: Option<PrivateSelection>,
    noise_multiplier: Option<NoiseMultiplier>,
    target: Option<(Epsilon, Delta)>,
    /// The first setting that was refused.
    refused: Option<SettingError>,
}

impl PrivacyPlan {
    /// Starts a plan.
    pub fn builder() -> PrivacyPlanBuilder {
        PrivacyPlanBuilder::default()
    }
}

impl PrivacyPlanBuilder {
    /// Checks the settings and, for a target, calibrates the noise.
    ///
    /// # Errors
    /// [`Error::Setting`] names a setting that is out of its range, was not set, or excludes
    /// another (a noise multiplier and a target). It is also returned where a target ε is infinite
    /// or adaptive clipping leaves no noise budget for the gradient (2σ_b ≤ z).
    /// [`Error::Accounting`] where no noise is enough for the target, or none leaves room for the
    /// releases from which the plan begins.
    pub fn build(self) -> Result<PrivacyPlan> {
        if let Some(refused) = self.refused {
            return Err(refused.into());
        }
        let rate = self.sampling_rate.ok_or_else(|| missing("sampling_rate"))?;
        let expected_batch_size =
            self.expected_batch_size.ok_or_else(|| missing("expected_batch_size"))?;
        let steps = self.steps.ok_or_else(|| missing("steps"))?;
        let clipping = self.clipping.ok_or_else(|| missing("clipping"))?;
        let run = |multiplier| Run {
            earlier: self.earlier.clone(),
            selection: self.selection,
            sampling: Sampling::Poisson { rate },
            noise: Noise::Gaussian { multiplier },
            steps,
        };
        let noise_multiplier = match (self.noise_multiplier, self.target) {
            (Some(noise_multiplier), None) => noise_multiplier,
            (None, Some(target)) => least_noise(target, self.adjacency, &run)?,
            (None, None) => return Err(missing("noise_multiplier or target")),
            (Some(_), Some(_)) => {
                let (first, second) = ("noise_multiplier", "target");
                return Err(SettingError::Conflicting { first, second }.into());
            }
        };
        let (adjacency, target) = (self.adjacency, self.target);
        Parts { run: run(noise_multiplier), expected_batch_size, clipping, adjacency, target }
            .into_plan()
    }

    /// q: each record enters each batch independently with this probability.
    pub fn sampling_rate(
        mut self,
        sampling_rate: impl TryInto<SamplingRate, Error: Into<SettingError>>,
    ) -> Self {
        self.sampling_rate = self.checked(sampling_rate);
        self
    }

    /// The public divisor of the noised sum, the same at every step.
    pub fn expected_batch_size(
        mut self,
        expected_batch_size: impl TryInto<ExpectedBatchSize, Error: Into<SettingError>>,
    ) -> Self {
        self.expected_batch_size = self.checked(expected_batch_size);
        self
    }

    /// The number of logical steps of the whole run.
    pub fn steps(mut self, steps: impl TryInto<Steps, Error: Into<SettingError>>) -> Self {
        self.steps = self.checked(steps);
        self
    }

    /// How one record's gradient is bounded, as in `clipping(Clipping::flat(1.0))`.
    pub fn clipping(mut self, clipping: impl TryInto<Clipping, Error: Into<SettingError>>) -> Self {
        self.clipping = self.checked(clipping);
        self
    }

    /// The neighboring relation of the guarantee; [`Adjacency::AddRemove`] unless set.
    pub fn adjacency(mut self, adjacency: Adjacency) -> Self {
        self.adjacency = adjacency;
        self
    }

    /// The earlier releases on the same data. A target then covers them and this run together, and
    /// every ε of the plan includes them.
    /// [`DpOptimizer::continue_with`](crate::DpOptimizer::continue_with) continues a run with such
    /// a plan.
    ///
    /// As within one run, settings must not depend on what was released so far. If the noise
    /// depends on the earlier run's results, use a
    /// [`RenyiFilter`](burn_dp_accounting::RenyiFilter).
    pub fn after(mut self, ledger: &Ledger) -> Self {
        self.earlier = ledger.clone();
        self
    }

    /// Lets the run start with a selection of parameters by the private data, and includes its
    /// cost: a target ε covers it and all steps.
    pub fn selection(mut self, selection: PrivateSelection) -> Self {
        self.selection = Some(selection);
        self
    }

    /// The noise multiplier z, accounting for everything that a step releases.
    pub fn noise_multiplier(
        mut self,
        noise_multiplier: impl TryInto<NoiseMultiplier, Error: Into<SettingError>>,
    ) -> Self {
        self.noise_multiplier = self.checked(noise_multiplier);
        self
    }

    /// The ε that the whole run must not exceed at δ: [`build`](Self::build) finds the least noise.
    pub fn target(
        mut self,
        epsilon: impl TryInto<Epsilon, Error: Into<SettingError>>,
        delta: impl TryInto<Delta, Error: Into<SettingError>>,
    ) -> Self {
        self.target = self.checked(epsilon).zip(self.checked(delta));
        self
    }

    /// The checked setting. The first refused one is kept for `build`.
    fn checked<Q>(&mut self, setting: impl TryInto<Q, Error: Into<SettingError>>) -> Option<Q> {
        match setting.try_into() {
            Ok(setting) => Some(setting),
            Err(error) => {
                self.refused.get_or_insert(error.into());
                None
            }
        }
    }
}

/// The least noise multiplier with which `run` meets the target.
fn least_noise(
    (epsilon, delta): (Epsilon, Delta),
    adjacency: Adjacency,
    run: &impl Fn(NoiseMultiplier) -> Run,
) -> Result<NoiseMultiplier> {
    let events = |noise_multiplier| {
        let run = run(noise_multiplier);
        Ok(run.events(run.whole())?.event())
    };
    let accountant = || PrivacyAccountant::new(adjacency);
    let least = calibrate_noise_multiplier(epsilon, delta, accountant, events)?;
    let readable = rounded_up(least)?;
    // Numerical bounds are not monotone in their last digits.
    let mut accountant = accountant();
    accountant.compose(&events(readable)?, 1)?;
    Ok(if accountant.epsilon(delta) <= epsilon { readable } else { least })
}

/// Rounded up to nine significant digits, so that it reads well and every text format preserves it.
fn rounded_up(noise_multiplier: NoiseMultiplier) -> Result<NoiseMultiplier> {
    let z = noise_multiplier.value();
    if z == 0.0 {
        return Ok(noise_multiplier);
    }
    let unit = 10.0_f64.powi(8 - z.log10().floor() as i32);
    Ok(NoiseMultiplier::new(((z * unit).ceil() / unit).max(z))?)
}

fn missing(name: &'static str) -> Error {
    SettingError::Missing { name }.into()
}
