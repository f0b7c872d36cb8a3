//! One logical step, private or not.

use anyhow::Result;
use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;
use burn_dp::DpOptimizer;
use burn_dp::per_example::Traced;
use burn_dp::privacy::{Delta, Epsilon, PrivacyPlan, SamplingRate};
use burn_dp::sampling::PoissonSampler;
use burn_dp::seed::Seed;
use burn_dp::selection::{PublicData, Schedule, Selection, TopGradientNorm, TopSelection};

use super::task::{Examples, Part, Task};

/// A task's loss.
pub(super) type Loss<T> = fn(&<T as Task>::Model, Examples<<T as Task>::Inputs>) -> Tensor<1>;

/// Takes steps.
pub(super) enum Stepper<T: Task> {
    /// With clipping, noise and a ledger.
    Private(Box<DpOptimizer<Traced<Loss<T>>>>),
    /// The same batches and optimizer, without.
    Ordinary { optimizer: Box<ModuleOptimizer>, seed: Seed, rate: SamplingRate, taken: u64 },
}

impl<T: Task> Stepper<T> {
    pub(super) fn private(plan: PrivacyPlan, seed: Seed, loss: Loss<T>) -> Self {
        let optimizer = AdamConfig::new().init();
        Self::Private(Box::new(DpOptimizer::with_seed(plan, optimizer, Traced::new(loss), seed)))
    }

    pub(super) fn ordinary(seed: Seed, rate: SamplingRate) -> Self {
        let optimizer = Box::new(AdamConfig::new().init());
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

    /// Takes a step on a Poisson sample of the task's first `records`.
    pub(super) fn step(
        &mut self,
        learning_rate: ModuleLearningRate,
        task: &T,
        model: &mut T::Model,
        records: usize,
        physical: usize,
        load: impl Fn(&[usize]) -> Examples<T::Inputs>,
    ) -> Result<()> {
        let size = |record: &usize| task.size(Part::Train, *record);
        match self {
            Self::Private(optimizer) => {
                let sample = optimizer.sample(records)?.sorted_by_key(size);
                let batch = sample.batches(physical, load)?;
                optimizer.step(learning_rate, model, batch)?;
            }
            Self::Ordinary { optimizer, seed, rate, taken } => {
                let mut sample = PoissonSampler::new(seed, *rate, records)?.sample(*taken);
                sample.sort_by_cached_key(size);
                let count = sample.len().max(1) as f64;
                let mut sum = burn::optim::GradientsAccumulator::new();
                for chunk in sample.chunks(physical.max(1)) {
                    let share = chunk.len() as f64 / count;
                    let loss = super::train::loss::<T>(model, load(chunk)).mul_scalar(share);
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
        records: usize,
        physical: usize,
        loss: Loss<T>,
        load: impl Fn(&[usize]) -> Examples<T::Inputs>,
    ) -> Result<TopSelection> {
        match self {
            Self::Private(optimizer) => {
                let batch = optimizer.sample_for_selection(records)?.batches(physical, load)?;
                Ok(optimizer.select_top(rule, model, batch)?)
            }
            // Nothing is private in such a run.
            Self::Ordinary { seed, rate, .. } => {
                let sample = PoissonSampler::new(seed, *rate, records)?.sample(u64::MAX);
                let batches: Vec<_> = sample.chunks(physical.max(1)).map(load).collect();
                Ok(rule.on_public(&mut Traced::new(loss), model, PublicData::vouch(batches))?)
            }
        }
    }
}

impl<T: Task> Stepper<T> {
    /// Saves what a run needs to go on, in `folder`.
    pub(super) fn save(&self, folder: &std::path::Path, model: &T::Model) -> Result<()> {
        match self {
            Self::Private(optimizer) => optimizer.save(model, folder.join("checkpoint.bin"))?,
            Self::Ordinary { optimizer, .. } => {
                let failed = |error| anyhow::anyhow!("cannot save a checkpoint: {error}");
                let weights = model.clone().into_record().into_bytes();
                std::fs::write(
                    folder.join("checkpoint-model.bin"),
                    &*weights.map_err(|e| failed(e.to_string()))?,
                )?;
                let moments = optimizer.into_bytes().map_err(|e| failed(e.to_string()))?;
                std::fs::write(folder.join("checkpoint-optimizer.bin"), &*moments)?;
            }
        }
        Ok(())
    }

    /// Goes on from what [`save`](Self::save) wrote after `steps` steps.
    pub(super) fn load(
        &mut self,
        folder: &std::path::Path,
        model: T::Model,
        steps: u64,
    ) -> Result<T::Model> {
        match self {
            Self::Private(optimizer) => Ok(optimizer.load(model, folder.join("checkpoint.bin"))?),
            Self::Ordinary { optimizer, taken, .. } => {
                let read = |name: &str| -> Result<burn::tensor::Bytes> {
                    Ok(burn::tensor::Bytes::from_bytes_vec(std::fs::read(folder.join(name))?))
                };
                let failed = |error: String| anyhow::anyhow!("cannot load the checkpoint: {error}");
                let weights = burn::store::ModuleRecord::from_bytes(read("checkpoint-model.bin")?);
                let weights = weights.map_err(|e| failed(e.to_string()))?;
                let moments =
                    burn::optim::OptimizerRecord::from_bytes(read("checkpoint-optimizer.bin")?);
                let moments = moments.map_err(|e| failed(e.to_string()))?;
                **optimizer = optimizer.clone().load_record(moments);
                *taken = steps;
                model.try_load_record(weights).map_err(|e| failed(e.to_string()))
            }
        }
    }
}
