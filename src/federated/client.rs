//! A client: trains when it is asked, answers each round once, and grants what its policy allows.

use std::collections::BTreeMap;

use chacha20::ChaCha20Rng;
use rand::SeedableRng;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::ids::{DataSetId, RunId};
use super::message::{Body, Reply, Request, opened, sealed};
use super::plan::Weighting;
use super::policy::{NodePolicy, Spent};
use super::training::{Trained, Training};
use super::unit::Protection;
use crate::bounded_sum::BoundedSum;
use crate::error::{Error, FederatedError, Result};
use crate::plan::{PrivacyPlan, Progress};
use crate::privacy::{DpEvent, Ledger};
use crate::seed::{Domain, Seed, SeedSource};

const MAGIC: &[u8; 8] = b"BDPFEDCL";
const VERSION: u32 = 1;

/// What a client remembers: which runs it takes part in, its last reply to each, and what has been spent on its data sets.
///
/// The reply is kept until a later round is asked for. Asked again for the same round, as after a crash of the server, the client
/// repeats it, so nothing about its data is computed twice. Ledgers and replies are one state, which becomes durable at once: no
/// reply is sent that was not paid for, and none is paid for twice.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Client {
    memory: Memory,
    policy: Option<NodePolicy>,
    seed: SeedSource,
}

/// What survives.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Memory {
    runs: BTreeMap<RunId, Participation>,
    data_sets: BTreeMap<DataSetId, Spent>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Participation {
    /// Of the plan that the first request had. No other is answered in this run.
    fingerprint: [u8; 32],
    /// Round and reply of the last answer.
    last: (u64, ByteBuf),
    /// How many rounds have been answered.
    answered: u64,
}

/// What to do with an answer, in this order: make `state` durable, send `reply`.
#[derive(Debug)]
#[must_use = "the reply may not be sent before the state is durable"]
pub struct Answer {
    /// The client's new state; `None` where it is as before.
    pub state: Option<Vec<u8>>,
    /// The reply's bytes.
    pub reply: Vec<u8>,
    /// Why the reply is a refusal, if it is one: for the node's operator.
    pub refused: Option<Error>,
}

/// What a policy grants for one round.
struct Grant {
    /// The plan of one round.
    plan: PrivacyPlan,
    /// What is charged, so many times.
    event: DpEvent,
    count: u64,
    /// Of the whole run, for the choice of the filter.
    planned: DpEvent,
}

impl Client {
    /// A client that has taken part in nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on from a [state](Answer::state).
    ///
    /// # Errors
    /// [`FederatedError`] for bytes that are truncated, corrupt or of another version.
    pub fn resume(state: &[u8]) -> Result<Self> {
        let memory = opened(MAGIC, VERSION, "client's state", state)?;
        Ok(Self { memory, ..Self::default() })
    }

    /// Under the policy of the node's operator. Without one a client answers only runs in which the server is trusted.
    #[must_use]
    pub fn with_policy(mut self, policy: NodePolicy) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Where its own noise comes from: the operating system unless set, and it has to be for anything that is to be private.
    #[must_use]
    pub fn with_seed(mut self, seed: SeedSource) -> Self {
        self.seed = seed;
        self
    }

    /// Answers the bytes of a request. `train` makes new numbers of those of the request; what the run adds up of them is the
    /// plan's [`Kind`](super::Kind).
    ///
    /// # Errors
    /// [`FederatedError`] for a request that cannot be read, of another plan than the run's first, or of a round before the last
    /// that was answered; [`FederatedError::Training`] with `train`'s own error; and for numbers of another
    /// length, that are not finite, or not of the run's kind, and for training on records that was not done
    /// [as granted](FederatedError::NotAsGranted). The client is unchanged then.
    pub fn answer<F, T, E>(&mut self, request: &[u8], train: F) -> Result<Answer>
    where
        F: FnOnce(&Training) -> core::result::Result<T, E>,
        T: Into<Trained>,
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        let request = Request::from_bytes(request)?;
        if let Some(reply) = self.known_reply(&request)? {
            return Ok(Answer { state: None, reply, refused: None });
        }
        let (grant, spent) = match self.granted(&request) {
            Ok(granted) => granted.map(|(grant, spent)| (grant.plan, spent)).unzip(),
            Err(refused) => return refusal(&request, refused),
        };
        let record_level = matches!(request.terms.protection(), Protection::Record(_));
        let (own, local) = match grant {
            Some(plan) if record_level => (Some(plan), None),
            local => (None, local),
        };
        let training = Training { request, privacy: own };
        let failed = |error: E| FederatedError::Training { source: error.into() };
        let mut trained: Trained = train(&training).map_err(failed)?.into();
        if let Some(plan) = &training.privacy {
            check_ledger(plan, trained.ledger.as_ref())?;
            // How many records there are is itself about each of them; the policy's number is public.
            trained.examples = self.policy.as_ref().map(|policy| policy.records);
        }
        let request = &training.request;
        let reply = self.reply(request, &trained, local.as_ref())?;

        let (terms, round) = (&request.terms, request.round);
        let mut after = self.memory.clone();
        if let (Some(spent), Some(policy)) = (spent, &self.policy) {
            after.data_sets.insert(policy.data_set.clone(), spent);
        }
        let last = (round, ByteBuf::from(reply.clone()));
        let (fingerprint, answered) = (*terms.fingerprint(), self.answered(terms.run()) + 1);
        after.runs.insert(terms.run().clone(), Participation { fingerprint, last, answered });
        let state = sealed(MAGIC, VERSION, "client's state", &after)?;
        self.memory = after;
        Ok(Answer { state: Some(state), reply, refused: None })
    }

    /// How many rounds of a run have been answered.
    pub fn answered(&self, run: &RunId) -> u64 {
        self.memory.runs.get(run).map_or(0, |known| known.answered)
    }

    /// What has been released about a data set, in all runs. What it cost is the policy's budget, however much is left: servers adapt
    /// what they ask to what they have seen.
    pub fn ledger(&self, data_set: &DataSetId) -> Option<&Ledger> {
        self.memory.data_sets.get(data_set).map(Spent::ledger)
    }

    /// What has been spent on each data set, in words: for the node's operator.
    ///
    /// # Errors
    /// [`FederatedError::BudgetSpent`] where the policy's budget is below what was spent under an earlier one.
    pub fn budget(&self) -> Result<String> {
        let mut lines = Vec::new();
        for (name, spent) in &self.memory.data_sets {
            let releases = spent.ledger().steps().value();
            let budget = match self.policy.as_ref().filter(|policy| policy.data_set == *name) {
                Some(policy) => {
                    let (epsilon, delta) = (policy.epsilon, policy.delta);
                    let share = (100.0 * spent.share(policy)?).ceil();
                    format!("{share} % of its budget (epsilon {epsilon}, delta {delta}) spent")
                }
                None => "it is not that of the policy".to_owned(),
            };
            lines.push(format!("{name}: {releases} releases, {budget}"));
        }
        Ok(if lines.is_empty() { "nothing was spent".to_owned() } else { lines.join("\n") })
    }

    /// The reply that was given to this round before.
    fn known_reply(&self, request: &Request) -> Result<Option<Vec<u8>>> {
        let (terms, round) = (&request.terms, request.round);
        let another = |of| Err(Error::Federated(FederatedError::OfAnother { what: "request", of }));
        if round >= terms.rounds() {
            return another("round");
        }
        let Some(known) = self.memory.runs.get(terms.run()) else { return Ok(None) };
        if known.fingerprint != *terms.fingerprint() {
            return another("plan");
        }
        let (seen, reply) = &known.last;
        if round < *seen {
            let (asked, seen) = (round, *seen);
            return Err(Error::Federated(FederatedError::RoundBehind { asked, seen }));
        }
        Ok((round == *seen).then(|| reply.to_vec()))
    }

    /// What the policy grants, and what is spent on the data set then; nothing where the server protects the client.
    fn granted(&self, request: &Request) -> Result<Option<(Grant, Spent)>> {
        let (terms, policy) = (&request.terms, self.policy.as_ref());
        policy.map_or(Ok(()), |policy| policy.check_run(terms.run()))?;
        let grant = match (terms.protection(), policy) {
            (Protection::Central, Some(policy)) if !policy.trust_server => {
                return Err(Error::Federated(FederatedError::ServerNotTrusted));
            }
            // A policy that is gone from a node that had one is no leave to send what has no noise.
            (Protection::Central, None) if !self.memory.data_sets.is_empty() => {
                return Err(Error::Federated(FederatedError::NoPolicy));
            }
            (Protection::Central, _) => return Ok(None),
            (_, None) => return Err(Error::Federated(FederatedError::NoPolicy)),
            (Protection::Record(proposal), Some(policy)) => {
                let plan = policy.records_plan(proposal)?;
                let (event, count) = (plan.step_event(), plan.steps().value());
                let planned = event.clone().repeated(proposal.plan().steps().value());
                Grant { plan, event, count, planned }
            }
            (Protection::Local(proposal), Some(policy)) => {
                let plan = policy.local_plan(proposal)?;
                let event = policy.local_event(&plan)?;
                let planned = event.clone().repeated(proposal.rounds());
                Grant { plan, event, count: 1, planned }
            }
        };
        // There is a policy, or there was no grant.
        let Some(policy) = policy else { return Ok(None) };
        let before = match self.memory.data_sets.get(&policy.data_set) {
            Some(spent) => spent.clone(),
            None => Spent::nothing(policy, &grant.planned)?,
        };
        let spent = before.with(policy, grant.event.clone(), grant.count)?;
        Ok(Some((grant, spent)))
    }

    /// The contribution: weighted, noised where privacy is local, encoded.
    fn reply(
        &self,
        request: &Request,
        trained: &Trained,
        local: Option<&PrivacyPlan>,
    ) -> Result<Vec<u8>> {
        let Request { terms, round, weights } = request;
        let (found, expected) = (trained.numbers.len(), weights.len());
        if found != expected {
            return Err(Error::Federated(FederatedError::WrongLength { found, expected }));
        }
        let kind = terms.kind();
        let mut contribution = kind.contribution(&trained.numbers, weights, terms.manifest())?;
        if let Weighting::Capped { cap } = terms.weighting() {
            let missing = Error::Federated(FederatedError::ExamplesMissing);
            let examples = trained.examples.ok_or(missing)?;
            let weight = (examples.min(cap) as f64 / cap as f64) as f32;
            contribution.iter_mut().for_each(|x| *x *= weight);
        }
        if !contribution.iter().all(|number| number.is_finite()) {
            return Err(Error::Federated(FederatedError::NotFinite));
        }
        if let Some(plan) = local {
            contribution = self.noised(contribution, request, plan)?;
        }
        let mut own = ChaCha20Rng::try_from_rng(&mut SysRng)
            .map_err(|error| Error::RandomnessUnavailable { reason: error.to_string() })?;
        let seed = terms.seed_of(*round);
        let encoded = terms.encoding().encode(&contribution, terms.manifest(), seed, &mut own)?;
        let (run, fingerprint) = (terms.run().clone(), *terms.fingerprint());
        let body = Body::Contribution(encoded);
        Reply { run, round: *round, fingerprint, body }.to_bytes()
    }

    /// The Gaussian mechanism on one contribution. Encoding comes after it, and is post-processing (T6).
    fn noised(
        &self,
        contribution: Vec<f32>,
        request: &Request,
        plan: &PrivacyPlan,
    ) -> Result<Vec<f32>> {
        let manifest = request.terms.manifest();
        let (clipping, state) = (plan.clipping().clone(), plan.clipping().initial_state());
        let groups = clipping.groups_of(&manifest.paths(), &[])?;
        let mut sum = BoundedSum::under(clipping, state, manifest.lengths().zip(groups).collect());
        sum.add(contribution.into_iter().map(f64::from))?;
        let seed = Seed::new(self.seed)?;
        let draw = (&seed, Domain::GradientNoise, request.round);
        let noised = sum.with_noise(&plan.noise().of_step(plan.noise_std(&state), draw), 1.0)?;
        Ok(noised.concat().into_iter().map(|x| x as f32).collect())
    }
}

/// A refusal is a reply: the server need not wait. Asked again, the client looks at its policy again.
fn refusal(request: &Request, refused: Error) -> Result<Answer> {
    let (run, fingerprint) = (request.terms.run().clone(), *request.terms.fingerprint());
    let reply = Reply { run, round: request.round, fingerprint, body: Body::Refused };
    Ok(Answer { state: None, reply: reply.to_bytes()?, refused: Some(refused) })
}

/// Training took steps of the plan that was granted, at most as many, and nothing else.
fn check_ledger(plan: &PrivacyPlan, ledger: Option<&Ledger>) -> Result<()> {
    let not_as_granted = || Error::Federated(FederatedError::NotAsGranted);
    let ledger = ledger.ok_or_else(not_as_granted)?;
    let (steps, most) = (ledger.steps(), plan.steps());
    let expected = plan.events(Progress { selected: false, steps })?;
    match steps <= most && *ledger == expected {
        true => Ok(()),
        false => Err(not_as_granted()),
    }
}
