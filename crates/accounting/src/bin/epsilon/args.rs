//! The flags. Every quantity is checked while it is parsed.

use std::path::PathBuf;

use burn_dp_accounting::{Adjacency, Delta, Epsilon, GroupSize, NoiseMultiplier, SamplingRate};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, ValueEnum};

/// What a run of DP-SGD with Poisson sampling guarantees, or what it may do within a budget.
#[derive(Debug, Parser)]
#[command(name = "epsilon", allow_negative_numbers = true)]
pub struct Args {
    /// Probability with which each record enters each batch
    #[arg(long, value_name = "Q", value_parser = quantity::<SamplingRate>)]
    #[arg(conflicts_with_all = ["dataset_size", "batch_size"])]
    pub sampling_rate: Option<SamplingRate>,

    /// Number of records; with --batch-size instead of --sampling-rate
    #[arg(long, value_name = "N", requires = "batch_size")]
    pub dataset_size: Option<u64>,

    /// Expected number of records in a batch
    #[arg(long, value_name = "B", requires = "dataset_size")]
    pub batch_size: Option<u64>,

    /// Standard deviation of the noise divided by the clipping norm
    #[arg(long, value_name = "Z", value_parser = quantity::<NoiseMultiplier>)]
    pub noise_multiplier: Option<NoiseMultiplier>,

    /// Number of steps of the whole planned run
    #[arg(long, value_name = "T")]
    pub steps: Option<u64>,

    /// Probability with which the guarantee may fail; well below 1 over the number of records
    #[arg(long, value_name = "DELTA", value_parser = quantity::<Delta>)]
    #[arg(required_unless_present = "jsonl")]
    pub delta: Option<Delta>,

    /// How neighboring data sets differ
    #[arg(long, default_value = "add-remove", value_parser = adjacency())]
    pub adjacency: Adjacency,

    /// Number of records of one person
    #[arg(long, value_name = "K", default_value = "1", value_parser = group_size)]
    pub group_size: GroupSize,

    /// The epsilon that the run must not exceed; with --solve
    #[arg(long, value_name = "EPS", value_parser = quantity::<Epsilon>, requires = "solve")]
    pub epsilon: Option<Epsilon>,

    /// What to find for --epsilon: the least noise, the most steps or the largest sampling rate
    #[arg(long, requires = "epsilon")]
    pub solve: Option<Solve>,

    /// Also show the central-limit approximation, which under-reports and guarantees nothing
    #[arg(long)]
    pub show_approximate: bool,

    /// Draw epsilon over the steps
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,

    /// Answer questions from standard input, one JSON object a line, and use no other flag
    #[arg(long, exclusive = true)]
    pub jsonl: bool,
}

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Solve {
    NoiseMultiplier,
    Steps,
    SamplingRate,
}

fn quantity<T: TryFrom<f64, Error = burn_dp_accounting::SettingError>>(
    text: &str,
) -> Result<T, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    T::try_from(number).map_err(|error| error.to_string())
}

fn group_size(text: &str) -> Result<GroupSize, String> {
    let records = text.parse().map_err(|_| "not a whole number from 1 to 1024".to_owned())?;
    GroupSize::new(records).map_err(|error| error.to_string())
}

fn adjacency() -> impl TypedValueParser<Value = Adjacency> {
    PossibleValuesParser::new(["add-remove", "zero-out", "replace-one"]).map(|name| {
        match name.as_str() {
            "zero-out" => Adjacency::ZeroOut,
            "replace-one" => Adjacency::ReplaceOne,
            _ => Adjacency::AddRemove,
        }
    })
}
