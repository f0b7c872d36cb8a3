//! One logical step, private or not.

use anyhow::Result;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use burn_dp::DpOptimizer;
use burn_dp::per_example::Traced;
use burn_dp::privacy::{Delta, Epsilon, PrivacyPlan, SamplingRate};
use burn_dp::sampling::PoissonSampler;
use burn_dp::seed::Seed;
use burn_dp::selection::{PublicData, Schedule, Selection, TopGradientNorm, TopSelection};

use super::batches::{Examples, Records};
use super::task::Task;

/// Takes steps.
pub(super) enum Stepper<T: Task> {
    /// With clipping, noise and a ledger.
    Private(Box<DpOptimizer<Traced<Loss<T>>>>),
    /// The same batches and optimizer, without.
    Ordinary { optimizer: Box<ModuleOptimizer>, seed: Seed, rate: SamplingRate, taken: u64 },
}

/// A task's loss.
type Loss<T> = fn(&<T as Task>::Model, Examples<<T as Task>::Inputs>) -> Tensor<1>;

impl<T: Task> Stepper<T> {
    pub(super) fn private(plan: PrivacyPlan, seed: Seed, weight_decay: f32) -> Self {
        let (optimizer, engine) = (adam(weight_decay), Traced::new(loss::<T> as Loss<T>));
        Self::Private(Box::new(DpOptimizer::with_seed(plan, optimizer, engine, seed)))
    }

    pub(super) fn ordinary(seed: Seed, rate: SamplingRate, weight_decay: f32) -> Self {
        let optimizer = Box::new(adam(weight_decay));
        Self::Ordinary { optimizer, seed, rate, taken: 0 }
    }

    /// Steps taken so far.
    pub(super) fn taken(&self) -> u64 {
        match self {
            Self::Private(optimizer) => optimizer.steps_taken().value(),
            Self::Ordinary { taken, .. } => *taken,
        }
    }

    /// ε so far, if there is one.
    pub(super) fn epsilon(&self, delta: Delta) -> Result<Option<Epsilon>> {
        Ok(match self {
            Self::Private(optimizer) => Some(optimizer.epsilon(delta)?),
            Self::Ordinary { .. } => None,
        })
    }

    /// The guarantee in words, if there is one.
    pub(super) fn statement(&self, delta: Delta) -> Option<String> {
        match self {
            Self::Private(optimizer) => Some(optimizer.statement(delta).to_string()),
            Self::Ordinary { .. } => None,
        }
    }

    /// Freezes and trains what the schedule says for the step that is due.
    pub(super) fn follow(
        &mut self,
        schedule: &Schedule,
        model: T::Model,
    ) -> Result<(T::Model, Option<Selection>)> {
        match self {
            Self::Private(optimizer) => Ok(optimizer.follow(schedule, model)?),
            Self::Ordinary { taken, .. } => {
                let due = schedule.at((*taken).into());
                let same =
                    *taken > 0 && due.to_string() == schedule.at((*taken - 1).into()).to_string();
                if same {
                    return Ok((model, None));
                }
                let selection = due.select(&model)?;
                Ok((selection.apply(model)?, Some(selection)))
            }
        }
    }

    /// Takes a step on a Poisson sample of the records, of which `physical` are in memory at a time.
    pub(super) fn step(
        &mut self,
        learning_rate: ModuleLearningRate,
        model: &mut T::Model,
        records: &Records<T>,
        physical: usize,
    ) -> Result<()> {
        let size = |record: &usize| records.size(*record);
        match self {
            Self::Private(optimizer) => {
                let sample = optimizer.sample(records.count())?.sorted_by_key(size);
                let batch = sample.batches(physical, |chunk| records.load(chunk))?;
                optimizer.step(learning_rate, model, batch)?;
            }
            Self::Ordinary { optimizer, seed, rate, taken } => {
                let mut sample = PoissonSampler::new(seed, *rate, records.count())?.sample(*taken);
                sample.sort_by_cached_key(size);
                let count = sample.len().max(1) as f64;
                let mut sum = GradientsAccumulator::new();
                for chunk in sample.chunks(physical.max(1)) {
                    let share = chunk.len() as f64 / count;
                    let loss = loss::<T>(model, records.load(chunk)).mul_scalar(share);
                    sum.accumulate(model, GradientsParams::from_grads(loss.backward(), model));
                }
                *model = optimizer.step(learning_rate, model.clone(), sum.grads());
                *taken += 1;
            }
        }
        Ok(())
    }

    /// Chooses what to train by gradient norms; with privacy, at the price in the plan.
    pub(super) fn choose(
        &mut self,
        rule: &TopGradientNorm,
        model: &T::Model,
        records: &Records<T>,
        physical: usize,
    ) -> Result<TopSelection> {
        let load = |chunk: &[usize]| records.load(chunk);
        match self {
            Self::Private(optimizer) => {
                let sample = optimizer.sample_for_selection(records.count())?;
                Ok(optimizer.select_top(rule, model, sample.batches(physical, load)?)?)
            }
            // Nothing is private in such a run.
            Self::Ordinary { seed, rate, .. } => {
                let sample = PoissonSampler::new(seed, *rate, records.count())?.sample(u64::MAX);
                let batches: Vec<_> = sample.chunks(physical.max(1)).map(load).collect();
                let mut engine = Traced::new(loss::<T> as Loss<T>);
                Ok(rule.on_public(&mut engine, model, PublicData::vouch(batches))?)
            }
        }
    }
}

/// See [`Examples::loss`].
fn loss<T: Task>(model: &T::Model, batch: Examples<T::Inputs>) -> Tensor<1> {
    batch.loss(model)
}

fn adam(weight_decay: f32) -> ModuleOptimizer {
    AdamWConfig::new().with_weight_decay(weight_decay).init()
}
