//! Clients that may not share images train one classifier: by masks over frozen weights, and by weights.
//!
//! `cargo run --release -p clients` simulates them in one process: CIFAR-10 as EfficientNet-Lite0's features, split
//! so that each client has mostly a few classes. Every way of combining what clients send runs once without
//! privacy and once with client-level differential privacy: nobody can tell whether a client took part.

#![forbid(unsafe_code)]

mod args;
mod client;
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

use crate::args::Args;
use crate::data::Clients;
use crate::masks::Combination;
use crate::outcome::Outcome;

fn main() -> ExitCode {
    exit_code(simulate(&Args::parse()))
}

fn simulate(args: &Args) -> Result<()> {
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

/// The noise at which all rounds together cost epsilon. Each is a Gaussian mechanism over all clients.
fn noise_multiplier(args: &Args) -> Result<NoiseMultiplier> {
    let run = |noise_multiplier| {
        let event = Box::new(DpEvent::Gaussian { noise_multiplier });
        Ok(DpEvent::SelfComposed { event, count: args.rounds })
    };
    let (epsilon, delta) = (Epsilon::new(args.epsilon)?, Delta::new(args.delta)?);
    let accountant = || PrivacyAccountant::new(Adjacency::AddRemove);
    Ok(calibrate_noise_multiplier(epsilon, delta, accountant, run)?)
}
