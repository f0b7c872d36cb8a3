//! Every task, as a run's file names it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{ImageArgs, ImageSet, TextArgs, TextSet, images, texts};
use crate::run::predict::with;
use crate::run::{Args, Summary, run};

/// A task and its own settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnyTask {
    /// Texts, or pairs of texts.
    Texts { set: TextSet, args: TextArgs },
    /// Images.
    Images { set: ImageSet, args: ImageArgs },
}

impl AnyTask {
    /// Fine-tunes as `args` say. `folder` is the data folder.
    ///
    /// # Errors
    /// When data, weights or flags cannot be used, or results cannot be written.
    pub fn fine_tune(&self, args: &Args, folder: &Path) -> Result<Summary> {
        let own = serde_json::to_value(self)?;
        match self {
            Self::Texts { set, args: texts_args } => {
                run(&texts(folder, set, texts_args)?, own, args, folder)
            }
            Self::Images { set, args: images_args } => {
                run(&images(folder, set, images_args)?, own, args, folder)
            }
        }
    }

    /// Classifies as [`predict`] says.
    fn predict(
        &self,
        run: &Path,
        folder: &Path,
        inputs: &[String],
        test: usize,
    ) -> Result<Vec<String>> {
        match self {
            Self::Texts { set, args } => with(&texts(folder, set, args)?, run, inputs, test),
            Self::Images { set, args } => with(&images(folder, set, args)?, run, inputs, test),
        }
    }
}

/// Classifies texts, or image files, or the first `test` held-out records, by the run in `run`; returns a line
/// each.
///
/// # Errors
/// When the run, its data or an input cannot be read.
pub fn predict(run: &Path, folder: &Path, inputs: &[String], test: usize) -> Result<Vec<String>> {
    let file = run.join("run.json");
    let text = fs::read_to_string(&file)
        .with_context(|| format!("{} is no finished run: cannot read run.json", run.display()))?;
    let summary: Summary =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))?;
    let task: AnyTask = serde_json::from_value(summary.settings.clone()).with_context(|| {
        format!("{} is a run of an unknown task, {}", run.display(), summary.task)
    })?;
    task.predict(run, folder, inputs, test)
}
