//! Every task, as a run's file names it.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{ImageArgs, ImageSet, TextArgs, TextSet, images, texts};
use crate::run::{Args, Summary, predict, run};

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
    pub(in crate::run) fn predict(
        &self,
        run: &Path,
        folder: &Path,
        inputs: &[String],
        test: usize,
    ) -> Result<Vec<String>> {
        match self {
            Self::Texts { set, args } => {
                predict::with(&texts(folder, set, args)?, run, inputs, test)
            }
            Self::Images { set, args } => {
                predict::with(&images(folder, set, args)?, run, inputs, test)
            }
        }
    }
}
