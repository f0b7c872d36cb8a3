//! The server: who is asked, when a round ends, and what is durable before anything is sent.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ids::ClientId;
use super::message::{Reply, Request, opened, sealed};
use super::plan::FederatedPlan;
use super::round::{Outcome, Released, close};
use super::server_optimizer::OptimizerState;
use crate::clipping::ClippingState;
use crate::error::{Error, FederatedError, Result};
use crate::privacy::{Delta, Epsilon, Ledger};
use crate::seed::{Seed, SeedSource};

const MAGIC: &[u8; 8] = b"BDPFEDSV";
const VERSION: u32 = 1;

/// The server of a federated run: a state machine without network, files and clock.
pub struct Server {
    plan: FederatedPlan,
    seed: SeedSource,
    released: Released,
    open: Option<Open>,
}

/// A round that is under way.
struct Open {
    cohort: Vec<ClientId>,
    /// In seconds of the caller's clock.
    deadline: u64,
    /// The first outcome of each client. A later one would depend on how long others keep the round open.
    outcomes: BTreeMap<ClientId, Outcome>,
    /// Asked by this process.
    asked: BTreeSet<ClientId>,
}

/// What has reached the server since the last step.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    /// Bytes of replies, each under the identity that the transport has verified.
    pub replies: Vec<(ClientId, Vec<u8>)>,
    /// Who answered with an error, or is gone.
    pub failed: Vec<ClientId>,
    /// Who can be asked.
    pub online: BTreeSet<ClientId>,
    /// Who has been asked for the open round, perhaps by an earlier process, and may still answer.
    pub waiting: BTreeSet<ClientId>,
}

/// What to do after a step, in this order: make `state` durable, send, wait.
#[derive(Debug, Default)]
#[must_use = "nothing may be sent before the state is durable"]
pub struct ServerStep {
    /// The new state, if it changed.
    pub state: Option<Vec<u8>>,
    /// Requests.
    pub send: Vec<(ClientId, Vec<u8>)>,
    /// Seconds until the step is due again, if no message comes before.
    pub wait: u64,
    /// Whether the run is over.
    pub done: bool,
    /// Rounds that were closed in this step.
    pub closed: u64,
    /// Who sent what could not be used, and why: a secret of the server.
    pub refused: Vec<(ClientId, Error)>,
}

impl Server {
    /// A new run from these weights, in the manifest's order, flat.
    ///
    /// `seed` is [`SeedSource::OperatingSystem`] for anything that is to be private. Each round has a key of its own, which is
    /// never saved.
    ///
    /// # Errors
    /// [`FederatedError::WrongLength`] and [`FederatedError::NotFinite`] for weights that are not the manifest's.
    pub fn start(plan: FederatedPlan, weights: Vec<f32>, seed: SeedSource) -> Result<Self> {
        check(&plan, &weights)?;
        let released = Released {
            round: 0,
            weights,
            clipping: plan.privacy().clipping().initial_state(),
            optimizer: OptimizerState::default(),
            ledger: plan.privacy().earlier().clone(),
        };
        Ok(Self { plan, seed, released, open: None })
    }

    /// Goes on from a [state](ServerStep::state), also in the middle of a round: with the same cohort and deadline.
    ///
    /// # Errors
    /// [`FederatedError`] for bytes that are truncated, corrupt, of another version or plan, or whose ledger is not that of
    /// their round.
    pub fn resume(plan: FederatedPlan, state: &[u8], seed: SeedSource) -> Result<Self> {
        let state: State = opened(MAGIC, VERSION, "server's state", state)?;
        let another =
            |of| Error::Federated(FederatedError::OfAnother { what: "server's state", of });
        if state.fingerprint != *plan.terms().fingerprint() {
            return Err(another("plan"));
        }
        check(&plan, &state.weights)?;
        let progress = crate::plan::Progress { selected: false, steps: state.round.into() };
        let rounds = plan.terms().rounds();
        let members = |cohort: &[ClientId]| {
            cohort.iter().all(|client| plan.population().binary_search(client).is_ok())
        };
        if plan.privacy().events(progress)? != state.ledger || state.round > rounds {
            return Err(another("ledger"));
        }
        if !state.open.as_ref().is_none_or(|(cohort, _)| members(cohort)) {
            return Err(another("population"));
        }
        let State { round, weights, clipping, optimizer, ledger, open, .. } = state;
        let released = Released { round, weights, clipping, optimizer, ledger };
        let open = open.map(|(cohort, deadline)| Open::new(cohort, deadline));
        Ok(Self { plan, seed, released, open })
    }

    /// Takes in what has come, at `now` seconds of the caller's clock, and says what to do.
    ///
    /// # Errors
    /// When a release fails, as for noise that single precision cannot hold. Nothing is released then: end the process, and
    /// resume from the last state.
    pub fn step(&mut self, inbox: Inbox, now: u64) -> Result<ServerStep> {
        let mut step = ServerStep::default();
        let nobody = BTreeSet::new();
        self.take_in(inbox.replies, inbox.failed);
        let mut changed = false;
        while self.released.round < self.plan.terms().rounds() {
            match &self.open {
                None => self.open(now)?,
                Some(open) if open.is_over(now) => {
                    step.refused.extend(self.close()?);
                    step.closed += 1;
                }
                Some(_) => break,
            }
            changed = true;
        }
        step.done = self.released.round >= self.plan.terms().rounds();
        if changed {
            step.state = Some(self.state()?);
        }
        if let Some(open) = &mut self.open {
            step.wait = open.deadline.saturating_sub(now);
            let unasked = open
                .unasked(&inbox.online, if step.closed == 0 { &inbox.waiting } else { &nobody });
            if !unasked.is_empty() {
                let request = self.request()?;
                step.send = unasked.into_iter().map(|client| (client, request.clone())).collect();
            }
        }
        Ok(step)
    }

    /// The weights after the last release: public.
    pub fn weights(&self) -> &[f32] {
        &self.released.weights
    }

    /// Rounds released so far.
    pub fn round(&self) -> u64 {
        self.released.round
    }

    /// Whether bytes are a reply to a round that is over.
    pub(super) fn is_late(&self, reply: &[u8]) -> bool {
        is_of_earlier_round(reply, self.released.round)
    }

    /// What has been released.
    pub fn ledger(&self) -> &Ledger {
        &self.released.ledger
    }

    /// The clipping in force: it follows noised counts alone, so it is public.
    pub fn clipping(&self) -> ClippingState {
        self.released.clipping
    }

    /// The plan.
    pub fn plan(&self) -> &FederatedPlan {
        &self.plan
    }

    /// ε of what has been released.
    ///
    /// # Errors
    /// When no accountant has a bound.
    pub fn epsilon(&self, delta: Delta) -> Result<Epsilon> {
        Ok(self.released.ledger.epsilon(delta, self.plan.privacy().adjacency())?)
    }

    /// Samples the next round's cohort.
    fn open(&mut self, now: u64) -> Result<()> {
        let population = self.plan.population();
        let seed = self.seed_of(Purpose::Cohort)?;
        let sampler = self.plan.privacy().sampling().sampler(&seed, population.len())?;
        let sampled = sampler.sample(self.released.round).into_iter();
        let cohort = sampled.filter_map(|index| population.get(index).cloned()).collect();
        self.open = Some(Open::new(cohort, now.saturating_add(self.plan.deadline())));
        Ok(())
    }

    fn close(&mut self) -> Result<Vec<(ClientId, Error)>> {
        let Some(open) = &self.open else { return Ok(Vec::new()) };
        let seed = self.seed_of(Purpose::Noise)?;
        let (released, refused) =
            close(&self.plan, &self.released, &open.cohort, &open.outcomes, &seed)?;
        self.released = released;
        self.open = None;
        Ok(refused)
    }

    /// Only the first outcome of a client that was sampled counts.
    fn take_in(&mut self, replies: Vec<(ClientId, Vec<u8>)>, failed: Vec<ClientId>) {
        let Some(open) = &mut self.open else { return };
        let replied = replies.into_iter().map(|(client, bytes)| (client, Outcome::Replied(bytes)));
        let failed = failed.into_iter().map(|client| (client, Outcome::Failed));
        for (client, outcome) in replied.chain(failed) {
            let late = match &outcome {
                Outcome::Replied(bytes) => is_of_earlier_round(bytes, self.released.round),
                Outcome::Failed => false,
            };
            if !late && open.cohort.binary_search(&client).is_ok() {
                open.outcomes.entry(client).or_insert(outcome);
            }
        }
    }

    fn request(&self) -> Result<Vec<u8>> {
        let (terms, weights) = (self.plan.terms().clone(), self.released.weights.clone());
        Request { terms, round: self.released.round, weights }.to_bytes()
    }

    fn state(&self) -> Result<Vec<u8>> {
        let Released { round, weights, clipping, optimizer, ledger } = self.released.clone();
        let fingerprint = *self.plan.terms().fingerprint();
        let open = self.open.as_ref().map(|open| (open.cohort.clone(), open.deadline));
        let state = State { fingerprint, round, weights, clipping, optimizer, ledger, open };
        sealed(MAGIC, VERSION, "server's state", &state)
    }

    /// A key for one purpose of one round. Fresh each time, unless the run is a reproducible experiment.
    fn seed_of(&self, purpose: Purpose) -> Result<Seed> {
        let seed = Seed::new(self.seed)?;
        let number = self.released.round.saturating_mul(2).saturating_add(purpose as u64);
        Ok(seed.child(number))
    }
}

#[derive(Clone, Copy)]
enum Purpose {
    Cohort = 0,
    Noise = 1,
}

impl Open {
    /// `cohort` is in order, as the population is.
    fn new(cohort: Vec<ClientId>, deadline: u64) -> Self {
        Self { cohort, deadline, outcomes: BTreeMap::new(), asked: BTreeSet::new() }
    }

    /// Time is up, or everybody has answered or failed. Never by count: see T3.
    fn is_over(&self, now: u64) -> bool {
        now >= self.deadline || self.outcomes.len() == self.cohort.len()
    }

    /// Those to ask now.
    fn unasked(
        &mut self,
        online: &BTreeSet<ClientId>,
        waiting: &BTreeSet<ClientId>,
    ) -> Vec<ClientId> {
        let due = |client: &&ClientId| {
            online.contains(*client)
                && !self.outcomes.contains_key(*client)
                && !self.asked.contains(*client)
                && !waiting.contains(*client)
        };
        let due: Vec<ClientId> = self.cohort.iter().filter(due).cloned().collect();
        self.asked.extend(due.iter().cloned());
        due
    }
}

/// Whether a reply is to a round that is over: it is dropped, and its client may still answer the open one.
fn is_of_earlier_round(bytes: &[u8], open: u64) -> bool {
    Reply::from_bytes(bytes).is_ok_and(|reply| reply.round < open)
}

#[derive(Serialize, Deserialize)]
struct State {
    fingerprint: [u8; 32],
    round: u64,
    weights: Vec<f32>,
    clipping: ClippingState,
    optimizer: OptimizerState,
    ledger: Ledger,
    /// Cohort and deadline.
    open: Option<(Vec<ClientId>, u64)>,
}

fn check(plan: &FederatedPlan, weights: &[f32]) -> Result<()> {
    let (found, expected) = (weights.len(), plan.terms().manifest().len());
    if found != expected {
        return Err(Error::Federated(FederatedError::WrongLength { found, expected }));
    }
    match weights.iter().all(|weight| weight.is_finite()) {
        true => Ok(()),
        false => Err(Error::Federated(FederatedError::NotFinite)),
    }
}
