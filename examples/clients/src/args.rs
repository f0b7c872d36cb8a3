//! What the simulation can be asked for.

use clap::Parser;

/// Federated training of masks and of weights, with and without client-level differential privacy
#[derive(Clone, Debug, Parser)]
pub struct Args {
    /// Clients, all of which take part in every round
    #[arg(long, default_value_t = 20)]
    pub clients: usize,
    /// Rounds
    #[arg(long, default_value_t = 20)]
    pub rounds: u64,
    /// Steps that a client takes in a round
    #[arg(long, default_value_t = 20)]
    pub local_steps: u64,
    /// The epsilon that all rounds together may cost, for the runs with privacy
    #[arg(long, default_value_t = 8.0)]
    pub epsilon: f64,
    /// The delta that goes with it
    #[arg(long, default_value_t = 1e-5)]
    pub delta: f64,
    /// Concentration of the classes' Dirichlet distribution over clients: small is uneven
    #[arg(long, default_value_t = 0.3)]
    pub alpha: f64,
    /// Width of the hidden layer
    #[arg(long, default_value_t = 64)]
    pub hidden: usize,
    /// Each random choice of the simulation, noise included
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print results as JSON lines
    #[arg(long)]
    pub json: bool,
}
