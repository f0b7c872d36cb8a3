//! The server: who is asked, when a round ends, and what is durable before anything is sent.

use core::fmt;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::central::{Central, Late, LateState};
use super::ids::ClientId;
use super::message::{Reply, Request, opened, sealed};
use super::plan::{Aggregation, FederatedPlan};
use super::round::{Collected, Outcome, Released, close};
use super::server_optimizer::OptimizerState;
use crate::clipping::ClippingState;
use crate::error::{Error, FederatedError, Result};
use crate::privacy::{Delta, Epsilon, Ledger};
use crate::sampling::PoissonSampler;
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
    collected: Collected,
    /// In seconds of the caller's clock.
    deadline: u64,
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
            clipping: plan.clipping().initial_state(),
            optimizer: OptimizerState::default(),
            factors: Vec::new(),
            next_factor: plan.central().map_or(1.0, Central::first_factor),
            late: LateState::default(),
        };
        Ok(Self { plan, seed, released, open: None })
    }

    /// Goes on from a [state](ServerStep::state), also in the middle of a round: with the same cohort and deadline.
    ///
    /// # Errors
    /// [`FederatedError`] for bytes that are truncated, corrupt, of another version or plan, or whose noise is not that of
    /// their rounds.
    pub fn resume(plan: FederatedPlan, state: &[u8], seed: SeedSource) -> Result<Self> {
        let state: State = opened(MAGIC, VERSION, "server's state", state)?;
        let another =
            |of| Error::Federated(FederatedError::OfAnother { what: "server's state", of });
        if state.fingerprint != *plan.terms().fingerprint() {
            return Err(another("plan"));
        }
        let State { released, open, .. } = state;
        check(&plan, &released.weights)?;
        let Released { round, factors, next_factor, late, .. } = &released;
        let accounted = match plan.central() {
            Some(central) => {
                factors.len() as u64 == *round && central.is_possible(factors, *next_factor)?
            }
            None => factors.is_empty(),
        };
        if !accounted || *round > plan.terms().rounds() {
            return Err(another("ledger"));
        }
        let members = |cohort: &[ClientId]| {
            cohort.iter().all(|client| plan.population().binary_search(client).is_ok())
        };
        if !open.as_ref().is_none_or(|(cohort, _)| members(cohort))
            || !late.knows_only(plan.population())
        {
            return Err(another("population"));
        }
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
        while !self.is_done()? {
            match &self.open {
                None => self.open(now)?,
                Some(open) if open.is_over(now, self.late().is_some()) => {
                    step.refused.extend(self.close()?);
                    step.closed += 1;
                }
                Some(_) => break,
            }
            changed = true;
        }
        step.done = self.is_done()?;
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

    /// What a reply is to the open round.
    pub(super) fn timing_of(&self, client: &ClientId, reply: &[u8]) -> Timing {
        let now = self.released.round;
        match Reply::from_bytes(reply) {
            Ok(reply) if reply.round < now => match self.late() {
                Some(_) if self.released.late.is_owed(client, reply.round) => {
                    Timing::Late(reply.round)
                }
                _ => Timing::TooLate,
            },
            // What cannot be read is an outcome too.
            _ => Timing::InTime,
        }
    }

    /// What has been released about a client; of the first tier where there are several. Empty where clients account for
    /// themselves.
    ///
    /// # Errors
    /// [`Error::Setting`] where there are more than 2^64 - 1 releases in all.
    pub fn ledger(&self) -> Result<Ledger> {
        Ok(self.ledgers()?.into_iter().next().unwrap_or_default())
    }

    /// What has been released about a client of each tier.
    ///
    /// # Errors
    /// As [`ledger`](Self::ledger).
    pub fn ledgers(&self) -> Result<Vec<Ledger>> {
        let central = self.plan.central();
        central.map_or(Ok(Vec::new()), |central| central.ledgers(&self.released.factors))
    }

    /// The clipping in force: it follows noised counts alone, so it is public.
    pub fn clipping(&self) -> ClippingState {
        self.released.clipping
    }

    /// The plan.
    pub fn plan(&self) -> &FederatedPlan {
        &self.plan
    }

    /// ε of what has been released, for the clients for whom it is largest. Under an adaptive schedule it is the budget.
    ///
    /// # Errors
    /// [`FederatedError::AccountedByClients`] where clients account for themselves; when no accountant has a bound.
    pub fn epsilon(&self, delta: Delta) -> Result<Epsilon> {
        match self.plan.central() {
            Some(central) => central.epsilon(&self.released.factors, delta),
            None => Err(Error::Federated(FederatedError::AccountedByClients)),
        }
    }

    fn late(&self) -> Option<Late> {
        self.plan.central().and_then(Central::late)
    }

    /// All rounds are released, or there is no budget for another.
    fn is_done(&self) -> Result<bool> {
        let Released { round, factors, next_factor, .. } = &self.released;
        if *round >= self.plan.terms().rounds() {
            return Ok(true);
        }
        match self.plan.central() {
            Some(central) if self.open.is_none() => Ok(!central.affords(factors, *next_factor)?),
            _ => Ok(false),
        }
    }

    /// Samples the next round's cohort.
    fn open(&mut self, now: u64) -> Result<()> {
        let (population, round) = (self.plan.population(), self.released.round);
        let seed = self.seed_of(Purpose::Cohort)?;
        let cohort = match self.plan.aggregation() {
            Aggregation::Central(central) => central.sample(&seed, population, round)?,
            Aggregation::Mean { asked, .. } => {
                let sampled = PoissonSampler::new(&seed, *asked, population.len())?.sample(round);
                sampled.into_iter().filter_map(|index| population.get(index).cloned()).collect()
            }
        };
        self.open = Some(Open::new(cohort, now.saturating_add(self.plan.deadline())));
        Ok(())
    }

    fn close(&mut self) -> Result<Vec<(ClientId, Error)>> {
        let Some(open) = &self.open else { return Ok(Vec::new()) };
        let seed = self.seed_of(Purpose::Noise)?;
        let (released, refused) = close(&self.plan, &self.released, &open.collected, &seed)?;
        self.released = released;
        self.open = None;
        Ok(refused)
    }

    /// Only the first outcome of a client that was sampled counts, and only the first late reply of one that owes it.
    fn take_in(&mut self, replies: Vec<(ClientId, Vec<u8>)>, failed: Vec<ClientId>) {
        let timings: Vec<Timing> =
            replies.iter().map(|(client, reply)| self.timing_of(client, reply)).collect();
        let Some(open) = &mut self.open else { return };
        let collected = &mut open.collected;
        let failed = failed.into_iter().map(|client| (client, Outcome::Failed));
        for ((client, bytes), timing) in replies.into_iter().zip(timings) {
            match timing {
                Timing::InTime => collected.keep(client, Outcome::Replied(bytes)),
                Timing::Late(round) => {
                    collected.late.entry(client).or_insert((round, bytes));
                }
                Timing::TooLate => {}
            }
        }
        failed.for_each(|(client, failed)| collected.keep(client, failed));
    }

    fn request(&self) -> Result<Vec<u8>> {
        let (terms, weights) = (self.plan.terms().clone(), self.released.weights.clone());
        Request { terms, round: self.released.round, weights }.to_bytes()
    }

    fn state(&self) -> Result<Vec<u8>> {
        let open = self.open.as_ref();
        let state = State {
            fingerprint: *self.plan.terms().fingerprint(),
            released: self.released.clone(),
            open: open.map(|open| (open.collected.cohort.clone(), open.deadline)),
        };
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

/// Without what clients have sent.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (run, round) = (self.plan.terms().run(), self.released.round);
        f.debug_struct("Server").field("run", run).field("round", &round).finish_non_exhaustive()
    }
}

/// When a reply has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timing {
    /// For the open round.
    InTime,
    /// For this earlier round, and it may still count.
    Late(u64),
    /// It is dropped, and its client may still answer the open round.
    TooLate,
}

impl Open {
    /// `cohort` is in order, as the population is.
    fn new(cohort: Vec<ClientId>, deadline: u64) -> Self {
        let collected = Collected { cohort, ..Collected::default() };
        Self { collected, deadline, asked: BTreeSet::new() }
    }

    /// Time is up, or everybody has answered or failed. Never by count: see T3. Where late replies count, by time alone: otherwise
    /// who is slow would decide in which round another's late reply falls.
    fn is_over(&self, now: u64, by_time_alone: bool) -> bool {
        let all = self.collected.outcomes.len() == self.collected.cohort.len();
        now >= self.deadline || (all && !by_time_alone)
    }

    /// Those to ask now.
    fn unasked(
        &mut self,
        online: &BTreeSet<ClientId>,
        waiting: &BTreeSet<ClientId>,
    ) -> Vec<ClientId> {
        let due = |client: &&ClientId| {
            online.contains(*client)
                && !self.collected.outcomes.contains_key(*client)
                && !self.asked.contains(*client)
                && !waiting.contains(*client)
        };
        let due: Vec<ClientId> = self.collected.cohort.iter().filter(due).cloned().collect();
        self.asked.extend(due.iter().cloned());
        due
    }
}

impl Collected {
    /// Keeps the first outcome of a client that was sampled.
    fn keep(&mut self, client: ClientId, outcome: Outcome) {
        if self.cohort.binary_search(&client).is_ok() {
            self.outcomes.entry(client).or_insert(outcome);
        }
    }
}

#[derive(Serialize, Deserialize)]
struct State {
    fingerprint: [u8; 32],
    released: Released,
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
