//! What is asked, from the command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use burn_dp::privacy::{
    Accountant, Adjacency, Delta, DpEvent, Epsilon, GroupSize, NoiseMultiplier, PrivacyAccountant,
    SamplingRate, affordable_sampling_rate, affordable_steps, calibrate_noise_multiplier,
};

/// What a run of DP-SGD costs, or what it may do for a given cost.
#[derive(Parser, Debug)]
#[command(name = "epsilon", version, about)]
pub struct Settings {
    /// The probability q with which each record enters each batch.
    #[arg(short = 'q', long, value_name = "Q")]
    sampling_rate: Option<f64>,
    /// The number of records; with --batch-size, instead of the sampling rate.
    #[arg(long, value_name = "N", requires = "batch_size", conflicts_with = "sampling_rate")]
    dataset_size: Option<u64>,
    /// The expected number of records in a batch.
    #[arg(long, value_name = "B", requires = "dataset_size")]
    batch_size: Option<f64>,
    /// Noise standard deviation over the clipping norm.
    #[arg(short = 's', long, value_name = "SIGMA")]
    noise_multiplier: Option<f64>,
    /// The number of steps.
    #[arg(short = 't', long, value_name = "T")]
    steps: Option<u64>,
    /// The probability with which the guarantee may fail: well below one over the number of records.
    #[arg(short, long, value_name = "DELTA", default_value_t = 1e-5)]
    delta: f64,
    /// Which data sets are neighbours.
    #[arg(short, long, value_enum, default_value_t = Neighbours::AddRemove)]
    adjacency: Neighbours,
    /// The number of records that one person may have.
    #[arg(long, value_name = "K", default_value_t = 1)]
    group_size: u32,
    /// The target, for --solve.
    #[arg(short, long, value_name = "EPSILON", requires = "solve")]
    epsilon: Option<f64>,
    /// Find this for the target ε, and leave its own flag out.
    #[arg(long, value_enum, requires = "epsilon")]
    solve: Option<Unknown>,
    /// Also show the central-limit approximation, which is no guarantee.
    #[arg(long)]
    pub show_approximate: bool,
    /// Draw ε over steps into this SVG file.
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
    /// Answer questions from standard input, one JSON object a line.
    #[arg(long, exclusive = true)]
    pub jsonl: bool,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Neighbours {
    /// One record is there or not.
    AddRemove,
    /// One record counts or contributes nothing.
    ZeroOut,
    /// One record is any other one.
    ReplaceOne,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    NoiseMultiplier,
    Steps,
    SamplingRate,
}

/// A complete run, and what was solved for, in words.
pub struct Run {
    pub rate: SamplingRate,
    pub noise_multiplier: NoiseMultiplier,
    pub steps: u64,
    pub delta: Delta,
    pub adjacency: Adjacency,
    pub group: GroupSize,
    pub solved: Option<String>,
}

impl Run {
    pub fn step(&self) -> DpEvent {
        DpEvent::poisson_sampled_gaussian(self.rate, self.noise_multiplier)
    }
}

impl Settings {
    /// Checks the values and fills in what is to be solved for.
    pub fn run(&self) -> Result<Run, String> {
        let delta = Delta::new(self.delta).map_err(words)?;
        let adjacency = match self.adjacency {
            Neighbours::AddRemove => Adjacency::AddRemove,
            Neighbours::ZeroOut => Adjacency::ZeroOut,
            Neighbours::ReplaceOne => Adjacency::ReplaceOne,
        };
        let group = GroupSize::new(self.group_size).map_err(words)?;
        if self.solve.is_some() && group != GroupSize::ONE {
            return Err("--solve is about single records: leave --group-size out".to_owned());
        }
        let target = self.epsilon.map(Epsilon::new).transpose().map_err(words)?;
        let (rate, noise_multiplier, steps) = (
            self.known(Unknown::SamplingRate, "--sampling-rate", self.rate()?)?,
            self.known(Unknown::NoiseMultiplier, "--noise-multiplier", self.noise_multiplier)?,
            self.known(Unknown::Steps, "--steps", self.steps)?,
        );
        let rate = rate.map(SamplingRate::new).transpose().map_err(words)?;
        let noise_multiplier =
            noise_multiplier.map(NoiseMultiplier::new).transpose().map_err(words)?;
        let new = || PrivacyAccountant::new(adjacency);
        let event = DpEvent::poisson_sampled_gaussian;

        let (rate, noise_multiplier, steps, solved) = match (rate, noise_multiplier, steps, target)
        {
            (Some(q), Some(z), Some(steps), _) => (q, z, steps, None),
            (Some(q), None, Some(steps), Some(target)) => {
                let run = |z| Ok(event(q, z).repeated(steps));
                let z = calibrate_noise_multiplier(target, delta, new, run).map_err(words)?;
                let readable = above(z)?;
                let mut accountant = new();
                accountant.compose(&event(q, readable), steps).map_err(words)?;
                let z = if accountant.epsilon(delta) <= target { readable } else { z };
                (q, z, steps, Some(format!("The least noise multiplier: {}", z.value())))
            }
            (Some(q), Some(z), None, Some(target)) => {
                let most = affordable_steps(target, delta, new, &event(q, z)).map_err(words)?;
                (q, z, most.value(), Some(format!("The most steps: {}", most.value())))
            }
            (None, Some(z), Some(steps), Some(target)) => {
                let run = |q| Ok(event(q, z).repeated(steps));
                let q = affordable_sampling_rate(target, delta, new, run).map_err(words)?;
                (q, z, steps, Some(format!("The largest sampling rate: {}", q.value())))
            }
            // `known` has refused everything else.
            _ => return Err("give a target with --epsilon".to_owned()),
        };
        Ok(Run { rate, noise_multiplier, steps, delta, adjacency, group, solved })
    }

    /// A value that must be given, unless it is the unknown one, which must not.
    fn known<T>(&self, which: Unknown, flag: &str, value: Option<T>) -> Result<Option<T>, String> {
        match (self.solve == Some(which), value) {
            (true, Some(_)) => Err(format!("{flag} is what --solve is to find: leave it out")),
            (true, None) => Ok(None),
            (false, Some(value)) => Ok(Some(value)),
            (false, None) => Err(format!("{flag} is missing; --help lists all flags")),
        }
    }

    fn rate(&self) -> Result<Option<f64>, String> {
        match (self.sampling_rate, self.dataset_size, self.batch_size) {
            (None, Some(0), Some(_)) => Err("--dataset-size must be at least 1".to_owned()),
            (None, Some(records), Some(batch)) => Ok(Some(batch / records as f64)),
            (rate, ..) => Ok(rate),
        }
    }
}

/// Six significant digits, rounded up: one that people will copy.
fn above(z: NoiseMultiplier) -> Result<NoiseMultiplier, String> {
    if z.value() == 0.0 {
        return Ok(z);
    }
    let unit = 10.0_f64.powi(5 - z.value().log10().floor() as i32);
    NoiseMultiplier::new((z.value() * unit).ceil() / unit).map_err(words)
}

fn words(error: burn_dp::Error) -> String {
    error.to_string()
}
