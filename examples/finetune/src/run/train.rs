//! The run: prepare, step, test, report.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Tensor};
use indicatif::ProgressBar;

use super::evaluation::evaluate;
use super::features::Features;
use super::method::Method;
use super::report::{self, Report, Summary};
use super::setup::{Run, adapted};
use super::state::{Settings, State};
use super::task::{Examples, Part, Task, labels};
use super::{Args, interrupt, masks};

/// Fine-tunes `task`'s model as `args` say; `settings` are the task's own, for the record. `folder` is where
/// features are kept.
///
/// # Errors
/// When data, weights or flags cannot be used, or results cannot be written.
pub fn run<T: Task>(
    task: &T,
    settings: serde_json::Value,
    args: &Args,
    folder: &Path,
) -> Result<Summary> {
    interrupt::watch()?;
    let run = Run::new(task, args)?;
    println!(
        "{}: {} records to train on, {} held out",
        task.data(),
        run.records,
        task.labels(Part::Test).len()
    );

    let device = run.plain.clone().autodiff();
    device.seed(args.seed.unwrap_or_else(rand_seed));
    let (mut model, mask) = adapted(task, args, task.model(&device)?)?;
    let mut stepper = run.stepper::<T>()?;
    let begun_with = Settings::new(&settings, args)?;
    let mut state = State::new(begun_with.clone());
    if args.resume {
        (state, model) = State::load(&run.out, &begun_with, &mut stepper, model)?;
        println!("resumed after step {}", stepper.taken());
    }
    let mut report = Report::new(&run.out, task, settings, args, stepper.taken())?;
    if args.method == Method::Topgrad && state.chosen.is_none() {
        state.chosen = Some(run.choose(task, &model, &mut stepper, &device)?);
    }
    let schedule = run.schedule(task, &state)?;
    let learning_rate = run.learning_rate(&model)?;
    let needs_features = args.method.is_head_only(stepper.taken(), run.steps);
    let features = match needs_features {
        true => Some(run.features(task, &model, folder)?),
        false => None,
    };
    if let Some(statement) = stepper.statement(run.delta) {
        println!("{statement}");
    }

    let bar = ProgressBar::new(run.steps).with_style(report::bar_style("steps"));
    bar.set_position(stepper.taken());
    let started = Instant::now();
    let before = state.seconds;
    let mut tested = 0.0;
    while stepper.taken() < run.steps {
        let (next, selection) = stepper.follow(&schedule, model)?;
        model = next;
        if let Some(mask) = &mask {
            // Draws are no secret.
            model = mask.refresh(model, args.seed.unwrap_or(0), stepper.taken())?;
        }
        if let Some(selection) = selection {
            bar.suspend(|| println!("{selection}"));
        }
        let cached =
            features.as_ref().filter(|_| args.method.is_head_only(stepper.taken(), run.steps));
        let load =
            |records: &[usize]| examples(task, records, cached.map(|(train, _)| train), &device);
        stepper.step(learning_rate.clone(), task, &mut model, run.records, args.physical, load)?;
        state.seconds = before + started.elapsed().as_secs_f64() - tested;
        bar.inc(1);
        let taken = stepper.taken();
        let due = |every: u64| taken.is_multiple_of(every.max(1));
        if due(run.steps / 50)
            && let Some(epsilon) = stepper.epsilon(run.delta)?
        {
            bar.set_message(format!("epsilon {epsilon}"));
        }
        if due(run.eval_every) || taken == run.steps {
            let start = Instant::now();
            // Features serve as long as the trunk is the pretrained one.
            let test = cached.map(|(_, test)| test);
            let evaluation = evaluate(task, &model, test, &run.plain)?;
            tested += start.elapsed().as_secs_f64();
            report.add(taken, stepper.epsilon(run.delta)?, evaluation, state.seconds)?;
            bar.suspend(|| report.print_last());
        }
        let stop = interrupt::asked() && taken < run.steps;
        if stop || args.checkpoint_every.is_some_and(due) {
            state.save(&run.out, &stepper, &model)?;
        }
        if stop {
            bar.finish_and_clear();
            bail!("stopped after step {taken}; to go on, run the same command with --resume");
        }
    }
    bar.finish_and_clear();
    let last = schedule.at((run.steps - 1).into()).select(&model)?;
    state.trained = (last.trained(), last.total());
    let statement = stepper
        .statement(run.delta)
        .unwrap_or_else(|| "Guarantee: none; trained without privacy.".into());
    let mask = match &mask {
        Some(config) => masks::save(&run.out, config, &model)?,
        None => None,
    };
    let summary = report.finish(&state, &statement, run.steps, mask)?;
    report::save_weights(&run.out, model)?;
    println!("{summary}\nin {}", run.out.display());
    Ok(summary)
}

/// Training records, as features where there are any.
fn examples<T: Task>(
    task: &T,
    records: &[usize],
    features: Option<&Features>,
    device: &Device,
) -> Examples<T::Inputs> {
    let inputs = match features {
        None => Some(task.inputs(Part::Train, records, device)),
        Some(_) => None,
    };
    let features = features.map(|features| features.batch(records, device));
    let labels = labels(task.labels(Part::Train), records, device);
    Examples { inputs, features, labels }
}

/// The mean cross entropy of a batch.
pub(super) fn loss<T: Task>(model: &T::Model, batch: Examples<T::Inputs>) -> Tensor<1> {
    let labels = batch.labels.clone();
    match batch.logits(model) {
        Some(logits) => {
            CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels)
        }
        None => Tensor::zeros([1], &labels.device()),
    }
}

fn rand_seed() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}
