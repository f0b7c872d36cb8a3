//! What a run reached, what it cost, and how far it is.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use finetune::run::{bar, plot};
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::output::Output;
use crate::settings::Settings;

pub struct Report<'a> {
    settings: &'a Settings,
    output: &'a Output,
    parameters: usize,
    file: Option<File>,
    bar: ProgressBar,
    every: u64,
    sent: Sent,
    /// Round and accuracy in percent.
    points: Vec<(f64, f64)>,
    last: Evaluated,
}

/// In all rounds so far.
#[derive(Clone, Copy, Default)]
struct Sent {
    /// How often a client was asked.
    asked: u64,
    /// Bits from the server to clients.
    down: u64,
    /// Bits from clients to the server.
    up: u64,
}

#[derive(Clone, Copy, Default)]
struct Evaluated {
    accuracy: f64,
    epsilon: Option<f64>,
}

impl<'a> Report<'a> {
    pub fn new(settings: &'a Settings, output: &'a Output, parameters: usize) -> Result<Self> {
        let file = output.out.as_deref().map(appended).transpose()?;
        let every = output.evaluate_every.unwrap_or(settings.rounds.div_ceil(20)).max(1);
        let bar = bar(settings.rounds, "rounds");
        let (sent, points, last) = Default::default();
        Ok(Self { settings, output, parameters, file, bar, every, sent, points, last })
    }

    /// Counts what a round took.
    pub fn add(&mut self, asked: usize, bytes_down: u64, bytes_up: u64) {
        self.sent.asked += asked as u64;
        self.sent.down += 8 * bytes_down;
        self.sent.up += 8 * bytes_up;
        self.bar.inc(1);
    }

    /// Whether the weights after so many rounds are to be tested.
    pub fn is_due(&self, round: u64) -> bool {
        round > 0 && round.is_multiple_of(self.every)
    }

    /// Takes down a test.
    pub fn evaluated(
        &mut self,
        round: u64,
        accuracy: f64,
        epsilon: Option<f64>,
        elapsed: Duration,
    ) -> Result<()> {
        let Sent { down, up, .. } = self.sent;
        self.last = Evaluated { accuracy, epsilon };
        self.points.push((round as f64, 100.0 * accuracy));
        let spent = epsilon.map_or("no privacy".to_owned(), |e| format!("epsilon {e:.2}"));
        let megabits = (down + up) as f64 / 1e6;
        self.bar.set_message(format!("{:.1} %, {spent}, {megabits:.0} Mbit", 100.0 * accuracy));
        self.write(&json!({
            "kind": "round",
            "round": round,
            "accuracy": accuracy,
            "epsilon": epsilon,
            "bits_up": up,
            "bits_down": down,
            "seconds": elapsed.as_secs_f64(),
        }))
    }

    /// Writes the last line and the picture; the last accuracy.
    pub fn end(mut self, elapsed: Duration) -> Result<f64> {
        self.bar.finish_and_clear();
        let (Sent { asked, down, up }, Evaluated { accuracy, epsilon }) = (self.sent, self.last);
        let share = |bits: u64| bits as f64 / asked.max(1) as f64;
        self.write(&json!({
            "kind": "end",
            "accuracy": accuracy,
            "epsilon": epsilon,
            "delta": epsilon.map(|_| self.settings.delta),
            "clients": self.settings.clients,
            "rounds": self.settings.rounds,
            "parameters": self.parameters,
            "bits_up": up,
            "bits_down": down,
            "bits_up_per_client_and_round": share(up),
            "bits_down_per_client_and_round": share(down),
            "seconds": elapsed.as_secs_f64(),
            "settings": self.settings,
        }))?;
        if let Some(file) = &self.output.plot {
            plot(file, "round", "held-out accuracy, %", &self.points)?;
        }
        Ok(accuracy)
    }

    fn write(&mut self, line: &Value) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        writeln!(file, "{line}").context("cannot write to --out")
    }
}

/// Tells numbers apart, bit for bit: FNV-1a.
pub fn digest(numbers: &[f32]) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    numbers.iter().flat_map(|x| x.to_bits().to_le_bytes()).fold(0x811c_9dc5, step)
}

fn appended(file: &Path) -> Result<File> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let opened = OpenOptions::new().create(true).append(true).open(file);
    opened.with_context(|| format!("cannot write {}", file.display()))
}
