//! What a run offers to a user of a `Learner`: loader, model, outcome.

use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::Dataset;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::optim::SgdConfig;
use burn::tensor::Device;
use burn::train::{Interrupter, Learner, LearnerModel};

use super::epoch::EpochLoader;
use super::model::{PrivateModel, Run};
use super::shared_run::SharedRun;
use crate::error::{Error, Result};
use crate::loader::{PhysicalBatches, PoissonDataLoader};
use crate::optimizer::{DpOptimizer, LogicalBatch, Statement};
use crate::privacy::{Delta, Steps};

/// A run that burn's `Learner` drives: the [`DpOptimizer`], shared by every clone of the model.
///
/// A clone of the trainer is the same run.
pub struct PrivateTrainer<E> {
    run: SharedRun<E>,
}

impl<E> PrivateTrainer<E> {
    /// A trainer for the steps that `optimizer` has left. It reports ε at `delta`.
    pub fn new(optimizer: DpOptimizer<E>, delta: Delta) -> Self {
        Self { run: SharedRun::new(optimizer, delta) }
    }

    /// Saves the run every `steps` steps, as [`DpOptimizer::save`] does.
    ///
    /// # Errors
    /// When `steps` is 0.
    pub fn save_every(&self, steps: Steps, file: impl AsRef<Path>) -> Result<()> {
        if steps.value() == 0 {
            return Err(Error::setting("steps between checkpoints", 0, "at least 1"));
        }
        self.run.lock().checkpoint = Some((steps.value(), file.as_ref().to_owned()));
        Ok(())
    }

    /// Stops the training through `interrupter` when a step fails. Without it, the remaining steps
    /// do nothing.
    pub fn stop_through(&self, interrupter: Interrupter) {
        self.run.lock().interrupter = Some(interrupter);
    }

    /// The loader of the plan's samples, in physical batches of at most `physical` records. An
    /// epoch has `steps` logical steps; the last one has what the plan has left.
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

    /// [`loader`](Self::loader) with a closure that can fail instead of the batcher.
    /// [`outcome`](Self::outcome) returns its failure, as
    /// [`BatchError::Loading`](crate::error::BatchError::Loading).
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
        let loader = loader(&self.run.lock().optimizer)?;
        Ok(Arc::new(EpochLoader::new(self.run.clone(), loader, steps)))
    }

    /// A `Learner` of `model`. The scheduler sets its learning rate. Its optimizer is this run's.
    pub fn learner<M, I, O>(
        &self,
        model: M,
        scheduler: impl Into<ModuleLrScheduler>,
    ) -> Learner<PrivateModel<M, Run<E, I, O>>>
    where
        M: Module,
        PrivateModel<M, Run<E, I, O>>: LearnerModel,
    {
        // Never used: `PrivateModel` gives the gradients to the run's own optimizer.
        let unused = SgdConfig::new().init();
        Learner::new(PrivateModel::new(model, self.run.clone()), unused, scheduler)
    }

    /// Whether every step so far succeeded. After a failed step no other step is taken. Call this
    /// when the training is over.
    ///
    /// # Errors
    /// The error of the failed step. It is returned once.
    pub fn outcome(&self) -> Result<()> {
        self.run.lock().failure.take().map_or(Ok(()), Err)
    }

    /// Calls `at` with the run, for example to read its [`ledger`](DpOptimizer::ledger) or to
    /// [`save`](DpOptimizer::save) it.
    pub fn look<R>(&self, at: impl FnOnce(&DpOptimizer<E>) -> R) -> R {
        at(&self.run.lock().optimizer)
    }

    /// What the whole run guarantees, in words.
    pub fn statement(&self) -> Statement {
        let shared = self.run.lock();
        shared.optimizer.statement(shared.delta)
    }
}

impl<E> Clone for PrivateTrainer<E> {
    fn clone(&self) -> Self {
        Self { run: self.run.clone() }
    }
}

impl<E> std::fmt::Debug for PrivateTrainer<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrivateTrainer").finish_non_exhaustive()
    }
}
