//! The beginning of a run: a pretrained model and what takes steps with it, or the checkpoint of both.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use burn_dp::mask::SuperMaskConfig;
use burn_dp::privacy::*;
use burn_dp::seed::Seed;

use super::checkpoint;
use super::method::Attachment;
use super::settings::Settings;
use super::state::{BegunWith, State};
use super::stepper::Stepper;
use super::task::Task;
use super::training::Training;

/// A run before its first step, or after its last checkpoint; and its mask, if it trains one.
pub(super) fn begin<T: Task>(
    task: &T,
    settings: &Settings,
) -> Result<(Training<T>, Option<SuperMaskConfig>)> {
    let args = settings.args;
    settings.device.seed(args.seed.unwrap_or_else(seed_of_the_clock));
    let (model, mask) = attached(task, settings, task.model(&settings.device)?)?;
    let stepper = stepper(settings)?;
    let state = State::new(BegunWith::new(&settings.task, args)?);
    let mut training = Training { model, stepper, state, average: None };
    if args.resume {
        training = checkpoint::load(&settings.out, training)?;
        println!("resumed after step {}", training.stepper.taken());
    }
    Ok((training, mask))
}

/// The model with what its method attaches to it.
fn attached<T: Task>(
    task: &T,
    settings: &Settings,
    model: T::Model,
) -> Result<(T::Model, Option<SuperMaskConfig>)> {
    let place = || task.adapted(&model)?.select(&model).context("where adapters go");
    let axis = task.output_axis(&model);
    match settings.method.attachment(&settings.args.situation(), axis)? {
        Attachment::Nothing => Ok((model, None)),
        Attachment::Adapters(adapters) => {
            let adapters = adapters.on(&place()?);
            Ok((adapters.apply(model)?, None))
        }
        Attachment::Mask(config) => {
            let config = config.on(&place()?);
            Ok((config.apply(model)?, Some(config)))
        }
    }
}

fn stepper<T: Task>(settings: &Settings) -> Result<Stepper<T>> {
    let args = settings.args;
    let rate = SamplingRate::new((settings.batch / settings.units.len() as f64).min(1.0))?;
    let seed = match args.seed {
        Some(seed) => Seed::reproducible(seed),
        None => Seed::from_os()?,
    };
    if !args.private() {
        return Ok(Stepper::ordinary(seed, rate, args.rates.weight_decay));
    }
    let mut plan = PrivacyPlan::builder()
        .target(Epsilon::new(args.epsilon)?, settings.delta)
        .sampling_rate(rate)
        .expected_batch_size(ExpectedBatchSize::new(settings.batch)?)
        .steps(Steps::from(settings.steps))
        .clipping(Clipping::flat(ClippingNorm::new(args.clipping_norm)?));
    if let Some(choice) = settings.method.choice()? {
        plan = plan.selection(PrivateSelection {
            sampling_rate: rate,
            noise_multiplier: choice.noise_multiplier,
            clipping_norm: choice.clipping_norm,
        });
    }
    Ok(Stepper::private(plan.build()?, seed, args.rates.weight_decay))
}

fn seed_of_the_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |since| since.as_nanos() as u64)
}
