//! One round, from the clients' replies to the next weights. Every unit, kind and encoding goes through here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::central::{Central, LateState};
use super::ids::ClientId;
use super::message::{Body, Reply};
use super::plan::{Aggregation, FederatedPlan};
use super::server_optimizer::OptimizerState;
use crate::bounded_sum::{BoundedSum, next_clipping};
use crate::clipping::ClippingState;
use crate::error::{Error, FederatedError, Result};
use crate::seed::{Domain, Seed};

/// What a round changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Released {
    /// Rounds released so far: the number of the next.
    pub(super) round: u64,
    /// What requests carry: weights, shares of masks, or predictions.
    pub(super) weights: Vec<f32>,
    pub(super) clipping: ClippingState,
    pub(super) optimizer: OptimizerState,
    /// The factor of each round's noise, and of the next one's; empty where the server adds none.
    pub(super) factors: Vec<f64>,
    pub(super) next_factor: f64,
    pub(super) late: LateState,
}

/// What came from a client that was asked.
pub(super) enum Outcome {
    /// The bytes of its reply.
    Replied(Vec<u8>),
    /// It answered with an error, or cannot be reached.
    Failed,
}

/// What has come in a round.
#[derive(Default)]
pub(super) struct Collected {
    /// Who was sampled, in order.
    pub(super) cohort: Vec<ClientId>,
    /// The first outcome of each of them. A later one would depend on how long others keep the round open.
    pub(super) outcomes: BTreeMap<ClientId, Outcome>,
    /// The first late reply of each client that owes one, and its round.
    pub(super) late: BTreeMap<ClientId, (u64, Vec<u8>)>,
}

/// Closes a round; `seed` is used for nothing else.
///
/// Also tells who sent what cannot be used, and why. Like the replies, that is the server's secret.
pub(super) fn close(
    plan: &FederatedPlan,
    before: &Released,
    collected: &Collected,
    seed: &Seed,
) -> Result<(Released, Vec<(ClientId, Error)>)> {
    let mut after = before.clone();
    let (used, refused) = decoded(plan, before, collected);
    let mean = match plan.aggregation() {
        Aggregation::Central(central) => {
            let mean = noised_mean(plan, central, collected, &used, (before, &mut after), seed)?;
            Some((mean, central.divisor()))
        }
        Aggregation::Mean { .. } => plain_mean(plan, &used)?,
    };
    after.round += 1;
    if let Some((mean, clients)) = mean {
        let (terms, mean) = (plan.terms(), (&mean[..], clients));
        let (weights, state) = (&mut after.weights, &mut after.optimizer);
        terms.kind().apply(plan.optimizer(), weights, mean, state, terms.manifest())?;
    }
    Ok((after, refused))
}

/// A contribution that can be used.
struct Used<'c> {
    client: &'c ClientId,
    /// The round for which it was made.
    round: u64,
    contribution: Vec<f32>,
}

/// Decode. Each client contributes once: with its reply to this round, or else with a late one.
fn decoded<'c>(
    plan: &FederatedPlan,
    before: &Released,
    collected: &'c Collected,
) -> (Vec<Used<'c>>, Vec<(ClientId, Error)>) {
    let (mut used, mut refused) = (Vec::new(), Vec::new());
    let everybody = collected.cohort.iter().chain(collected.late.keys());
    let mut everybody: Vec<&ClientId> = everybody.collect();
    everybody.sort_unstable();
    everybody.dedup();
    for client in everybody {
        let now = match collected.outcomes.get(client) {
            Some(Outcome::Replied(bytes)) => Some((before.round, bytes)),
            Some(Outcome::Failed) | None => None,
        };
        let late = collected.late.get(client).map(|(round, bytes)| (*round, bytes));
        for (round, bytes) in now.into_iter().chain(late) {
            match contribution(plan, round, bytes) {
                Ok(contribution) => {
                    used.push(Used { client, round, contribution });
                    break;
                }
                Err(error) => refused.push((client.clone(), error)),
            }
        }
    }
    (used, refused)
}

/// Clip, sum, noise, divide, account.
fn noised_mean(
    plan: &FederatedPlan,
    central: &Central,
    collected: &Collected,
    used: &[Used<'_>],
    (before, after): (&Released, &mut Released),
    seed: &Seed,
) -> Result<Vec<f64>> {
    let privacy = central.privacy();

    // Clip and sum. What did not come or cannot be used counts as zero.
    let mut sum = BoundedSum::under(privacy.clipping().clone(), before.clipping, plan.tensors());
    let mut silent: BTreeSet<&ClientId> = collected.cohort.iter().collect();
    for Used { client, round, contribution } in used {
        let mut weight = 1.0;
        if let Some(late) = central.late() {
            if !before.late.may_contribute(client, late) {
                continue;
            }
            weight = late.weight_of(before.round - round);
            after.late.contributed(client, *round);
        }
        let contribution = contribution.iter().map(|x| weight * f64::from(*x));
        sum.add_within(central.share_of(client), contribution)?;
        silent.remove(client);
    }
    silent.iter().for_each(|_| sum.add_nothing());

    // Noise, once, on the sum; then the public divisor.
    let below = sum.below_clipping_norm();
    let std = central.noise_std(&before.clipping, before.next_factor);
    let draw = (seed, Domain::GradientNoise, before.round);
    let divisor = central.divisor();
    let mean = sum.with_noise(&privacy.noise().of_step(std, draw), divisor)?.concat();

    // Account, before anything is released. What follows sees the noised sum only.
    after.factors.push(before.next_factor);
    let released: Vec<f64> = mean.iter().map(|mean| mean * divisor).collect();
    after.next_factor = central.next_factor(&after.factors, &released, std);
    after.clipping = next_clipping(privacy, before.clipping, below, (seed, before.round))?;
    if let Some(late) = central.late() {
        for (client, (round, _)) in &collected.late {
            after.late.settled(client, *round);
        }
        let owing = |client: &&ClientId| !collected.outcomes.contains_key(*client);
        let owing = collected.cohort.iter().filter(owing).cloned().collect();
        after.late.closed(before.round, owing, late);
    }
    Ok(mean)
}

/// The mean of contributions that are private already, over so many clients; nothing where none has come.
fn plain_mean(plan: &FederatedPlan, used: &[Used<'_>]) -> Result<Option<(Vec<f64>, f64)>> {
    if used.is_empty() {
        return Ok(None);
    }
    let clipping = plan.clipping();
    let state = clipping.initial_state();
    let mut sum = BoundedSum::under(clipping, state, plan.tensors());
    for Used { contribution, .. } in used {
        sum.add(contribution.iter().map(|x| f64::from(*x)))?;
    }
    let clients = used.len() as f64;
    let mean = sum.into_public().concat().into_iter().map(|sum| sum / clients).collect();
    Ok(Some((mean, clients)))
}

/// The contribution in the bytes of a stranger.
fn contribution(plan: &FederatedPlan, round: u64, bytes: &[u8]) -> Result<Vec<f32>> {
    let terms = plan.terms();
    if bytes.len() > plan.longest_reply() {
        let reason = format!("it has {} bytes, more than any honest one", bytes.len());
        return Err(Error::Federated(FederatedError::Unreadable { what: "reply", reason }));
    }
    let reply = Reply::from_bytes(bytes)?;
    let another = |of| Err(Error::Federated(FederatedError::OfAnother { what: "reply", of }));
    if reply.run != *terms.run() {
        return another("run");
    }
    if reply.fingerprint != *terms.fingerprint() {
        return another("plan");
    }
    if reply.round != round {
        return another("round");
    }
    match &reply.body {
        Body::Contribution(encoded) => {
            terms.encoding().decode(encoded, terms.manifest(), terms.seed_of(round))
        }
        Body::Refused => Err(Error::Federated(FederatedError::RefusedByClient)),
    }
}
