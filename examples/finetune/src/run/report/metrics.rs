//! How a run does as it goes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Metrics {
    pub step: u64,
    /// None without privacy.
    pub epsilon: Option<f64>,
    /// On the held-out records, which count as public.
    pub accuracy: f64,
    pub loss: f64,
    /// Spent in steps.
    pub seconds: f64,
}

/// The lines of an earlier run.
pub fn read(path: &Path) -> Result<Vec<Metrics>> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("nothing to resume: cannot read {}", path.display()))?;
    let line = |line: &str| serde_json::from_str(line);
    let lines: serde_json::Result<Vec<_>> = text.lines().map(line).collect();
    lines.with_context(|| format!("{} is damaged", path.display()))
}
