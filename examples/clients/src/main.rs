//! Clients that may not share images train one classifier: by masks over frozen weights, and by weights.
//!
//! `cargo run --release -p clients` simulates them in one process: CIFAR-10 as EfficientNet-Lite0's features, split
//! so that each client has mostly a few classes. Every way of combining what clients send runs once without
//! privacy and once with client-level differential privacy: nobody can tell whether a client took part.

#![forbid(unsafe_code)]

mod data;
mod masks;
mod model;
mod outcome;
mod weights;

use std::process::ExitCode;

use anyhow::Result;
use burn_dp::privacy::{
    Adjacency, Delta, DpEvent, Epsilon, NoiseMultiplier, PrivacyAccountant,
    calibrate_noise_multiplier,
};
use clap::Parser;
use finetune::run::exit_code;

use crate::data::Clients;
use crate::masks::Combination;
use crate::outcome::Outcome;

/// Federated training of masks and of weights, with and without client-level differential privacy
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Clients, all of which take part in every round
    #[arg(long, default_value_t = 20)]
    clients: usize,
    /// Rounds
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// Steps that a client takes in a round
    #[arg(long, default_value_t = 20)]
    local_steps: u64,
    /// The epsilon that all rounds together may cost, for the runs with privacy
    #[arg(long, default_value_t = 8.0)]
    epsilon: f64,
    /// The delta that goes with it
    #[arg(long, default_value_t = 1e-5)]
    delta: f64,
    /// Concentration of the classes' Dirichlet distribution over clients: small is uneven
    #[arg(long, default_value_t = 0.3)]
    alpha: f64,
    /// Width of the hidden layer
    #[arg(long, default_value_t = 64)]
    hidden: usize,
    /// Each random choice of the simulation, noise included
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print results as JSON lines
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    exit_code(started(&Args::parse()))
}

fn started(args: &Args) -> Result<()> {
    let clients = Clients::of_cifar10(args)?;
    let noise = noise_multiplier(args)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut add = |outcome: Outcome| -> Result<()> {
        if args.json {
            println!("{}", outcome.json(args)?);
        }
        outcomes.push(outcome);
        Ok(())
    };
    for noise in [None, Some(noise)] {
        for combination in Combination::ALL {
            add(masks::run(args, &clients, combination, noise)?)?;
        }
        add(weights::run(args, &clients, noise)?)?;
    }
    if !args.json {
        println!("{}", outcome::table(args, &outcomes));
    }
    Ok(())
}

/// For as many rounds as there are, each a Gaussian mechanism over all clients.
fn noise_multiplier(args: &Args) -> Result<NoiseMultiplier> {
    let run = |noise_multiplier| {
        let event = Box::new(DpEvent::Gaussian { noise_multiplier });
        Ok(DpEvent::SelfComposed { event, count: args.rounds })
    };
    let (epsilon, delta) = (Epsilon::new(args.epsilon)?, Delta::new(args.delta)?);
    let accountant = || PrivacyAccountant::new(Adjacency::AddRemove);
    Ok(calibrate_noise_multiplier(epsilon, delta, accountant, run)?)
}
