//! What a run leaves behind.

mod mask;
mod metrics;
mod page;
mod plots;
mod summary;
mod weights;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn_dp::privacy::Epsilon;

use super::evaluation::Evaluation;
use super::settings::Settings;
use super::state::State;
use super::task::Task;
use crate::memory;
use metrics::Metrics;
use page::Page;

pub use mask::MaskSummary;
pub(super) use mask::save as save_mask;
pub use plots::plot;
pub use summary::Summary;
pub(super) use weights::save as save_weights;

/// Writes results as they come.
pub(super) struct Report {
    folder: PathBuf,
    lines: Vec<Metrics>,
    file: File,
}

impl Report {
    /// Goes on after the first `taken` steps; 0 begins anew.
    pub(super) fn new(folder: &Path, taken: u64) -> Result<Self> {
        let place = || format!("cannot write to {}", folder.display());
        fs::create_dir_all(folder).with_context(place)?;
        let path = folder.join("metrics.jsonl");
        // What followed the checkpoint is done again.
        let mut lines = if taken == 0 { Vec::new() } else { metrics::read(&path)? };
        lines.retain(|line| line.step <= taken);
        let mut file = File::create(&path).with_context(place)?;
        for line in &lines {
            writeln!(file, "{}", serde_json::to_string(line)?)?;
        }
        Ok(Self { folder: folder.to_owned(), lines, file })
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

    /// Writes `run.json`, the guarantee in words, the plots, and all of it as one page. `trained` is a table of what was trained.
    pub(super) fn finish<T: Task>(
        self,
        task: &T,
        settings: &Settings,
        state: &State,
        (statement, trained): (&str, &str),
        mask: Option<MaskSummary>,
    ) -> Result<Summary> {
        let last = self.lines.last();
        let (scalars, parameters) = state.trained;
        let summary = Summary {
            task: task.name().into(),
            data: task.data(),
            classes: task.classes(),
            settings: settings.task.clone(),
            args: settings.args.clone(),
            steps: settings.steps,
            trained: scalars,
            parameters,
            epsilon: last.and_then(|line| line.epsilon),
            accuracy: last.map_or(f64::NAN, |line| line.accuracy),
            loss: last.map_or(f64::NAN, |line| line.loss),
            seconds_per_step: state.seconds / settings.steps as f64,
            peak_megabytes: memory::peak_megabytes(),
            mask,
        };
        fs::write(self.folder.join("run.json"), serde_json::to_string_pretty(&summary)?)?;
        fs::write(self.folder.join("privacy.txt"), format!("{statement}\n"))?;
        plots::write(&self.folder, &self.lines)?;
        let page = Page { summary: &summary, lines: &self.lines, statement, trained };
        page.write(&self.folder)?;
        Ok(summary)
    }
}
