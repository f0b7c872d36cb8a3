//! What a run leaves behind.

use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::module::Module;
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn_dp::privacy::Epsilon;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use indicatif::ProgressStyle;
use serde::{Deserialize, Serialize};

use super::evaluation::Evaluation;
use super::state::State;
use super::task::Task;
use super::{Args, MaskSummary, plots};

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Metrics {
    pub(super) step: u64,
    /// None without privacy.
    pub(super) epsilon: Option<f64>,
    /// On the held-out records, which count as public.
    pub(super) accuracy: f64,
    pub(super) loss: f64,
    /// Spent in steps.
    pub(super) seconds: f64,
}

/// `run.json`: what was run, and how it ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Summary {
    /// `cifar10` or `sst2`.
    pub task: String,
    /// The data in words.
    pub data: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The task's own settings.
    pub settings: serde_json::Value,
    /// The settings.
    pub args: Args,
    /// Steps taken.
    pub steps: u64,
    /// Scalars trained in the last phase.
    pub trained: usize,
    /// Scalars of the model.
    pub parameters: usize,
    /// ε of the run; none without privacy.
    pub epsilon: Option<f64>,
    /// On the held-out records.
    pub accuracy: f64,
    /// On the held-out records.
    pub loss: f64,
    /// A step took so long, tests aside.
    pub seconds_per_step: f64,
    /// The process's peak resident set, where the system tells.
    pub peak_megabytes: Option<f64>,
    /// The mask, where a binary one was trained.
    pub mask: Option<MaskSummary>,
}

/// Writes results as they come.
pub(super) struct Report {
    folder: PathBuf,
    summary: Summary,
    lines: Vec<Metrics>,
    file: File,
}

impl Report {
    /// Goes on after the first `taken` steps; 0 begins anew.
    pub(super) fn new<T: Task>(
        folder: &Path,
        task: &T,
        settings: serde_json::Value,
        args: &Args,
        taken: u64,
    ) -> Result<Self> {
        let place = || format!("cannot write to {}", folder.display());
        fs::create_dir_all(folder).with_context(place)?;
        let path = folder.join("metrics.jsonl");
        // What followed the checkpoint is done again.
        let mut lines = if taken == 0 { Vec::new() } else { read_metrics(&path)? };
        lines.retain(|line| line.step <= taken);
        let mut file = File::create(&path).with_context(place)?;
        for line in &lines {
            writeln!(file, "{}", serde_json::to_string(line)?)?;
        }
        let summary = Summary {
            task: task.name().into(),
            data: task.data(),
            classes: task.classes(),
            settings,
            args: args.clone(),
            steps: 0,
            trained: 0,
            parameters: 0,
            epsilon: None,
            accuracy: f64::NAN,
            loss: f64::NAN,
            seconds_per_step: f64::NAN,
            peak_megabytes: None,
            mask: None,
        };
        Ok(Self { folder: folder.to_owned(), summary, lines, file })
    }

    pub(super) fn add(
        &mut self,
        step: u64,
        epsilon: Option<Epsilon>,
        evaluation: Evaluation,
        seconds: f64,
    ) -> Result<()> {
        let Evaluation { accuracy, loss } = evaluation;
        let epsilon = epsilon.map(|epsilon| epsilon.value());
        let line = Metrics { step, epsilon, accuracy, loss, seconds };
        writeln!(self.file, "{}", serde_json::to_string(&line)?)?;
        self.file.flush()?;
        self.lines.push(line);
        Ok(())
    }

    pub(super) fn print_last(&self) {
        if let Some(Metrics { step, epsilon, accuracy, loss, .. }) = self.lines.last() {
            let epsilon = epsilon.map_or("-".to_owned(), |epsilon| format!("{epsilon:.3}"));
            println!(
                "step {step}: epsilon {epsilon}, accuracy {:.2} %, loss {loss:.4}",
                100.0 * accuracy
            );
        }
    }

    pub(super) fn finish(
        mut self,
        state: &State,
        statement: &str,
        steps: u64,
        mask: Option<MaskSummary>,
    ) -> Result<Summary> {
        let summary = &mut self.summary;
        summary.mask = mask;
        if let Some(last) = self.lines.last() {
            (summary.accuracy, summary.loss) = (last.accuracy, last.loss);
            summary.epsilon = last.epsilon;
        }
        summary.steps = steps;
        (summary.trained, summary.parameters) = state.trained;
        summary.seconds_per_step = state.seconds / steps as f64;
        summary.peak_megabytes = peak_megabytes();
        fs::write(self.folder.join("run.json"), serde_json::to_string_pretty(summary)?)?;
        fs::write(self.folder.join("privacy.txt"), format!("{statement}\n"))?;
        plots::write(&self.folder, &self.lines)?;
        Ok(self.summary)
    }
}

fn read_metrics(path: &Path) -> Result<Vec<Metrics>> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("nothing to resume: cannot read {}", path.display()))?;
    let line = |line: &str| serde_json::from_str(line);
    let lines: serde_json::Result<Vec<_>> = text.lines().map(line).collect();
    lines.with_context(|| format!("{} is damaged", path.display()))
}

/// The plain model, as burnpack and as safetensors.
pub(super) fn save_weights<M: Module>(folder: &Path, model: M) -> Result<()> {
    let failed = |error: &dyn fmt::Display| anyhow::anyhow!("cannot save the weights: {error}");
    let model = model.valid().materialize();
    let mut store = SafetensorsStore::from_file(folder.join("model.safetensors")).overwrite(true);
    model.save_into(&mut store).map_err(|error| failed(&error))?;
    model.into_record().save(folder.join("model.bpk")).map_err(|error| failed(&error))
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        let percent = 100.0 * self.trained as f64 / self.parameters.max(1) as f64;
        let epsilon = match self.epsilon {
            Some(epsilon) => format!("{epsilon:.4} at delta {:e}", self.args.delta),
            None => "none: not private".into(),
        };
        let memory = self.peak_megabytes.map_or("unknown".into(), |mb| format!("{mb:.0} MB"));
        let rows = [
            ("data", self.data.clone()),
            ("method", self.args.method.name().into()),
            ("epsilon", epsilon),
            ("trained", format!("{} of {} ({percent:.2} %)", self.trained, self.parameters)),
            ("held-out accuracy", format!("{:.2} %", 100.0 * self.accuracy)),
            ("time per step", format!("{:.3} s", self.seconds_per_step)),
            ("peak memory", memory),
        ];
        for (name, value) in rows {
            table.add_row([name.to_owned(), value]);
        }
        if let Some(mask) = &self.mask {
            let of = |part: usize| part as f64 / mask.weights.max(1) as f64;
            let text = format!(
                "{:.1} % of {} weights kept; {:.3} bits a weight, {:.3} coded",
                100.0 * of(mask.kept),
                mask.weights,
                of(mask.scores),
                8.0 * of(mask.bytes)
            );
            table.add_row(["mask".to_owned(), text]);
        }
        write!(f, "{table}")
    }
}

pub(super) fn bar_style(what: &str) -> ProgressStyle {
    let template = format!("{{bar:30}} {{pos}}/{{len}} {what}, {{eta}} left {{msg}}");
    ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn peak_megabytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024.0 / 1e6)
}
