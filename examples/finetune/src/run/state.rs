//! What a run has to remember besides weights and ledger.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Args;
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
    /// What the run was begun with.
    settings: Settings,
}

/// What may not change in the middle of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Settings(BTreeMap<String, Value>);

impl Settings {
    pub(super) fn new(task: &Value, args: &Args) -> Result<Self> {
        let mut all: BTreeMap<String, Value> = serde_json::from_value(serde_json::to_value(args)?)?;
        let free = ["out", "resume", "checkpoint_every", "eval_every", "physical", "device"];
        all.retain(|name, _| !free.contains(&name.as_str()));
        all.insert("task".into(), task.clone());
        Ok(Self(all))
    }

    fn check(&self, now: &Self) -> Result<()> {
        for (name, value) in &now.0 {
            let before = self.0.get(name).unwrap_or(&Value::Null);
            ensure!(
                before == value,
                "the run was begun with {name} {before}, not {value}: resume it with the flags that it was \
                 begun with, or choose another output folder"
            );
        }
        Ok(())
    }
}

const FILE: &str = "state.json";

impl State {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, ..Self::default() }
    }

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

    /// The state in `folder` and the model with its weights, for a run with these settings.
    pub(super) fn load<T: Task>(
        folder: &Path,
        settings: &Settings,
        stepper: &mut Stepper<T>,
        model: T::Model,
    ) -> Result<(Self, T::Model)> {
        let file = folder.join(FILE);
        let text = fs::read_to_string(&file)
            .with_context(|| format!("nothing to resume: cannot read {}", file.display()))?;
        let state: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged", file.display()))?;
        state.settings.check(settings)?;
        let model = stepper.load(folder, model, state.steps)?;
        Ok((state, model))
    }
}
