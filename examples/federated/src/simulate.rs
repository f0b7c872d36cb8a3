//! All clients in one process.

use std::time::Instant;

use anyhow::{Result, ensure};
use burn_dp::federated::{self, ClientId, NodePolicy, Simulation, Training};
use burn_dp::privacy::{Adjacency, Delta};
use burn_dp::seed::SeedSource;

use crate::average::Average;
use crate::learner::{Learner, Turn, learner};
use crate::output::Output;
use crate::partition::dirichlet;
use crate::plan::{plan, policy};
use crate::report::{Report, digest};
use crate::settings::{Settings, Unit};

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
///
/// # Errors
/// As [`simulate`].
pub fn run(learner: &dyn Learner, settings: &Settings, output: &Output) -> Result<f64> {
    let clients = names(settings.clients)?;
    let shares = dirichlet(learner.labels(), clients.len(), settings.alpha)?;
    let plan = plan(settings, learner.manifest().clone(), clients)?;
    let delta = Delta::new(settings.delta)?;
    println!("{}\n", plan.statement(delta)?);
    let population = plan.population().to_vec();
    let share_of = |client: &ClientId| population.binary_search(client).unwrap_or_default();
    let train = |client: &ClientId, training: &Training| {
        let client = share_of(client);
        let turn = Turn { settings, share: &shares[client], client };
        learner.train(&turn, training).map_err(|error| failed(&error))
    };
    let policies = policies(settings, &shares)?;
    let policy = |client: &ClientId| policies.get(share_of(client)).cloned();
    let seed = settings.seed.map_or(SeedSource::OperatingSystem, SeedSource::Reproducible);
    let mut report = Report::new(settings, output, learner.manifest().len())?;
    let start = Instant::now();
    let mut average = Average::new(settings.rounds, output.average_last);
    let mut tested = Ok(());
    let ended = federated::simulate_nodes(plan, learner.start()?, seed, policy, train, |round| {
        report.add(round.asked, round.bytes_down, round.bytes_up);
        average.add(round.round, round.weights);
        // The last round is for the end, where it is known what nodes have spent.
        if round.round < settings.rounds && report.is_due(round.round) && tested.is_ok() {
            tested = learner.accuracy(&average.of(round.weights)).and_then(|accuracy| {
                let central = settings.unit == Unit::Client && settings.epsilon.0.is_some();
                let spent = central.then(|| round.server.epsilon(delta)).transpose()?;
                let spent = spent.map(|epsilon| epsilon.value());
                report.evaluated(round.round, accuracy, spent, start.elapsed())
            });
        }
    })?;
    tested?;
    let spent = spent(settings, &ended, delta)?;
    // The weights of the last round, or the mean of the last few: also where the round was evaluated by itself.
    let accuracy = learner.accuracy(&average.of(&ended.weights))?;
    report.evaluated(settings.rounds, accuracy, spent, start.elapsed())?;
    println!("digest {:08x}", digest(&ended.weights));
    report.end(start.elapsed())
}

/// What the operators of nodes allow; nobody asks them where the server protects clients.
fn policies(settings: &Settings, shares: &[Vec<usize>]) -> Result<Vec<NodePolicy>> {
    match settings.unit {
        Unit::Client => Ok(Vec::new()),
        Unit::Record | Unit::Local => {
            shares.iter().map(|share| policy(settings, share.len())).collect()
        }
    }
}

/// ε of what was released: about a client, or about the records of the client for whom it is largest.
fn spent(settings: &Settings, ended: &Simulation, delta: Delta) -> Result<Option<f64>> {
    if settings.epsilon.0.is_none() {
        return Ok(None);
    }
    if settings.unit == Unit::Client {
        return Ok(Some(ended.ledger.epsilon(delta, Adjacency::AddRemove)?.value()));
    }
    let adjacency = policy(settings, 1)?.adjacency.into();
    let mut largest: f64 = 0.0;
    for client in ended.clients.values() {
        let ledger = client.ledger(&policy(settings, 1)?.data_set);
        let epsilon = ledger.map(|ledger| ledger.epsilon(delta, adjacency)).transpose()?;
        largest = epsilon.map_or(largest, |epsilon| largest.max(epsilon.value()));
    }
    ensure!(largest > 0.0, "no client's policy allowed any round");
    Ok(Some(largest))
}

/// Names whose order is that of their numbers.
fn names(count: usize) -> Result<Vec<ClientId>> {
    (0..count).map(|number| Ok(ClientId::new(format!("client-{number:07}"))?)).collect()
}

/// A learner's error as one of the library's, which simulations end with.
fn failed(error: &anyhow::Error) -> burn_dp::Error {
    burn_dp::Error::Device { reason: format!("{error:#}") }
}
