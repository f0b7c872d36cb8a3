//! What a run has to remember besides weights and ledger.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::step::Stepper;
use super::task::Task;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Steps taken.
    steps: u64,
    /// Seconds spent in steps.
    pub(super) seconds: f64,
    /// What gradient norms chose.
    pub(super) chosen: Option<Vec<String>>,
    /// Scalars that are trained, and all.
    pub(super) trained: (usize, usize),
}

const FILE: &str = "state.json";

impl State {
    pub(super) fn save<T: Task>(
        &mut self,
        folder: &Path,
        stepper: &Stepper<T>,
        model: &T::Model,
    ) -> Result<()> {
        self.steps = stepper.taken();
        stepper.save(folder, model)?;
        let text = serde_json::to_string_pretty(self)?;
        fs::write(folder.join(FILE), text)
            .with_context(|| format!("cannot write to {}", folder.display()))
    }

    pub(super) fn load<T: Task>(
        folder: &Path,
        stepper: &mut Stepper<T>,
        model: T::Model,
    ) -> Result<(Self, T::Model)> {
        let file = folder.join(FILE);
        let text = fs::read_to_string(&file)
            .with_context(|| format!("nothing to resume: cannot read {}", file.display()))?;
        let state: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged", file.display()))?;
        let model = stepper.load(folder, model, state.steps)?;
        Ok((state, model))
    }
}
