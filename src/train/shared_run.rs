//! The run behind a `Learner`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::train::Interrupter;

use super::metric::Spent;
use crate::error::{Error, ModelError, Result};
use crate::optimizer::{DpOptimizer, LogicalBatch};
use crate::per_example::Engine;
use crate::privacy::{Delta, Epsilon};

/// The number of times that ε is computed in a run. Each time costs as much as a step of a small
/// model.
const EPSILONS: u64 = 100;

/// The optimizer of a run, shared by every clone of the model. A clone is the same run.
pub(super) struct SharedRun<E> {
    shared: Arc<Mutex<Shared<E>>>,
}

pub(super) struct Shared<E> {
    pub(super) optimizer: DpOptimizer<E>,
    pub(super) delta: Delta,
    /// ε after a number of steps that is at least the number of steps taken.
    spent: Option<(u64, Epsilon)>,
    pub(super) checkpoint: Option<(u64, PathBuf)>,
    pub(super) interrupter: Option<Interrupter>,
    pub(super) failure: Option<Error>,
}

impl<E> SharedRun<E> {
    pub(super) fn new(optimizer: DpOptimizer<E>, delta: Delta) -> Self {
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

    /// The gradient of a step; `None` if this or an earlier one failed.
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

    /// Applies burn's optimizer to a step's gradient.
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

    /// Refuses the gradients of several devices: only one of them could belong to the step that was
    /// due.
    pub(super) fn refuse_several_devices(&self) {
        self.lock().keep(Err::<(), _>(Error::Model(ModelError::SeveralDevices)));
    }

    pub(super) fn steps_taken(&self) -> u64 {
        self.lock().optimizer.steps_taken().value()
    }

    /// After a panic under the lock the run is still consistent: a step changes it all at once.
    pub(super) fn lock(&self) -> MutexGuard<'_, Shared<E>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Shared<E> {
    /// The value. The first error is kept and stops the training.
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

    /// ε of at least the steps taken. It is exact at every hundredth of the plan; in between it is
    /// that of the next hundredth.
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

impl<E> Clone for SharedRun<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}
