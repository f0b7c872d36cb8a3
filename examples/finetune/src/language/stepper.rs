//! One logical step, private or not.

use anyhow::Result;
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use burn_dp::DpOptimizer;
use burn_dp::per_example::Traced;
use burn_dp::privacy::{Clipping, Delta, Epsilon, PrivacyPlan, SamplingRate};
use burn_dp::sampling::PoissonSampler;
use burn_dp::seed::Seed;

use super::loss::loss;
use super::settings::FineTuning;
use super::texts::{NextTokens, Texts};
use crate::models::gpt2::Gpt2;

/// Takes steps.
pub(super) enum Stepper {
    /// With clipping, noise and a ledger.
    Private { optimizer: Box<DpOptimizer<Traced<Loss>>>, delta: Delta },
    /// The same batches and optimizer, without.
    Ordinary { optimizer: Box<ModuleOptimizer>, seed: Seed, rate: SamplingRate, taken: u64 },
}

type Loss = fn(&Gpt2, NextTokens) -> Tensor<1>;

impl Stepper {
    pub(super) fn new(settings: &FineTuning, rate: SamplingRate) -> Result<Self> {
        let seed = match settings.seed {
            Some(seed) => Seed::reproducible(seed),
            None => Seed::from_os()?,
        };
        let optimizer = AdamWConfig::new().with_weight_decay(settings.weight_decay).init();
        let Some(privacy) = settings.privacy else {
            return Ok(Self::Ordinary { optimizer: Box::new(optimizer), seed, rate, taken: 0 });
        };
        let plan = PrivacyPlan::builder()
            .target(privacy.epsilon, privacy.delta)
            .sampling_rate(rate)
            .expected_batch_size(settings.batch)
            .steps(settings.steps)
            .clipping(Clipping::flat(privacy.clipping_norm))
            .build()?;
        let engine = Traced::new(loss as Loss);
        let optimizer = Box::new(DpOptimizer::with_seed(plan, optimizer, engine, seed));
        Ok(Self::Private { optimizer, delta: privacy.delta })
    }

    /// Takes a step on a Poisson sample of the texts.
    pub(super) fn step(
        &mut self,
        model: &mut Gpt2,
        texts: &Texts,
        settings: &FineTuning,
        device: &Device,
    ) -> Result<()> {
        let size = |record: &usize| texts.predicted(*record);
        let load = |records: &[usize]| texts.batch(records, device);
        match self {
            Self::Private { optimizer, .. } => {
                let sample = optimizer.sample(texts.len())?.sorted_by_key(size);
                let batch = sample.batches(settings.physical, load)?;
                optimizer.step(settings.learning_rate, model, batch)?;
            }
            Self::Ordinary { optimizer, seed, rate, taken } => {
                let mut sample = PoissonSampler::new(seed, *rate, texts.len())?.sample(*taken);
                sample.sort_by_cached_key(size);
                let count = sample.len().max(1) as f64;
                let mut sum = GradientsAccumulator::new();
                for chunk in sample.chunks(settings.physical) {
                    let share = chunk.len() as f64 / count;
                    let gradients = loss(model, load(chunk)).mul_scalar(share).backward();
                    sum.accumulate(model, GradientsParams::from_grads(gradients, model));
                }
                *model = optimizer.step(settings.learning_rate, model.clone(), sum.grads());
                *taken += 1;
            }
        }
        Ok(())
    }

    /// ε of the steps so far, if there is one.
    pub(super) fn epsilon(&self) -> Result<Option<Epsilon>> {
        Ok(match self {
            Self::Private { optimizer, delta } => Some(optimizer.epsilon(*delta)?),
            Self::Ordinary { .. } => None,
        })
    }

    /// The guarantee in words.
    pub(super) fn statement(&self) -> String {
        match self {
            Self::Private { optimizer, delta } => optimizer.statement(*delta).to_string(),
            Self::Ordinary { .. } => "Guarantee: none; trained without privacy.".to_owned(),
        }
    }
}
