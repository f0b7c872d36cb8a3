//! Many clients in one process: the same roles and the same bytes, without a network.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::client::Client;
use super::ids::ClientId;
use super::message::Request;
use super::plan::FederatedPlan;
use super::server::{Inbox, Server};
use crate::error::Result;
use crate::privacy::Ledger;
use crate::seed::SeedSource;

/// What a simulation ended with.
#[derive(Debug)]
pub struct Simulation {
    /// The last weights.
    pub weights: Vec<f32>,
    /// What was released.
    pub ledger: Ledger,
    /// Bytes from the server to clients, all rounds together.
    pub bytes_down: u64,
    /// Bytes from clients to the server.
    pub bytes_up: u64,
}

/// A round of a simulation.
#[derive(Debug)]
#[non_exhaustive]
pub struct RoundReport<'w> {
    /// Rounds released so far.
    pub round: u64,
    /// How many clients were asked.
    pub asked: usize,
    /// The weights now.
    pub weights: &'w [f32],
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
pub fn simulate<T>(
    plan: FederatedPlan,
    weights: Vec<f32>,
    seed: SeedSource,
    train: T,
    mut report: impl FnMut(RoundReport<'_>),
) -> Result<Simulation>
where
    T: Fn(&ClientId, &Request) -> Result<Vec<f32>> + Sync,
{
    let mut server = Server::start(plan, weights, seed)?;
    let everybody: BTreeSet<ClientId> = server.plan().population().iter().cloned().collect();
    let (mut bytes_down, mut bytes_up) = (0, 0);
    let mut inbox = Inbox { online: everybody.clone(), ..Inbox::default() };
    loop {
        let step = server.step(std::mem::take(&mut inbox), 0)?;
        if step.done {
            let (weights, ledger) = (server.weights().to_vec(), server.ledger().clone());
            return Ok(Simulation { weights, ledger, bytes_down, bytes_up });
        }
        let asked = step.send.len();
        let answer = |(client, request): (ClientId, Vec<u8>)| {
            let down = request.len() as u64;
            // Each client is asked once a round, so it needs no memory of the last.
            let reply = Client::new().answer(&request, |request| train(&client, request));
            (client, down, reply.map(|answer| answer.reply))
        };
        let answers: Vec<_> = step.send.into_par_iter().map(answer).collect();
        inbox.online.clone_from(&everybody);
        let (mut down_now, mut up_now) = (0, 0);
        for (client, down, reply) in answers {
            down_now += down;
            match reply {
                Ok(bytes) => {
                    up_now += bytes.len() as u64;
                    inbox.replies.push((client, bytes));
                }
                Err(error) => {
                    log::warn!("client {client} failed: {error}");
                    inbox.failed.push(client);
                }
            }
        }
        bytes_down += down_now;
        bytes_up += up_now;
        let (round, weights) = (server.round(), server.weights());
        report(RoundReport { round, asked, weights, bytes_down: down_now, bytes_up: up_now });
    }
}
