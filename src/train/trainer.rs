//! The run behind a `Learner`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::Dataset;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::Device;
use burn::train::{Interrupter, Learner, LearnerModel};

use super::epoch::EpochLoader;
use super::metric::Spent;
use super::model::{PrivateModel, Run};
use crate::error::{Error, ModelError, Result};
use crate::loader::{PhysicalBatches, PoissonDataLoader};
use crate::optimizer::{DpOptimizer, LogicalBatch, Statement};
use crate::per_example::Engine;
use crate::privacy::{Delta, Epsilon, Steps};

/// ε is computed so many times in a run, because each time costs as much as a step of a small model.
const EPSILONS: u64 = 100;

/// A run that burn's `Learner` drives: the [`DpOptimizer`], shared by every clone of the model.
///
/// A clone is the same run.
pub struct PrivateTrainer<E> {
    shared: Arc<Mutex<Shared<E>>>,
}

struct Shared<E> {
    optimizer: DpOptimizer<E>,
    delta: Delta,
    /// ε after a number of steps that is at least the number taken.
    spent: Option<(u64, Epsilon)>,
    checkpoint: Option<(u64, PathBuf)>,
    interrupter: Option<Interrupter>,
    failure: Option<Error>,
}

impl<E> PrivateTrainer<E> {
    /// A trainer for the steps that `optimizer` has left; ε is told at `delta`.
    pub fn new(optimizer: DpOptimizer<E>, delta: Delta) -> Self {
        let shared = Shared {
            optimizer,
            delta,
            spent: None,
            checkpoint: None,
            interrupter: None,
            failure: None,
        };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Saves the run every so many steps, as [`DpOptimizer::save`] does.
    ///
    /// # Errors
    /// When `steps` is 0.
    pub fn save_every(&self, steps: Steps, file: impl AsRef<Path>) -> Result<()> {
        if steps.value() == 0 {
            return Err(Error::setting("steps between checkpoints", 0, "at least 1"));
        }
        self.lock().checkpoint = Some((steps.value(), file.as_ref().to_owned()));
        Ok(())
    }

    /// Stops the training through `interrupter` when a step fails. Without, the remaining steps do nothing.
    pub fn stop_through(&self, interrupter: Interrupter) {
        self.lock().interrupter = Some(interrupter);
    }

    /// The loader of the plan's samples, in physical batches of at most `physical` records, with `steps` logical
    /// steps an epoch (the last epoch has what the plan has left).
    ///
    /// # Errors
    /// When `physical` or `steps` is 0, or the data set is larger than the sampler can count.
    #[allow(clippy::type_complexity, reason = "burn's own type of a loader")]
    pub fn loader<I, O>(
        &self,
        dataset: impl Dataset<I> + 'static,
        batcher: impl Batcher<I, O> + 'static,
        physical: usize,
        device: &Device,
        steps: u64,
    ) -> Result<Arc<dyn DataLoader<LogicalBatch<PhysicalBatches<I, O>>>>>
    where
        E: Send + 'static,
        I: 'static,
        O: 'static,
    {
        let device = device.clone();
        let loader = |run: &_| PoissonDataLoader::new(run, dataset, batcher, physical, device);
        self.epochs(loader, steps)
    }

    /// [`loader`](Self::loader) with a closure that can fail in the batcher's place: [`outcome`](Self::outcome) tells
    /// its failure, as [`BatchError::Loading`](crate::error::BatchError::Loading).
    ///
    /// # Errors
    /// As `loader`.
    #[allow(clippy::type_complexity, reason = "burn's own type of a loader")]
    pub fn try_loader<I, O, L, F>(
        &self,
        dataset: impl Dataset<I> + 'static,
        collate: F,
        physical: usize,
        device: &Device,
        steps: u64,
    ) -> Result<Arc<dyn DataLoader<LogicalBatch<PhysicalBatches<I, O>>>>>
    where
        E: Send + 'static,
        I: 'static,
        O: 'static,
        L: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Fn(Vec<I>, &Device) -> std::result::Result<O, L> + Send + Sync + 'static,
    {
        let device = device.clone();
        let loader = |run: &_| PoissonDataLoader::try_new(run, dataset, collate, physical, device);
        self.epochs(loader, steps)
    }

    #[allow(clippy::type_complexity, reason = "burn's own type of a loader")]
    fn epochs<I, O>(
        &self,
        loader: impl FnOnce(&DpOptimizer<E>) -> Result<PoissonDataLoader<I, O>>,
        steps: u64,
    ) -> Result<Arc<dyn DataLoader<LogicalBatch<PhysicalBatches<I, O>>>>>
    where
        E: Send + 'static,
        I: 'static,
        O: 'static,
    {
        if steps == 0 {
            return Err(Error::setting("steps of an epoch", 0, "at least 1"));
        }
        let loader = loader(&self.lock().optimizer)?;
        Ok(Arc::new(EpochLoader::new(self.clone(), loader, steps)))
    }

    /// A `Learner` of `model`. Its learning rate is the scheduler's; its optimizer is this run's.
    pub fn learner<M, I, O>(
        &self,
        model: M,
        scheduler: impl Into<ModuleLrScheduler>,
    ) -> Learner<PrivateModel<M, Run<E, I, O>>>
    where
        M: Module,
        PrivateModel<M, Run<E, I, O>>: LearnerModel,
    {
        // Never used: `PrivateModel` gives the gradients to the run's own.
        let unused = SgdConfig::new().init();
        Learner::new(PrivateModel::new(model, self.clone()), unused, scheduler)
    }

    /// Whether every step so far succeeded. After a step that failed no other is taken; ask when the training is
    /// over.
    ///
    /// # Errors
    /// What a step failed with. It is told once.
    pub fn outcome(&self) -> Result<()> {
        self.lock().failure.take().map_or(Ok(()), Err)
    }

    /// Looks at the run, say for its [`ledger`](DpOptimizer::ledger), or to [`save`](DpOptimizer::save) it.
    pub fn look<R>(&self, at: impl FnOnce(&DpOptimizer<E>) -> R) -> R {
        at(&self.lock().optimizer)
    }

    /// What the whole run guarantees, in words.
    pub fn statement(&self) -> Statement {
        let shared = self.lock();
        shared.optimizer.statement(shared.delta)
    }

    /// The gradient of a step, or nothing if this or an earlier one failed.
    pub(super) fn gradient<M, X, B>(
        &self,
        model: &M,
        batch: LogicalBatch<B>,
    ) -> (Option<GradientsParams>, Spent)
    where
        M: Module,
        E: Engine<M, X>,
        B: Iterator<Item = Result<X>>,
    {
        let mut shared = self.lock();
        let gradient = match shared.failure {
            Some(_) => None,
            None => {
                let gradient = shared.optimizer.private_gradient(model, batch);
                shared.keep(gradient)
            }
        };
        let epsilon = shared.epsilon();
        let epsilon = shared.keep(epsilon).map(|epsilon| epsilon.value());
        let step = shared.optimizer.steps_taken().value();
        (gradient, Spent { step, epsilon })
    }

    /// What burn's optimizer makes of a step's gradient.
    pub(super) fn optimize<M: Module>(
        &self,
        model: M,
        rate: ModuleLearningRate,
        gradient: GradientsParams,
    ) -> M {
        let mut shared = self.lock();
        if shared.failure.is_some() {
            return model;
        }
        let before = model.clone();
        let updated = shared.optimizer.apply(rate, model, gradient);
        let updated = shared.keep(updated).unwrap_or(before);
        let taken = shared.optimizer.steps_taken().value();
        if let Some((_, file)) =
            shared.checkpoint.as_ref().filter(|due| taken.is_multiple_of(due.0))
        {
            let saved = shared.optimizer.save(&updated, file);
            shared.keep(saved);
        }
        updated
    }

    /// Several devices' gradients: only one of them could be of the step that was due.
    pub(super) fn refuse_several_devices(&self) {
        self.lock().keep(Err::<(), _>(Error::Model(ModelError::SeveralDevices)));
    }

    pub(super) fn steps_taken(&self) -> u64 {
        self.lock().optimizer.steps_taken().value()
    }

    /// A panic under the lock leaves the run whole: a step changes it in one piece.
    fn lock(&self) -> MutexGuard<'_, Shared<E>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Shared<E> {
    /// The value; or the first error is kept and the training stopped.
    fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        let error = match result {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        log::error!("a private step failed: {error}");
        if let Some(interrupter) = &self.interrupter {
            interrupter.stop(Some(&error.to_string()));
        }
        self.failure.get_or_insert(error);
        None
    }

    /// ε of at least the steps taken: exact at every hundredth of the plan, and that of the next in between.
    fn epsilon(&mut self) -> Result<Epsilon> {
        let taken = self.optimizer.steps_taken().value();
        if let Some((_, epsilon)) = self.spent.filter(|(until, _)| *until >= taken) {
            return Ok(epsilon);
        }
        let plan = self.optimizer.plan();
        let stride = plan.steps().value().div_ceil(EPSILONS).max(1);
        let until = taken.next_multiple_of(stride).min(plan.steps().value());
        let ledger = self.optimizer.ledger_at(until.into())?;
        let epsilon = ledger.epsilon(self.delta, plan.adjacency())?;
        self.spent = Some((until, epsilon));
        Ok(epsilon)
    }
}

impl<E> Clone for PrivateTrainer<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<E> std::fmt::Debug for PrivateTrainer<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateTrainer").finish_non_exhaustive()
    }
}
