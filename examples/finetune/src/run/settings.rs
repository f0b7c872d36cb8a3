//! What a run was asked for, with the defaults filled in.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use burn::tensor::Device;
use burn_dp::privacy::Delta;
use serde_json::Value;

use super::args::Args;
use super::method::Recipe;
use super::task::{Part, Task};
use super::units::Units;

pub(super) struct Settings<'a> {
    pub(super) args: &'a Args,
    /// The task's own flags.
    pub(super) task: Value,
    pub(super) method: &'static dyn Recipe,
    /// Without autodiff.
    pub(super) plain: Device,
    /// With autodiff.
    pub(super) device: Device,
    /// The folder of results.
    pub(super) out: PathBuf,
    /// What is trained on: units of protection.
    pub(super) units: Units,
    /// Held-out records, each by itself.
    pub(super) held_out: Units,
    pub(super) steps: u64,
    pub(super) batch: f64,
    pub(super) lr: f64,
    pub(super) head_lr: f64,
    pub(super) eval_every: u64,
    pub(super) delta: Delta,
}

impl<'a> Settings<'a> {
    /// `own` are the task's own flags.
    ///
    /// # Errors
    /// When a flag makes no sense.
    pub(super) fn new<T: Task>(task: &T, own: Value, args: &'a Args) -> Result<Self> {
        let defaults = task.defaults(args.method, args.private());
        let method = args.method.recipe();
        args.rates.check()?;
        let all = task.units();
        let units = args.limit.map_or_else(|| all.clone(), |limit| all.first(limit));
        let records = units.len();
        ensure!(records > 0, "--limit 0 leaves nothing to train on");
        let held_out = Units::records(task.targets(Part::Test).len());
        ensure!(!held_out.is_empty(), "no records are held out to test on");
        let steps = args.steps.unwrap_or(defaults.steps);
        ensure!(steps > 0, "--steps must be at least 1");
        let batch = args.batch.unwrap_or(defaults.batch.min(records as f64));
        ensure!(
            batch > 0.0 && batch <= records as f64,
            "--batch {batch} must be above 0 and at most the {records} {}s",
            units.name()
        );
        ensure!(args.views > 0, "--views must be at least 1");
        ensure!(
            args.views == 1 || (task.has_views() && !method.is_head_only(0, steps)),
            "--views {} needs images that the network sees anew at each step: not sentences, and not a head on \
             features that were computed once",
            args.views
        );
        // Where only the head trains, to the last step, there is one rate.
        let one_rate = method.is_head_only(steps - 1, steps);
        let head_lr = args.head_lr.or(args.lr.filter(|_| one_rate));
        let plain = args.device.device();
        Ok(Self {
            args,
            task: own,
            method,
            device: plain.clone().autodiff(),
            plain,
            out: args.out.clone().unwrap_or_else(|| default_folder(task, args)),
            units,
            held_out,
            steps,
            batch,
            lr: args.lr.unwrap_or(method.learning_rate(defaults.lr, &args.situation())),
            head_lr: head_lr.unwrap_or(defaults.head_lr),
            eval_every: args.eval_every.unwrap_or(steps.div_ceil(5)),
            delta: Delta::new(args.delta)?,
        })
    }

    /// Whether the step trains nothing but the head.
    pub(super) fn is_head_only(&self, step: u64) -> bool {
        self.method.is_head_only(step, self.steps)
    }
}

fn default_folder<T: Task>(task: &T, args: &Args) -> PathBuf {
    let seed = args.seed.map_or("random".to_owned(), |seed| seed.to_string());
    let epsilon = if args.private() { args.epsilon.to_string() } else { "inf".to_owned() };
    Path::new("out").join(format!("{}-{}-{epsilon}-{seed}", task.name(), args.method.name()))
}
