//! A client: trains when it is asked, answers each round once.

use std::collections::BTreeMap;

use chacha20::ChaCha20Rng;
use rand::SeedableRng;
use rand::rngs::SysRng;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::ids::RunId;
use super::message::{Reply, Request, opened, sealed};
use crate::error::{Error, FederatedError, Result};

const MAGIC: &[u8; 8] = b"BDPFEDCL";
const VERSION: u32 = 1;

/// What a client remembers: which runs it takes part in, and its last reply to each.
///
/// The reply is kept until a later round is asked for. Asked again for the same round, as after a crash of the server, the client
/// repeats it, so nothing about its data is computed twice.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Client {
    runs: BTreeMap<RunId, Participation>,
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
        opened(MAGIC, VERSION, "client's state", state)
    }

    /// Answers the bytes of a request. `train` makes new weights of those of the request; what is sent is the difference.
    ///
    /// # Errors
    /// [`FederatedError`] for a request that cannot be read, of another plan than the run's first, or of a round before the last
    /// that was answered; [`FederatedError::Training`] with `train`'s own error; and for new weights of another
    /// length or that are not finite. The client is unchanged then.
    pub fn answer<F, E>(&mut self, request: &[u8], train: F) -> Result<Answer>
    where
        F: FnOnce(&Request) -> core::result::Result<Vec<f32>, E>,
        E: Into<Box<dyn core::error::Error + Send + Sync>>,
    {
        let request = Request::from_bytes(request)?;
        let (terms, round) = (&request.terms, request.round);
        if round >= terms.rounds() {
            return Err(another("round"));
        }
        if let Some(known) = self.runs.get(terms.run()) {
            if known.fingerprint != *terms.fingerprint() {
                return Err(another("plan"));
            }
            let (seen, reply) = &known.last;
            if round < *seen {
                let (asked, seen) = (round, *seen);
                return Err(Error::Federated(FederatedError::RoundBehind { asked, seen }));
            }
            if round == *seen {
                return Ok(Answer { state: None, reply: reply.to_vec() });
            }
        }
        let training = |error: E| FederatedError::Training { source: error.into() };
        let trained = train(&request).map_err(training)?;
        let reply = reply(&request, &trained)?;
        let answered = self.runs.get(terms.run()).map_or(0, |known| known.answered) + 1;
        let fingerprint = *terms.fingerprint();
        let participation =
            Participation { fingerprint, last: (round, ByteBuf::from(reply.clone())), answered };
        let mut after = self.clone();
        after.runs.insert(terms.run().clone(), participation);
        let state = sealed(MAGIC, VERSION, "client's state", &after)?;
        *self = after;
        Ok(Answer { state: Some(state), reply })
    }

    /// How many rounds of a run have been answered.
    pub fn answered(&self, run: &RunId) -> u64 {
        self.runs.get(run).map_or(0, |known| known.answered)
    }
}

/// The update, encoded.
fn reply(request: &Request, trained: &[f32]) -> Result<Vec<u8>> {
    let Request { terms, round, weights } = request;
    let (found, expected) = (trained.len(), weights.len());
    if found != expected {
        return Err(Error::Federated(FederatedError::WrongLength { found, expected }));
    }
    let update: Vec<f32> = trained.iter().zip(weights).map(|(new, old)| new - old).collect();
    if !update.iter().all(|number| number.is_finite()) {
        return Err(Error::Federated(FederatedError::NotFinite));
    }
    let mut own = ChaCha20Rng::try_from_rng(&mut SysRng)
        .map_err(|error| Error::RandomnessUnavailable { reason: error.to_string() })?;
    let seed = terms.seed_of(*round);
    let update = terms.encoding().encode(&update, terms.manifest(), seed, &mut own);
    let (run, fingerprint) = (terms.run().clone(), *terms.fingerprint());
    Reply { run, round: *round, fingerprint, update }.to_bytes()
}

fn another(of: &'static str) -> Error {
    Error::Federated(FederatedError::OfAnother { what: "request", of })
}
