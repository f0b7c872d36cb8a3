//! DP-SGD from beginning to end.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::GradientsParams;

use super::DpOptimizer;
use super::batch::LogicalBatch;
use crate::bounded_sum::{ClippedSum, next_clipping};
use crate::error::{Error, Result};
use crate::model::ModuleTensors;
use crate::per_example::Engine;
use crate::seed::Domain;

impl<E> DpOptimizer<E> {
    /// Takes one logical step: `model` becomes the updated model.
    ///
    /// `batch` is the [`sample`](Self::sample) for this step, in physical batches of any size. Only
    /// one of them is in memory at a time.
    ///
    /// # Errors
    /// When the batch belongs to another step or plan, no steps are left, the engine refuses the
    /// model or a batch, the trained parameters are not the same as before
    /// ([`select`](Self::select) announces a change), or per-group clipping does not cover a
    /// parameter. Then nothing has changed.
    pub fn step<M, X, I>(
        &mut self,
        learning_rate: impl Into<ModuleLearningRate>,
        model: &mut M,
        batch: LogicalBatch<I>,
    ) -> Result<()>
    where
        M: Module,
        E: Engine<M, X>,
        I: Iterator<Item = Result<X>>,
    {
        let learning_rate = learning_rate.into();
        check_learning_rate(model, &learning_rate)?;
        let gradient = self.private_gradient(model, batch)?;
        // The optimizer sees the noised gradient only.
        *model = self.optimizer.step(learning_rate, model.clone(), gradient);
        Ok(())
    }

    /// Applies the run's optimizer to a [`private_gradient`](Self::private_gradient).
    #[cfg(feature = "train")]
    pub(crate) fn apply<M: Module>(
        &mut self,
        learning_rate: ModuleLearningRate,
        model: M,
        gradient: GradientsParams,
    ) -> Result<M> {
        check_learning_rate(&model, &learning_rate)?;
        Ok(self.optimizer.step(learning_rate, model, gradient))
    }

    /// Takes one logical step without the optimizer: returns the noised gradient, already accounted
    /// for, for an optimizer of your own. Whatever is done with it costs no further privacy.
    /// [`step`](Self::step) gives this gradient to the run's own optimizer.
    ///
    /// # Errors
    /// As `step`, except for the learning rate. Then nothing has changed.
    pub fn private_gradient<M, X, I>(
        &mut self,
        model: &M,
        batch: LogicalBatch<I>,
    ) -> Result<GradientsParams>
    where
        M: Module,
        E: Engine<M, X>,
        I: Iterator<Item = Result<X>>,
    {
        // Sample: the batch must be the one that was drawn for this step.
        self.check_steps_left()?;
        let batches = batch.redeem(self.ticket())?;

        // Per-example gradients, clipped one by one and summed.
        let mut sum = ClippedSum::new(model, self.plan.clipping(), self.progress.clipping)?;
        let trained = self.check_trained(sum.paths())?;
        for batch in batches {
            let gradients = self.engine.per_example(model, batch?)?;
            sum.add(gradients)?;
        }

        // Noise, once, on the sum; then the public divisor.
        let step = self.progress.step;
        let std = self.plan.noise_std(&self.progress.clipping);
        let divisor = self.plan.divisor();
        let below = sum.below_clipping_norm();
        let draw = (&self.seed, Domain::GradientNoise, step);
        let release = sum.release(&self.plan.noise().of_step(std, draw), divisor)?;

        // Account, before anything is released.
        let mut progress = self.progress.clone();
        progress.step += 1;
        progress.ledger = self.plan.events(progress.so_far())?;
        progress.trained = Some(trained);
        progress.clipping =
            next_clipping(&self.plan, progress.clipping, below, (&self.seed, step))?;
        self.progress = progress;

        Ok(release.into_gradients(model))
    }
}

/// # Errors
/// When some trained parameter's learning rate is negative, infinite or NaN.
fn check_learning_rate<M: Module>(model: &M, rate: &ModuleLearningRate) -> Result<()> {
    for parameter in ModuleTensors::of(model)?.trainable() {
        // burn panics on `ModuleLearningRate::default()`, which has a rate for no parameter.
        let rate = || rate.lr_from_param(parameter.id, Some(&parameter.path));
        let rate = catch_unwind(AssertUnwindSafe(rate)).unwrap_or(f64::NAN);
        if !(rate.is_finite() && rate >= 0.0) {
            return Err(Error::setting("learning rate", rate, "finite and at least 0"));
        }
    }
    Ok(())
}
