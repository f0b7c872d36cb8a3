//! The user's model as the `Learner` sees it.

use std::marker::PhantomData;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer, MultiGradientsParams};
use burn::train::{InferenceStep, TrainOutput, TrainStep};

use super::metric::Spent;
use super::shared_run::SharedRun;
use crate::loader::PhysicalBatches;
use crate::optimizer::LogicalBatch;
use crate::per_example::Engine;

/// A model whose training step is private. Validation is the model's own `InferenceStep`.
///
/// [`PrivateTrainer::learner`](super::PrivateTrainer::learner) makes it. `R` is the [`Run`] that
/// the step belongs to.
#[derive(Module, Debug)]
pub struct PrivateModel<M: Module, R> {
    model: M,
    #[module(skip)]
    run: R,
}

/// The run of a [`PrivateModel`]: the optimizer, and the items `I` and batches `O` of its loader.
pub struct Run<E, I, O> {
    shared: SharedRun<E>,
    items: PhantomData<fn() -> (I, O)>,
}

impl<M: Module, E, I, O> PrivateModel<M, Run<E, I, O>> {
    pub(super) fn new(model: M, shared: SharedRun<E>) -> Self {
        Self { model, run: Run { shared, items: PhantomData } }
    }

    /// The model.
    pub fn into_inner(self) -> M {
        self.model
    }
}

impl<M, E, I, O> TrainStep for PrivateModel<M, Run<E, I, O>>
where
    M: Module,
    E: Engine<M, O> + Send + 'static,
    I: 'static,
    O: 'static,
{
    type Input = LogicalBatch<PhysicalBatches<I, O>>;
    type Output = Spent;

    fn step(&self, batch: Self::Input) -> TrainOutput<Spent> {
        let (gradient, item) = self.run.shared.gradient(&self.model, batch);
        TrainOutput { grads: gradient.unwrap_or_default(), item }
    }

    fn optimize(
        self,
        _optimizer: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        gradient: GradientsParams,
    ) -> Self {
        let model = self.run.shared.optimize(self.model, rate, gradient);
        Self { model, ..self }
    }

    /// Refuses the gradients of several devices: only one of them can belong to the step that was
    /// due.
    fn optimize_multi(
        self,
        _optimizer: &mut ModuleOptimizer,
        _rate: ModuleLearningRate,
        _gradients: MultiGradientsParams,
    ) -> Self {
        self.run.shared.refuse_several_devices();
        self
    }
}

impl<M, E, I, O> InferenceStep for PrivateModel<M, Run<E, I, O>>
where
    M: Module + InferenceStep,
{
    type Input = M::Input;
    type Output = M::Output;

    fn step(&self, batch: M::Input) -> M::Output {
        self.model.step(batch)
    }
}

// Written by hand, because a derived implementation would require the same of `E`, `I` and `O`.

impl<E, I, O> Clone for Run<E, I, O> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), items: PhantomData }
    }
}

impl<E, I, O> std::fmt::Debug for Run<E, I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}
