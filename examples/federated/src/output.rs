//! Where a simulation's results go.

use std::path::PathBuf;

use clap::Args;

/// Where a simulation's results go.
#[derive(Clone, Debug, Args)]
pub struct Output {
    /// A file to which a line of JSON is added for each evaluated round, and one at the end
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// A picture of accuracy over rounds (SVG)
    #[arg(long)]
    pub plot: Option<PathBuf>,
    /// Rounds between evaluations [default: a twentieth of the rounds]
    #[arg(long)]
    pub evaluate_every: Option<u64>,
    /// Test the mean of the weights of so many rounds, the last ones
    #[arg(long, default_value_t = 1)]
    pub average_last: u64,
}
