//! What a run was asked for, with the defaults filled in.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use burn::tensor::Device;
use burn_dp::privacy::Delta;
use serde_json::Value;

use super::args::Args;
use super::method::{Recipe, Situation};
use super::task::{Part, Task};

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
    /// Records that are trained on.
    pub(super) records: usize,
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
        let defaults = task.defaults(args.method);
        let method = args.method.recipe();
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
            records,
            steps,
            batch,
            lr: args.lr.unwrap_or(method.learning_rate(defaults.lr, &situation(task, args))),
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

pub(super) fn situation<'a, T: Task>(task: &T, args: &'a Args) -> Situation<'a> {
    Situation { private: args.private(), output_axis: task.output_axis(), mask: &args.mask }
}

fn default_folder<T: Task>(task: &T, args: &Args) -> PathBuf {
    let seed = args.seed.map_or("random".to_owned(), |seed| seed.to_string());
    let epsilon = if args.private() { args.epsilon.to_string() } else { "inf".to_owned() };
    Path::new("out").join(format!("{}-{}-{epsilon}-{seed}", task.name(), args.method.name()))
}
