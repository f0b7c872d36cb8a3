//! All clients in one process.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use burn_dp::federated::{self, ClientId, Request};
use burn_dp::privacy::Delta;
use burn_dp::seed::SeedSource;
use clap::Args;

use crate::learner::{Learner, Turn, learner};
use crate::partition::dirichlet;
use crate::plan::plan;
use crate::report::Report;
use crate::settings::Settings;

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
}

/// Runs the settings from the first round to the last.
///
/// # Errors
/// When data are missing, settings are out of range, or results cannot be written.
pub fn simulate(settings: &Settings, output: &Output) -> Result<()> {
    let learner = learner(settings)?;
    let accuracy = run(learner.as_ref(), settings, output)?;
    println!("{:.2} % of held-out records", 100.0 * accuracy);
    Ok(())
}

/// The same with any learner; the last accuracy.
fn run(learner: &dyn Learner, settings: &Settings, output: &Output) -> Result<f64> {
    let clients = names(settings.clients)?;
    let shares = dirichlet(learner.labels(), clients.len(), settings.alpha)?;
    let plan = plan(settings, learner.manifest().clone(), clients)?;
    let delta = Delta::new(settings.delta)?;
    if settings.epsilon.0.is_some() {
        println!("{}\n", plan.privacy().statement(delta));
    }
    let (population, privacy) = (plan.population().to_vec(), plan.privacy().clone());
    let train = |client: &ClientId, request: &Request| {
        let client = population.binary_search(client).unwrap_or_default();
        let turn = Turn { settings, share: &shares[client], client, round: request.round };
        learner.train(&turn, &request.weights).map_err(|error| failed(&error))
    };
    let seed = settings.seed.map_or(SeedSource::OperatingSystem, SeedSource::Reproducible);
    let mut report = Report::new(settings, output, learner.manifest().len())?;
    let start = Instant::now();
    let test = |report: &mut Report, round: u64, weights: &[f32]| {
        let epsilon = settings.epsilon.0.map(|_| privacy.epsilon_at(round.into(), delta).value());
        report.evaluated(round, learner.accuracy(weights)?, epsilon, start.elapsed())
    };
    let mut tested = Ok(());
    // A report comes when a round's clients have answered, with the weights of the round before.
    let ended = federated::simulate(plan, learner.start()?, seed, train, |round| {
        if report.is_due(round.round) && tested.is_ok() {
            tested = test(&mut report, round.round, round.weights);
        }
        report.add(round.asked, round.bytes_down, round.bytes_up);
    })?;
    tested?;
    test(&mut report, settings.rounds, &ended.weights)?;
    report.end(start.elapsed())
}

/// Names whose order is that of their numbers.
fn names(count: usize) -> Result<Vec<ClientId>> {
    (0..count).map(|number| Ok(ClientId::new(format!("client-{number:07}"))?)).collect()
}

/// A learner's error as one of the library's, which simulations end with.
fn failed(error: &anyhow::Error) -> burn_dp::Error {
    burn_dp::Error::Device { reason: format!("{error:#}") }
}
