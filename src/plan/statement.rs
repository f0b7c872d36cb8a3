//! The guarantee of a run, in words.

use core::fmt;

use burn_dp_accounting::{Delta, Epsilon};

use super::privacy_plan::PrivacyPlan;

/// The guarantee of a planned run and its assumptions. `Display` prints it in full.
#[derive(Debug, Clone, PartialEq)]
pub struct PrivacyStatement {
    plan: PrivacyPlan,
    epsilon: Epsilon,
    accountant: &'static str,
    delta: Delta,
}

impl PrivacyPlan {
    /// The guarantee of the whole planned run in words.
    pub fn statement(&self, delta: Delta) -> PrivacyStatement {
        PrivacyStatement::new(self.clone(), delta)
    }
}

impl PrivacyStatement {
    pub(super) fn new(plan: PrivacyPlan, delta: Delta) -> Self {
        let (epsilon, accountant) = plan.bound_at(plan.steps(), delta);
        Self { plan, epsilon, accountant, delta }
    }

    /// ε of the whole planned run.
    pub const fn epsilon(&self) -> Epsilon {
        self.epsilon
    }

    /// The accountant that proves it.
    pub const fn accountant(&self) -> &'static str {
        self.accountant
    }

    /// The δ that was asked for.
    pub const fn delta(&self) -> Delta {
        self.delta
    }
}

impl fmt::Display for PrivacyStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, epsilon, accountant, delta } = self;
        if epsilon.is_finite() {
            writeln!(f, "Guarantee: ({epsilon}, {delta})-differential privacy (epsilon, delta).")?;
        } else {
            writeln!(f, "Guarantee: none (epsilon is infinite).")?;
        }
        writeln!(f, "Neighboring data sets: {}.", plan.adjacency())?;
        let earlier = plan.earlier().steps().value();
        if earlier > 0 {
            writeln!(f, "Included: {earlier} earlier releases on the same data.")?;
        }
        if let Some(selection) = plan.selection() {
            writeln!(
                f,
                "Released first: which parameters are trained, by the sums of per-record gradient norms, each \
                 record's clipped to L2 norm {}, with Gaussian noise of multiplier {}, on a Poisson sample \
                 of rate {}.",
                selection.clipping_norm.value(),
                selection.noise_multiplier.value(),
                selection.sampling_rate.value(),
            )?;
        }
        writeln!(
            f,
            "Released: the parameters after each of {} steps. A step sums the per-record gradients, \
             {}, adds {}, and divides by the public constant {}.",
            plan.steps().value(),
            plan.clipping().in_words(),
            plan.noise().in_words(),
            plan.divisor(),
        )?;
        writeln!(
            f,
            "Noise: multiplier {} relative to one record's contribution{}.",
            plan.gradient_noise_multiplier().value(),
            match plan.count_noise_std() {
                Some(std) => format!(
                    "; a count of unclipped records is released with noise of standard deviation \
                     {std}; together they count as multiplier {}",
                    plan.noise_multiplier().value()
                ),
                None => String::new(),
            },
        )?;
        writeln!(f, "Sampling: {}.", plan.sampling().in_words())?;
        write!(
            f,
            "Accountant: {accountant}, a proven upper bound, for the planned number of steps. Assumed: \
             noise in exact real arithmetic; settings chosen without looking at the private data."
        )
    }
}
