//! How a run ended.

use std::fmt;

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use serde::{Deserialize, Serialize};

use super::mask::MaskSummary;
use crate::run::args::Args;

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
    /// The mean time of a step, without tests.
    pub seconds_per_step: f64,
    /// The process's peak resident set, where the system tells.
    pub peak_megabytes: Option<f64>,
    /// The mask, where a binary one was trained.
    pub mask: Option<MaskSummary>,
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
            ("method", self.args.method.name()),
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
