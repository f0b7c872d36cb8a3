//! From its parts to a plan. Every way to make a plan, also deserialization, runs the same checks.

use burn_dp_accounting::{Adjacency, Delta, Epsilon, ExpectedBatchSize, NoiseMultiplier};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::privacy_plan::PrivacyPlan;
use super::run::Run;
use super::stored::{Stored, VERSION};
use crate::clipping::Clipping;
use crate::error::{Error, Result};

/// The parts of a plan, without the values that follow from them.
pub(super) struct Parts {
    pub(super) run: Run,
    pub(super) expected_batch_size: ExpectedBatchSize,
    pub(super) clipping: Clipping,
    pub(super) adjacency: Adjacency,
    pub(super) target: Option<(Epsilon, Delta)>,
}

impl Parts {
    pub(super) fn into_plan(self) -> Result<PrivacyPlan> {
        let Self { run, expected_batch_size, clipping, adjacency, target } = self;
        let planned = run.events(run.whole())?;
        let gradient_noise_multiplier =
            clipping.gradient_noise_multiplier(run.noise.multiplier())?;
        let mut plan = PrivacyPlan {
            run,
            expected_batch_size,
            clipping,
            adjacency,
            target,
            planned,
            gradient_noise_multiplier,
            fingerprint: 0,
        };
        plan.fingerprint = Stored::of(&plan).fingerprint()?;
        Ok(plan)
    }
}

impl PrivacyPlan {
    /// The plan with other noise. It has no target then.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) where adaptive clipping leaves no noise for the gradient.
    pub(crate) fn with_noise_multiplier(&self, multiplier: NoiseMultiplier) -> crate::Result<Self> {
        let run = Run { noise: self.run.noise.with_multiplier(multiplier), ..self.run.clone() };
        let (expected_batch_size, clipping) = (self.expected_batch_size, self.clipping.clone());
        let adjacency = self.adjacency;
        Parts { run, expected_batch_size, clipping, adjacency, target: None }.into_plan()
    }
}

impl TryFrom<Stored> for PrivacyPlan {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        if stored.version != VERSION {
            return Err(Error::setting(
                "privacy plan version",
                stored.version,
                "2, the version that this release reads",
            ));
        }
        let Stored { sampling, clipping, noise, expected_batch_size, steps, .. } = stored;
        let Stored { adjacency, earlier, selection, target, .. } = stored;
        let run = Run { earlier, selection, sampling, noise, steps };
        let plan = Parts { run, expected_batch_size, clipping, adjacency, target }.into_plan()?;
        // An edited file must not claim a target that its noise does not meet. On another machine,
        // the transform may round the last digits of the same ε differently.
        let above =
            |epsilon: Epsilon, delta| plan.epsilon(delta).value() > epsilon.value() * (1.0 + 1e-9);
        match plan.target {
            Some((epsilon, delta)) if above(epsilon, delta) || !epsilon.is_finite() => {
                Err(Error::setting(
                    "noise_multiplier",
                    plan.noise_multiplier().value(),
                    "large enough for the plan's target",
                ))
            }
            _ => Ok(plan),
        }
    }
}

impl<'de> Deserialize<'de> for PrivacyPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        Self::try_from(Stored::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
