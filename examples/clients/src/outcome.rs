//! What a run reached, and what it sent.

use anyhow::Result;
use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use serde_json::json;

use crate::args::Args;

/// One run of all rounds.
pub struct Outcome {
    name: &'static str,
    private: bool,
    /// After each round, on held-out records.
    pub accuracies: Vec<f64>,
    /// Sent by all clients in all rounds.
    pub bits: u64,
}

impl Outcome {
    pub fn new(name: &'static str, private: bool) -> Self {
        Self { name, private, accuracies: Vec::new(), bits: 0 }
    }

    fn last(&self) -> f64 {
        self.accuracies.last().copied().unwrap_or(f64::NAN)
    }

    pub fn json(&self, args: &Args) -> Result<String> {
        Ok(serde_json::to_string(&json!({
            "sent": self.name,
            "epsilon": self.private.then_some(args.epsilon),
            "delta": args.delta,
            "clients": args.clients,
            "rounds": args.rounds,
            "seed": args.seed,
            "accuracy": self.last(),
            "bits": self.bits,
        }))?)
    }
}

pub fn table(args: &Args, outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["sent", "epsilon", "accuracy", "megabits sent"]);
    for outcome in outcomes {
        let epsilon = if outcome.private { args.epsilon.to_string() } else { "none".into() };
        let accuracy = format!("{:.1} %", 100.0 * outcome.last());
        let bits = format!("{:.1}", outcome.bits as f64 / 1e6);
        table.add_row([outcome.name.to_owned(), epsilon, accuracy, bits]);
    }
    table
}
