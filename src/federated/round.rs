//! One round, from the clients' replies to the next weights.

use std::collections::BTreeMap;

use super::ids::ClientId;
use super::message::Reply;
use super::plan::FederatedPlan;
use super::server_optimizer::OptimizerState;
use crate::bounded_sum::{BoundedSum, next_clipping};
use crate::clipping::ClippingState;
use crate::error::{Error, FederatedError, Result};
use crate::plan::Progress;
use crate::privacy::Ledger;
use crate::seed::{Domain, Seed};

/// What a round changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Released {
    /// Rounds released so far: the number of the next.
    pub(super) round: u64,
    pub(super) weights: Vec<f32>,
    pub(super) clipping: ClippingState,
    pub(super) optimizer: OptimizerState,
    pub(super) ledger: Ledger,
}

/// What came from a client that was asked.
pub(super) enum Outcome {
    /// The bytes of its reply.
    Replied(Vec<u8>),
    /// It answered with an error, or cannot be reached.
    Failed,
}

/// Closes a round: `cohort` are the clients that were sampled for it, `seed` is used for nothing else.
///
/// Also tells who sent what cannot be used, and why. Like the replies, that is the server's secret.
pub(super) fn close(
    plan: &FederatedPlan,
    before: &Released,
    cohort: &[ClientId],
    outcomes: &BTreeMap<ClientId, Outcome>,
    seed: &Seed,
) -> Result<(Released, Vec<(ClientId, Error)>)> {
    let privacy = plan.privacy();
    let mut after = before.clone();

    // Decode, clip and sum. What did not come or cannot be used counts as zero.
    let clipping = privacy.clipping().clone();
    let mut sum = BoundedSum::under(clipping, before.clipping, plan.tensors());
    let mut refused = Vec::new();
    for client in cohort {
        match outcomes.get(client) {
            Some(Outcome::Replied(bytes)) => match decoded(plan, before.round, bytes) {
                Ok(update) => sum.add(update.into_iter().map(f64::from))?,
                Err(error) => {
                    sum.add_nothing();
                    refused.push((client.clone(), error));
                }
            },
            Some(Outcome::Failed) | None => sum.add_nothing(),
        }
    }

    // Noise, once, on the sum; then the public divisor.
    let below = sum.below_clipping_norm();
    let std = privacy.noise_std(&before.clipping);
    let draw = (seed, Domain::GradientNoise, before.round);
    let mean = sum.with_noise(&privacy.noise().of_step(std, draw), privacy.divisor())?;

    // Account, before anything is released.
    after.round += 1;
    let progress = Progress { selected: false, steps: after.round.into() };
    after.ledger = privacy.events(progress)?;
    after.clipping = next_clipping(privacy, before.clipping, below, (seed, before.round))?;

    // The optimizer sees the noised mean only.
    plan.optimizer().apply(&mut after.weights, &mean.concat(), &mut after.optimizer);
    Ok((after, refused))
}

/// The update in the bytes of a stranger.
fn decoded(plan: &FederatedPlan, round: u64, bytes: &[u8]) -> Result<Vec<f32>> {
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
    terms.encoding().decode(&reply.update, terms.manifest(), terms.seed_of(round))
}
