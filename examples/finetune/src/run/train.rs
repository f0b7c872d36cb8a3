//! The run: prepare, step, test, report.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Tensor};
use burn_dp::mechanism::Seed;
use burn_dp::privacy::*;
use burn_dp::selection::{Groups, LowRank, ParamSelector, Schedule, TopGradientNorm, TopSelection};
use indicatif::ProgressBar;

use super::evaluation::evaluate;
use super::features::Features;
use super::method::{HEAD, Method, TOP_SHARE};
use super::report::{self, Report, Summary};
use super::state::{Settings, State};
use super::step::Stepper;
use super::task::{Examples, Part, Task, labels};
use super::{Args, interrupt};

/// Rank and alpha of adapters.
const ADAPTERS: (usize, f64) = (8, 16.0);
/// Noise multiplier of the release by which layers are chosen.
const SELECTION_NOISE: f64 = 4.0;

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
    let mut model = adapted(task, args.method, task.model(&device)?)?;
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
        if let Some(selection) = selection {
            bar.suspend(|| println!("{selection}"));
        }
        let cached =
            features.as_ref().filter(|_| args.method.is_head_only(stepper.taken(), run.steps));
        let load = |records: &[usize]| {
            let inputs = match cached {
                None => Some(task.inputs(Part::Train, records, &device)),
                Some(_) => None,
            };
            let features = cached.map(|(train, _)| train.batch(records, &device));
            Examples {
                inputs,
                features,
                labels: labels(task.labels(Part::Train), records, &device),
            }
        };
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
            anyhow::bail!(
                "stopped after step {taken}; to go on, run the same command with --resume"
            );
        }
    }
    bar.finish_and_clear();
    let last = schedule.at((run.steps - 1).into()).select(&model)?;
    state.trained = (last.trained(), last.total());
    let statement = stepper
        .statement(run.delta)
        .unwrap_or_else(|| "Guarantee: none; trained without privacy.".into());
    let summary = report.finish(&state, &statement, run.steps)?;
    report::save_weights(&run.out, model)?;
    println!("{summary}\nin {}", run.out.display());
    Ok(summary)
}

/// Settings with the defaults filled in.
struct Run<'a> {
    args: &'a Args,
    plain: Device,
    out: PathBuf,
    records: usize,
    steps: u64,
    batch: f64,
    lr: f64,
    head_lr: f64,
    eval_every: u64,
    delta: Delta,
}

impl<'a> Run<'a> {
    fn new<T: Task>(task: &T, args: &'a Args) -> Result<Self> {
        let defaults = task.defaults(args.method);
        let available = task.labels(Part::Train).len();
        let records = args.limit.unwrap_or(available).min(available);
        ensure!(records > 0, "--limit 0 leaves nothing to train on");
        let steps = args.steps.unwrap_or(defaults.steps);
        ensure!(steps > 0, "--steps must be at least 1");
        let batch = args.batch.unwrap_or(defaults.batch.min(records as f64));
        ensure!(
            batch > 0.0 && batch <= records as f64,
            "--batch {batch} must be above 0 and at most the {records} records"
        );
        let seed = args.seed.map_or("random".to_owned(), |seed| seed.to_string());
        let epsilon = if args.private() { args.epsilon.to_string() } else { "inf".to_owned() };
        let name = format!("{}-{}-{epsilon}-{seed}", task.name(), args.method.name());
        Ok(Self {
            args,
            plain: args.device.device(),
            out: args.out.clone().unwrap_or_else(|| Path::new("out").join(name)),
            records,
            steps,
            batch,
            lr: args.lr.unwrap_or(defaults.lr),
            head_lr: args.head_lr.or(args.lr).unwrap_or(defaults.head_lr),
            eval_every: args.eval_every.unwrap_or(steps.div_ceil(5)),
            delta: Delta::new(args.delta)?,
        })
    }

    /// One rate for the head, another for the rest.
    fn learning_rate<M: Module>(&self, model: &M) -> Result<ModuleLearningRate> {
        let head = ParamSelector::regex(HEAD)?.select(model)?.group();
        let rest = ModuleLrScheduler::new(ConstantLr::from(self.lr));
        Ok(rest.with_group(head, ConstantLr::from(self.head_lr)).step())
    }

    fn stepper<T: Task>(&self) -> Result<Stepper<T>> {
        let rate = SamplingRate::new((self.batch / self.records as f64).min(1.0))?;
        let seed = match self.args.seed {
            Some(seed) => Seed::reproducible(seed),
            None => Seed::from_os()?,
        };
        if !self.args.private() {
            return Ok(Stepper::ordinary(seed, rate));
        }
        let mut plan = PrivacyPlan::builder()
            .target(Epsilon::new(self.args.epsilon)?, self.delta)
            .sampling_rate(rate)
            .expected_batch_size(ExpectedBatchSize::new(self.batch)?)
            .steps(Steps::from(self.steps))
            .clipping(Clipping::flat(ClippingNorm::new(self.args.clipping_norm)?));
        if self.args.method == Method::Topgrad {
            plan = plan.selection(PrivateSelection {
                sampling_rate: rate,
                noise_multiplier: NoiseMultiplier::new(SELECTION_NOISE)?,
                clipping_norm: ClippingNorm::new(1.0)?,
            });
        }
        Ok(Stepper::private(plan.build()?, seed, loss::<T>))
    }

    /// The paths of the parameters with the largest gradients.
    fn choose<T: Task>(
        &self,
        task: &T,
        model: &T::Model,
        stepper: &mut Stepper<T>,
        device: &Device,
    ) -> Result<Vec<String>> {
        let rule = TopGradientNorm::share(TOP_SHARE)?.by(Groups::Layers).per_scalar();
        let load = |records: &[usize]| Examples {
            inputs: Some(task.inputs(Part::Train, records, device)),
            features: None,
            labels: labels(task.labels(Part::Train), records, device),
        };
        let chosen =
            stepper.choose(&rule, model, self.records, self.args.physical, loss::<T>, load)?;
        match chosen {
            TopSelection::Parameters(selection) => {
                Ok(selection.paths().map(str::to_owned).collect())
            }
            _ => anyhow::bail!("the selection is not one of layers"),
        }
    }

    fn schedule<T: Task>(&self, task: &T, state: &State) -> Result<Schedule> {
        Ok(match &state.chosen {
            Some(paths) => {
                let chosen = ParamSelector::paths(paths.iter().cloned())?;
                Schedule::new(chosen.union(ParamSelector::regex(HEAD)?))
            }
            None => self.args.method.schedule(self.steps, &task.late()),
        })
    }

    /// Features of the training and the held-out records.
    fn features<T: Task>(
        &self,
        task: &T,
        model: &T::Model,
        folder: &Path,
    ) -> Result<(Features, Features)> {
        let of = |part| Features::of(task, model, part, folder, &self.plain);
        Ok((of(Part::Train)?, of(Part::Test)?))
    }
}

/// Attaches adapters where the method wants them.
fn adapted<T: Task>(task: &T, method: Method, model: T::Model) -> Result<T::Model> {
    if method != Method::Lora {
        return Ok(model);
    }
    let (rank, alpha) = ADAPTERS;
    let place = task.adapted().select(&model).context("where adapters go")?;
    Ok(model.apply_reparameterization(LowRank::new(rank, alpha)?.on(&place)))
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
