//! Many clients in one process: the same roles and the same bytes, without a network.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::client::Client;
use super::ids::ClientId;
use super::plan::FederatedPlan;
use super::policy::NodePolicy;
use super::server::{Inbox, Server};
use super::training::{Trained, Training};
use crate::error::Result;
use crate::privacy::Ledger;
use crate::seed::SeedSource;

/// What a simulation ended with.
#[derive(Debug)]
pub struct Simulation {
    /// The last weights.
    pub weights: Vec<f32>,
    /// What the server released about a client; empty where clients account for themselves.
    pub ledger: Ledger,
    /// Bytes from the server to clients, all rounds together.
    pub bytes_down: u64,
    /// Bytes from clients to the server.
    pub bytes_up: u64,
    /// The clients as they are now, with what has been spent on their data sets; empty where the server protects them.
    pub clients: BTreeMap<ClientId, Client>,
}

/// A round of a simulation.
#[derive(Debug)]
#[non_exhaustive]
pub struct RoundReport<'s> {
    /// The server, which has released the round.
    pub server: &'s Server,
    /// Rounds released so far.
    pub round: u64,
    /// How many clients were asked.
    pub asked: usize,
    /// The weights now.
    pub weights: &'s [f32],
    /// Bytes from the server to clients in this round.
    pub bytes_down: u64,
    /// Bytes from clients to the server in this round.
    pub bytes_up: u64,
}

/// Runs a plan with all clients in this process, on all of rayon's threads.
///
/// `train` makes new weights for a client, out of a request's; where it fails the client counts as failed. `report` is told of
/// each round.
///
/// # Errors
/// As [`Server::start`] and [`Server::step`].
pub fn simulate<T, N>(
    plan: FederatedPlan,
    weights: Vec<f32>,
    seed: SeedSource,
    train: T,
    report: impl FnMut(RoundReport<'_>),
) -> Result<Simulation>
where
    T: Fn(&ClientId, &Training) -> Result<N> + Sync,
    N: Into<Trained>,
{
    simulate_nodes(plan, weights, seed, |_| None, train, report)
}

/// As [`simulate`], with nodes that protect themselves: `policy` is what the operator of each has set.
///
/// # Errors
/// As [`simulate`].
pub fn simulate_nodes<T, N>(
    plan: FederatedPlan,
    weights: Vec<f32>,
    seed: SeedSource,
    policy: impl Fn(&ClientId) -> Option<NodePolicy> + Sync,
    train: T,
    mut report: impl FnMut(RoundReport<'_>),
) -> Result<Simulation>
where
    T: Fn(&ClientId, &Training) -> Result<N> + Sync,
    N: Into<Trained>,
{
    let mut server = Server::start(plan, weights, seed)?;
    let everybody: BTreeSet<ClientId> = server.plan().population().iter().cloned().collect();
    let (mut bytes_down, mut bytes_up) = (0, 0);
    let mut inbox = Inbox { online: everybody.clone(), ..Inbox::default() };
    let mut clients: BTreeMap<ClientId, Client> = BTreeMap::new();
    // Asked once a round, a client whom the server protects needs no memory of the last.
    let remembers = server.plan().central().is_none();
    let mut now = 0;
    let mut last = (0, 0, 0);
    loop {
        let step = server.step(std::mem::take(&mut inbox), now)?;
        if step.closed > 0 {
            let (round, weights) = (server.round(), server.weights());
            let (asked, bytes_down, bytes_up) = last;
            report(RoundReport { server: &server, round, asked, weights, bytes_down, bytes_up });
        }
        if step.done {
            let (weights, ledger) = (server.weights().to_vec(), server.ledger()?);
            return Ok(Simulation { weights, ledger, bytes_down, bytes_up, clients });
        }
        let asked = step.send.len();
        let answer = |(client, request): (ClientId, Vec<u8>)| {
            let down = request.len() as u64;
            let mut role = clients.get(&client).cloned().unwrap_or_else(|| {
                let new = Client::new().with_seed(seed_of(seed, server.plan(), &client));
                policy(&client).into_iter().fold(new, Client::with_policy)
            });
            let reply = role.answer(&request, |training| train(&client, training));
            (client, role, down, reply)
        };
        let answers: Vec<_> = step.send.into_par_iter().map(answer).collect();
        inbox.online.clone_from(&everybody);
        let (mut down_now, mut up_now) = (0, 0);
        for (client, role, down, reply) in answers {
            down_now += down;
            match reply {
                Ok(answer) => {
                    if let Some(refused) = answer.refused {
                        log::warn!("client {client} refuses: {refused}");
                    }
                    up_now += answer.reply.len() as u64;
                    inbox.replies.push((client.clone(), answer.reply));
                }
                Err(error) => {
                    log::warn!("client {client} failed: {error}");
                    inbox.failed.push(client.clone());
                }
            }
            if remembers {
                clients.insert(client, role);
            }
        }
        bytes_down += down_now;
        bytes_up += up_now;
        // Everything is in, so the next step may close the round, also where only time does.
        now = now.saturating_add(step.wait);
        last = (asked, down_now, up_now);
    }
}

/// A seed of its own for each client of a reproducible experiment.
fn seed_of(seed: SeedSource, plan: &FederatedPlan, client: &ClientId) -> SeedSource {
    match seed {
        SeedSource::OperatingSystem => seed,
        SeedSource::Reproducible(number) => {
            let (Ok(place) | Err(place)) = plan.population().binary_search(client);
            let apart = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            SeedSource::Reproducible(number.wrapping_add(apart))
        }
    }
}
