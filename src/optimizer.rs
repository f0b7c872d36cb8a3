//! Differentially private training: [`DpOptimizer`] wraps any burn optimizer.
//!
//! [`step`](DpOptimizer::step) is DP-SGD (Abadi et al. 2016, arXiv 1607.00133) in one place:
//! sample, per-example gradients, clip, sum, noise, account, optimizer. Read
//! `src/optimizer/step.rs` first.

mod batch;
mod behavior;
mod checkpoint;
mod select;
mod step;

pub(crate) use batch::Samples;
pub use batch::{LogicalBatch, Sample};
pub use checkpoint::{load_weights, weights_of_checkpoint};

use burn::optim::ModuleOptimizer;

use crate::error::{Error, PlanError, Result};
use crate::privacy::{ClippingState, Delta, Epsilon, Ledger, PrivacyPlan, PrivacyStatement, Steps};
use crate::seed::Seed;

/// Trains a model under a [`PrivacyPlan`] with any burn optimizer.
///
/// `E` computes the per-example gradients: [`Traced`](crate::per_example::Traced) for nearly every
/// model, [`Loop`](crate::per_example::Loop) for the rest.
///
/// # Guarantees
/// - One record moves the sum of a step, before noise, by at most
///   [`sensitivity`](PrivacyPlan::sensitivity), whatever the model, the loss or the record.
/// - Noise is added once per logical step, to the sum, before the optimizer's state sees it.
/// - The divisor is the plan's expected batch size, never the realized one.
/// - An empty Poisson batch is a step like any other: noise, and an entry in the ledger.
/// - A call that fails has changed nothing.
///
/// The ε of a run assumes exact real arithmetic (see [`noise`](crate::noise)) and batches that
/// [`sample`](Self::sample) drew.
pub struct DpOptimizer<E> {
    plan: PrivacyPlan,
    engine: E,
    optimizer: ModuleOptimizer,
    seed: Seed,
    progress: Progress,
}

/// The number of the child seed with which a run continues under another plan. No rank or client
/// has so high a number.
const CONTINUED: u64 = u64::MAX;

/// What a step changes besides the model and the optimizer's state.
#[derive(Clone)]
struct Progress {
    ledger: Ledger,
    step: u64,
    clipping: ClippingState,
    /// Whether the plan's private selection has been made.
    selected: bool,
    /// The paths of what the last step trained.
    trained: Option<Vec<String>>,
}

impl Progress {
    fn start(plan: &PrivacyPlan) -> Self {
        Self {
            ledger: plan.earlier().clone(),
            step: 0,
            clipping: plan.clipping().initial_state(),
            selected: false,
            trained: None,
        }
    }

    /// The same as the plan's type.
    fn so_far(&self) -> crate::privacy::Progress {
        crate::privacy::Progress { selected: self.selected, steps: self.step.into() }
    }
}

impl<E> DpOptimizer<E> {
    /// A run at its start. The operating system provides the key for noise and sampling.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn new(
        plan: PrivacyPlan,
        optimizer: impl Into<ModuleOptimizer>,
        engine: E,
    ) -> Result<Self> {
        Ok(Self::with_seed(plan, optimizer, engine, Seed::from_os()?))
    }

    /// A run at its start with a given [`Seed`]. With [`Seed::reproducible`] the run can be
    /// repeated, and it is not private against anyone who knows the seed.
    pub fn with_seed(
        plan: PrivacyPlan,
        optimizer: impl Into<ModuleOptimizer>,
        engine: E,
        seed: Seed,
    ) -> Self {
        let progress = Progress::start(&plan);
        Self { plan, engine, optimizer: optimizer.into(), seed, progress }
    }

    /// Continues under another plan, with other noise, sampling, batch size or clipping, or for
    /// more steps.
    ///
    /// Model, optimizer state and ledger stay, and the steps of `plan` begin. The rest of the old
    /// plan is dropped. `plan` must begin [`after`](crate::privacy::PrivacyPlanBuilder::after) this
    /// run's [`ledger`](Self::ledger), so that its ε covers everything. That is proven for settings
    /// that do not depend on what this run has released. Samples and noise are drawn from a new
    /// seed.
    ///
    /// # Errors
    /// [`PlanError::OfAnotherLedger`]; nothing has changed then.
    pub fn continue_with(&mut self, plan: PrivacyPlan) -> Result<()> {
        if plan.earlier() != &self.progress.ledger {
            let [plan, run] = [plan.earlier(), &self.progress.ledger].map(|l| l.steps().value());
            return Err(Error::Plan(PlanError::OfAnotherLedger { plan, run }));
        }
        let trained = self.progress.trained.take();
        self.progress = Progress { trained, ..Progress::start(&plan) };
        self.plan = plan;
        self.seed = self.seed.child(CONTINUED);
        Ok(())
    }

    /// The plan.
    pub fn plan(&self) -> &PrivacyPlan {
        &self.plan
    }

    /// The events so far, including those from which the plan begins.
    pub fn ledger(&self) -> &Ledger {
        &self.progress.ledger
    }

    /// The number of logical steps of the plan that were taken.
    pub fn steps_taken(&self) -> Steps {
        self.progress.step.into()
    }

    /// The number of logical steps that the plan has left.
    pub fn steps_left(&self) -> Steps {
        self.plan.steps().value().saturating_sub(self.progress.step).into()
    }

    /// The current clipping norms. Only adaptive clipping changes them.
    pub fn clipping_state(&self) -> &ClippingState {
        &self.progress.clipping
    }

    /// The events after the first `steps` steps of the plan.
    #[cfg(feature = "train")]
    pub(crate) fn ledger_at(&self, steps: Steps) -> Result<Ledger> {
        self.plan.events(crate::privacy::Progress { steps, ..self.progress.so_far() })
    }

    /// ε spent so far at `delta`, for a number of steps that was fixed in advance. If you stop
    /// early because of how the model behaves on the data, report the ε of the whole
    /// [`plan`](Self::plan).
    ///
    /// It takes some ten milliseconds, as much as a step of a small model, so do not call it at
    /// every step.
    ///
    /// # Errors
    /// When the ledger holds an event that the accountant does not know. A run never records one.
    pub fn epsilon(&self, delta: Delta) -> Result<Epsilon> {
        Ok(self.progress.ledger.epsilon(delta, self.plan.adjacency())?)
    }

    /// What the whole run guarantees, in words, with the source of its randomness.
    pub fn statement(&self, delta: Delta) -> Statement {
        let randomness = self.seed.source().to_string();
        Statement { plan: self.plan.statement(delta), randomness }
    }

    /// The Poisson sample of the next step: each of `population` records independently with the
    /// plan's rate. The sample stays the same until the step is taken.
    ///
    /// # Errors
    /// When the plan has no steps left.
    pub fn sample(&self, population: usize) -> Result<Sample> {
        let exhausted = || Error::Plan(PlanError::Exhausted { steps: self.plan.steps().value() });
        let (ticket, indices) = self.samples(population)?.sample(0).ok_or_else(exhausted)?;
        Ok(Sample::new(ticket, indices))
    }

    /// The next step's batch, drawn by other means.
    ///
    /// **You vouch** that every record was included independently with the plan's sampling rate.
    /// The library cannot check this, and the plan's ε holds only then. A shuffled loader does not
    /// qualify.
    pub fn vouch_for_poisson<X, I: IntoIterator<Item = X>>(
        &self,
        batches: I,
    ) -> LogicalBatch<impl Iterator<Item = Result<X>> + use<E, X, I>> {
        LogicalBatch::new(self.ticket(), batches.into_iter().map(Ok))
    }

    /// The samples of the remaining steps.
    pub(crate) fn samples(&self, population: usize) -> Result<Samples> {
        let sampler = self.plan.sampling().sampler(&self.seed, population)?;
        let steps = self.progress.step..self.plan.steps().value();
        Ok(Samples::new(sampler, self.plan.fingerprint(), steps))
    }

    fn check_steps_left(&self) -> Result<()> {
        if self.progress.step >= self.plan.steps().value() {
            return Err(Error::Plan(PlanError::Exhausted { steps: self.plan.steps().value() }));
        }
        Ok(())
    }

    fn ticket(&self) -> batch::Ticket {
        batch::Ticket { plan: self.plan.fingerprint(), step: self.progress.step }
    }
}

/// What a run guarantees, in words: the plan's statement and the source of the randomness.
#[derive(Clone, Debug)]
pub struct Statement {
    plan: PrivacyStatement,
    randomness: String,
}

impl Statement {
    /// ε of the whole run.
    pub fn epsilon(&self) -> Epsilon {
        self.plan.epsilon()
    }
}

impl std::fmt::Display for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.plan)?;
        write!(f, "Randomness: {}.", self.randomness)
    }
}
