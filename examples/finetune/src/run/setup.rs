//! What a run is made of: settings with the defaults filled in, plan, schedule, adapters.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::Module;
use burn::tensor::Device;
use burn_dp::mask::SuperMaskConfig;
use burn_dp::privacy::*;
use burn_dp::seed::Seed;
use burn_dp::selection::{Groups, LowRank, ParamSelector, Schedule, TopGradientNorm, TopSelection};

use super::Args;
use super::features::Features;
use super::method::{HEAD, Method, TOP_SHARE};
use super::state::State;
use super::step::Stepper;
use super::task::{Examples, Part, Task, labels};
use super::train::loss;

/// Rank and alpha of adapters.
const ADAPTERS: (usize, f64) = (8, 16.0);
/// Noise multiplier of the release by which layers are chosen.
const SELECTION_NOISE: f64 = 4.0;

/// Settings with the defaults filled in.
pub(super) struct Run<'a> {
    args: &'a Args,
    pub(super) plain: Device,
    pub(super) out: PathBuf,
    pub(super) records: usize,
    pub(super) steps: u64,
    batch: f64,
    lr: f64,
    head_lr: f64,
    pub(super) eval_every: u64,
    pub(super) delta: Delta,
}

impl<'a> Run<'a> {
    pub(super) fn new<T: Task>(task: &T, args: &'a Args) -> Result<Self> {
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
        let lr = match args.method {
            Method::Supermask => args.mask.learning_rate(args.private(), defaults.lr),
            _ => defaults.lr,
        };
        // Where only the head trains there is one rate.
        let head_lr = args.head_lr.or(args.lr.filter(|_| args.method == Method::Head));
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
            lr: args.lr.unwrap_or(lr),
            head_lr: head_lr.unwrap_or(defaults.head_lr),
            eval_every: args.eval_every.unwrap_or(steps.div_ceil(5)),
            delta: Delta::new(args.delta)?,
        })
    }

    /// One rate for the head, another for the rest.
    pub(super) fn learning_rate<M: Module>(&self, model: &M) -> Result<ModuleLearningRate> {
        let head = ParamSelector::regex(HEAD)?.select(model)?.group();
        let rest = ModuleLrScheduler::new(ConstantLr::from(self.lr));
        Ok(rest.with_group(head, ConstantLr::from(self.head_lr)).step())
    }

    pub(super) fn stepper<T: Task>(&self) -> Result<Stepper<T>> {
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
    pub(super) fn choose<T: Task>(
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

    pub(super) fn schedule<T: Task>(&self, task: &T, state: &State) -> Result<Schedule> {
        Ok(match &state.chosen {
            Some(paths) => {
                let chosen = ParamSelector::paths(paths.iter().cloned())?;
                Schedule::new(chosen.union(ParamSelector::regex(HEAD)?))
            }
            None => self.args.method.schedule(self.steps, &task.late())?,
        })
    }

    /// Features of the training and the held-out records.
    pub(super) fn features<T: Task>(
        &self,
        task: &T,
        model: &T::Model,
        folder: &Path,
    ) -> Result<(Features, Features)> {
        let of = |part| Features::of(task, model, part, folder, &self.plain);
        Ok((of(Part::Train)?, of(Part::Test)?))
    }
}

/// Attaches adapters or a mask where the method wants them.
pub(super) fn adapted<T: Task>(
    task: &T,
    args: &Args,
    model: T::Model,
) -> Result<(T::Model, Option<SuperMaskConfig>)> {
    let place = || task.adapted()?.select(&model).context("where adapters go");
    match args.method {
        Method::Lora => {
            let (rank, alpha) = ADAPTERS;
            let adapters = LowRank::new(rank, alpha)?.on(&place()?);
            Ok((adapters.apply(model)?, None))
        }
        Method::Supermask => {
            let config = args.mask.config(&place()?, args.private(), task.output_axis())?;
            Ok((config.apply(model)?, Some(config)))
        }
        Method::None
        | Method::Full
        | Method::Head
        | Method::Bitfit
        | Method::Topgrad
        | Method::TwoPhase => Ok((model, None)),
    }
}
