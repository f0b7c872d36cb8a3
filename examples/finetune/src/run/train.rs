//! The run: set up, take steps, report.

use std::path::Path;

use anyhow::{Result, bail};
use indicatif::ProgressBar;

use super::args::Args;
use super::average::Average;
use super::begin::begin;
use super::evaluation::evaluate;
use super::report::{self, Report, Summary};
use super::settings::Settings;
use super::setup::{Setup, learning_rate};
use super::stopwatch::Stopwatch;
use super::task::Task;
use super::training::Training;
use super::{checkpoint, interrupt, progress};

/// Fine-tunes `task`'s model as `args` say; `own` are the task's own flags, for the record. `folder` is where
/// features are kept.
///
/// # Errors
/// When data, weights or flags cannot be used, or results cannot be written.
pub fn run<T: Task>(
    task: &T,
    own: serde_json::Value,
    args: &Args,
    folder: &Path,
) -> Result<Summary> {
    interrupt::watch()?;
    let settings = Settings::new(task, own, args)?;
    let (units, held_out) = (&settings.units, settings.held_out.len());
    let records = units.used();
    println!("{}: {records} records to train on, {held_out} held out", task.data());
    if units.is_by_user() {
        println!("What is protected is a user, with all records: {} users", units.len());
    }
    let (mut training, mask) = begin(task, &settings)?;
    let mut report = Report::new(&settings.out, training.stepper.taken())?;
    let setup = Setup::new(task, &settings, mask, &mut training, folder)?;
    println!("{}", statement(&settings, &training));
    let training = take_steps(&setup, training, &mut report)?;
    finish(&setup, training, report)
}

/// Takes the steps that are left, tests now and then, and saves checkpoints.
fn take_steps<T: Task>(
    setup: &Setup<T>,
    mut training: Training<T>,
    report: &mut Report,
) -> Result<Training<T>> {
    let settings = setup.settings;
    let bar = progress::bar(settings.steps, "steps");
    bar.set_position(training.stepper.taken());
    let mut stopwatch = Stopwatch::from(training.state.seconds);
    while training.stepper.taken() < settings.steps {
        let step = training.stepper.taken();
        training = take_step(setup, training, &bar)?;
        training.state.seconds = stopwatch.seconds();
        bar.inc(1);
        let taken = training.stepper.taken();
        let due = |every: u64| taken.is_multiple_of(every.max(1));
        if due(settings.steps / 50)
            && let Some(epsilon) = training.stepper.epsilon(settings.delta)?
        {
            bar.set_message(format!("epsilon {epsilon}"));
        }
        if due(settings.eval_every) || taken == settings.steps {
            let records = setup.held_out_records(step);
            let evaluation = stopwatch.aside(|| evaluate(&records, training.result()))?;
            let epsilon = training.stepper.epsilon(settings.delta)?;
            report.add(taken, epsilon, evaluation, training.state.seconds)?;
            bar.suspend(|| report.print_last());
        }
        let stop = interrupt::asked() && taken < settings.steps;
        if stop || settings.args.checkpoint_every.is_some_and(due) {
            checkpoint::save(&settings.out, &mut training)?;
        }
        if stop {
            bar.finish_and_clear();
            bail!("stopped after step {taken}; to go on, run the same command with --resume");
        }
    }
    bar.finish_and_clear();
    Ok(training)
}

/// Freezes what the schedule does not train, draws the mask anew, and takes the step.
fn take_step<T: Task>(
    setup: &Setup<T>,
    mut training: Training<T>,
    bar: &ProgressBar,
) -> Result<Training<T>> {
    let (args, step) = (setup.settings.args, training.stepper.taken());
    let (mut model, selection) = training.stepper.follow(&setup.schedule, training.model)?;
    if let Some(mask) = &setup.mask {
        // Draws are no secret.
        model = mask.refresh(model, args.seed.unwrap_or(0), step)?;
    }
    if let Some(selection) = selection {
        bar.suspend(|| println!("{selection}"));
    }
    let records = setup.training_records(step);
    let rate = learning_rate(setup.settings, &model, step)?;
    training.stepper.step(rate, &mut model, &records, args.physical)?;
    if args.rates.counts(training.stepper.taken(), setup.settings.steps) {
        training.average = Some(match training.average.take() {
            Some(average) => average.add(&model),
            None => Average::of(&model),
        });
    }
    training.model = model;
    Ok(training)
}

/// Writes the report, the mask if there is one, and the weights.
fn finish<T: Task>(setup: &Setup<T>, mut training: Training<T>, report: Report) -> Result<Summary> {
    let Setup { task, settings, .. } = setup;
    let last = setup.schedule.at((settings.steps - 1).into()).select(&training.model)?;
    training.state.trained = (last.trained(), last.total());
    let statement = statement(settings, &training);
    let mask = match &setup.mask {
        Some(config) => report::save_mask(&settings.out, config, training.result())?,
        None => None,
    };
    let summary =
        report.finish(*task, settings, &training.state, (&statement, &last.to_string()), mask)?;
    report::save_weights(&settings.out, training.result().clone())?;
    println!("{summary}\nin {}", settings.out.display());
    Ok(summary)
}

/// The guarantee in words.
fn statement<T: Task>(settings: &Settings, training: &Training<T>) -> String {
    let Some(statement) = training.stepper.statement(settings.delta) else {
        return "Guarantee: none; trained without privacy.".into();
    };
    match settings.units.is_by_user() {
        true => {
            format!("{statement}\nA record of this statement is a user, with all records of his.")
        }
        false => statement,
    }
}
