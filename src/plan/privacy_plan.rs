//! The plan itself.

use burn_dp_accounting::{
    Accountant, Adjacency, Delta, DpEvent, Epsilon, ExpectedBatchSize, Ledger, NoiseMultiplier,
    PrivacyAccountant, SamplingRate, Steps,
};

use super::run::{Progress, Run};
use super::selection::PrivateSelection;
use crate::clipping::{Clipping, ClippingState};
use crate::noise::Noise;
use crate::sampling::Sampling;

/// Everything in a DP-SGD run that its guarantee depends on (Abadi et al. 2016, arXiv 1607.00133).
///
/// It has three parts: [`Sampling`], [`Clipping`] and [`Noise`]. The training step reads all of
/// them, and the divisor, from here. The accountant reads the [events](Self::events) from here. So
/// they cannot disagree. Every plan is valid. [`PrivacyPlan::builder`] makes it, and it never
/// changes.
#[derive(Debug, Clone, PartialEq)]
pub struct PrivacyPlan {
    pub(super) run: Run,
    pub(super) expected_batch_size: ExpectedBatchSize,
    pub(super) clipping: Clipping,
    pub(super) adjacency: Adjacency,
    /// The target of the calibration, if the noise was calibrated.
    pub(super) target: Option<(Epsilon, Delta)>,
    /// The releases of the whole run; follows from the run.
    pub(super) planned: Ledger,
    /// Follows from the noise multiplier and the clipping.
    pub(super) gradient_noise_multiplier: NoiseMultiplier,
    /// Follows from all of the above.
    pub(super) fingerprint: u64,
}

impl PrivacyPlan {
    /// The releases of a run with this progress: those from which the plan begins, the private
    /// selection if it was made, and the steps. Everything that is accounted for comes from here.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) where there are more than 2^64 - 1 releases in all.
    pub fn events(&self, progress: Progress) -> crate::Result<Ledger> {
        Ok(self.run.events(progress)?)
    }

    /// The event that each logical step adds to the ledger, also on an empty batch.
    pub fn step_event(&self) -> DpEvent {
        self.run.step()
    }

    /// The event of the whole planned run, including the earlier releases.
    pub fn event(&self) -> DpEvent {
        self.planned.event()
    }

    /// How records enter a batch.
    pub const fn sampling(&self) -> Sampling {
        self.run.sampling
    }

    /// q: each record enters each batch with this probability.
    pub const fn sampling_rate(&self) -> SamplingRate {
        self.run.sampling.rate()
    }

    /// What is added to each step's sum.
    pub const fn noise(&self) -> Noise {
        self.run.noise
    }

    /// The earlier releases on the same data. The target, and every ε of this plan, covers them
    /// too.
    pub const fn earlier(&self) -> &Ledger {
        &self.run.earlier
    }

    /// The public divisor of the noised sum.
    pub const fn expected_batch_size(&self) -> ExpectedBatchSize {
        self.expected_batch_size
    }

    /// [`expected_batch_size`](Self::expected_batch_size) as a plain number.
    pub const fn divisor(&self) -> f64 {
        self.expected_batch_size.value()
    }

    /// The planned number of logical steps.
    pub const fn steps(&self) -> Steps {
        self.run.steps
    }

    /// How one record's gradient is bounded.
    pub const fn clipping(&self) -> &Clipping {
        &self.clipping
    }

    /// The neighboring relation of the guarantee.
    pub const fn adjacency(&self) -> Adjacency {
        self.adjacency
    }

    /// The selection of parameters by the private data with which the run may start.
    pub const fn selection(&self) -> Option<PrivateSelection> {
        self.run.selection
    }

    /// The target of the calibration; `None` where the noise multiplier was given.
    pub const fn target(&self) -> Option<(Epsilon, Delta)> {
        self.target
    }

    /// z, the noise multiplier that is accounted for: that of everything a step releases, taken
    /// together.
    pub const fn noise_multiplier(&self) -> NoiseMultiplier {
        self.run.noise.multiplier()
    }

    /// z_Δ, the noise multiplier of the gradient sum alone.
    ///
    /// It equals [`noise_multiplier`](Self::noise_multiplier) except under adaptive clipping, where
    /// the noised count spends part of each step: z_Δ = (z^−2 − (2σ_b)^−2)^(−1/2) (Andrew et al.
    /// 2019, arXiv 1905.03871, Theorem 1).
    pub const fn gradient_noise_multiplier(&self) -> NoiseMultiplier {
        self.gradient_noise_multiplier
    }

    /// σ_b, the standard deviation of the noise on the centered count of unclipped records, in
    /// records. `None` unless clipping is adaptive.
    pub const fn count_noise_std(&self) -> Option<f64> {
        self.clipping.count_noise_std()
    }

    /// b̃, the noised fraction that [`ClippingState::update`] takes, computed from the noised
    /// centered count: count / expected batch size + 1/2.
    pub fn noised_fraction_below(&self, noised_centred_count: f64) -> f64 {
        noised_centred_count / self.divisor() + 0.5
    }

    /// The standard deviation of the noise on each coordinate of the gradient sum, before the
    /// division, in the gradient's unit: z_Δ times the bound on one record's contribution.
    ///
    /// It does not depend on the adjacency: replace-one pays in ε for its doubled sensitivity.
    pub fn noise_std(&self, state: &ClippingState) -> f64 {
        self.gradient_noise_multiplier.value() * self.clipping.sensitivity(state)
    }

    /// The largest L2 distance between the un-noised gradient *sums* over two neighboring batches,
    /// in the gradient's unit. Divide by [`divisor`](Self::divisor) for the update.
    pub fn sensitivity(&self, state: &ClippingState) -> f64 {
        self.adjacency.contributions() * self.clipping.sensitivity(state)
    }

    /// ε of the whole planned run.
    pub fn epsilon(&self, delta: Delta) -> Epsilon {
        self.epsilon_at(self.run.steps, delta)
    }

    /// ε of the first `steps_done` steps, of the private selection if the plan has one, and of the
    /// earlier releases, by the best proven bound.
    ///
    /// This is the cost of a run whose length was fixed in advance. If the run was stopped because
    /// of its results, report [`epsilon`](Self::epsilon), the cost of the planned run.
    pub fn epsilon_at(&self, steps_done: Steps, delta: Delta) -> Epsilon {
        self.bound_at(steps_done, delta).0
    }

    /// ε of the first `steps_done` steps, and the name of the accountant that proves it.
    pub(super) fn bound_at(&self, steps_done: Steps, delta: Delta) -> (Epsilon, &'static str) {
        let mut accountant = PrivacyAccountant::new(self.adjacency);
        let composed = self
            .run
            .events(Progress { steps: steps_done, ..self.run.whole() })
            .and_then(|events| events.compose_onto(&mut accountant));
        match composed {
            Ok(()) => accountant.bound(delta),
            Err(_) => (Epsilon::INFINITY, accountant.name()),
        }
    }

    /// A number that identifies the plan, for checkpoints: plans that differ anywhere have
    /// different numbers. It is the same on every machine, and in every release that stores plans
    /// the same way. It is not a cryptographic hash.
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}
