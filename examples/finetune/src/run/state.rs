//! What a run has to remember besides weights and ledger.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::args::Args;

/// `state.json` of a checkpoint.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Steps taken when it was saved.
    pub(super) steps: u64,
    /// How many steps the mean of the last ones has.
    #[serde(default)]
    pub(super) averaged: u64,
    /// Seconds spent in steps.
    pub(super) seconds: f64,
    /// What gradient norms chose.
    pub(super) chosen: Option<Vec<String>>,
    /// Scalars that are trained, and all.
    pub(super) trained: (usize, usize),
    /// What the run was begun with.
    pub(super) settings: BegunWith,
}

impl State {
    pub(super) fn new(settings: BegunWith) -> Self {
        Self { settings, ..Self::default() }
    }
}

/// The settings that may not change in the middle of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct BegunWith(BTreeMap<String, Value>);

/// Settings that may change when a run is resumed.
const FREE: [&str; 6] = ["out", "resume", "checkpoint_every", "eval_every", "physical", "device"];

impl BegunWith {
    pub(super) fn new(task: &Value, args: &Args) -> Result<Self> {
        let mut all: BTreeMap<String, Value> = serde_json::from_value(serde_json::to_value(args)?)?;
        all.retain(|name, _| !FREE.contains(&name.as_str()));
        all.insert("task".into(), task.clone());
        Ok(Self(all))
    }

    /// # Errors
    /// When the settings of `now` are others.
    pub(super) fn check(&self, now: &Self) -> Result<()> {
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
