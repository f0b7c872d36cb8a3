//! Replies that come after their round.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::ids::ClientId;
use crate::error::{Error, Result};

/// Replies that come after their round's deadline join the round that is open then.
///
/// Rounds then end by their deadline alone: if one could end early because everybody has answered, a slow client would decide
/// in which round another's late reply counts. In one round a client contributes once, and in the whole run at most
/// `participations` times. So a client costs at most as many Gaussian releases, in whatever rounds they fall, and
/// sampling amplifies nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Late {
    /// How many rounds late a reply may be.
    pub rounds: u64,
    /// A contribution is multiplied by this for each round that it is late, before it is clipped; above 0 and at most 1.
    pub weight: f64,
    /// To how many rounds one client contributes in the whole run.
    pub participations: u64,
}

impl Late {
    pub(super) fn check(self) -> Result<()> {
        let Self { rounds, weight, participations } = self;
        if rounds == 0 {
            return Err(Error::setting("rounds that a reply may be late", rounds, "at least 1"));
        }
        if participations == 0 {
            return Err(Error::setting("participations", participations, "at least 1"));
        }
        match weight > 0.0 && weight <= 1.0 {
            true => Ok(()),
            false => Err(Error::setting("weight of late replies", weight, "above 0, at most 1")),
        }
    }

    /// The factor of a contribution that is so many rounds late.
    pub(in super::super) fn weight_of(self, age: u64) -> f64 {
        self.weight.powi(i32::try_from(age).unwrap_or(i32::MAX))
    }

    pub(super) fn in_words(self) -> String {
        format!(
            "Late: a reply may be {} rounds late; a client contributes to at most {} rounds, and sampling counts for \
             nothing.\n",
            self.rounds, self.participations
        )
    }
}

/// What a server remembers for late replies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in super::super) struct LateState {
    /// To how many rounds each client has contributed.
    contributed: BTreeMap<ClientId, u64>,
    /// Who was asked in a round and has not answered yet.
    owed: BTreeMap<u64, Vec<ClientId>>,
}

impl LateState {
    /// Whether a client was asked in `round` and its reply may still come.
    pub(in super::super) fn is_owed(&self, client: &ClientId, round: u64) -> bool {
        self.owed.get(&round).is_some_and(|clients| clients.contains(client))
    }

    /// Whether a client may contribute once more.
    pub(in super::super) fn may_contribute(&self, client: &ClientId, late: Late) -> bool {
        self.contributed.get(client).copied().unwrap_or(0) < late.participations
    }

    /// A client has contributed what it was asked for in `round`.
    pub(in super::super) fn contributed(&mut self, client: &ClientId, round: u64) {
        *self.contributed.entry(client.clone()).or_default() += 1;
        self.settled(client, round);
    }

    /// A reply to `round` has come, of whatever use it was.
    pub(in super::super) fn settled(&mut self, client: &ClientId, round: u64) {
        if let Some(clients) = self.owed.get_mut(&round) {
            clients.retain(|other| other != client);
        }
    }

    /// `round` is over; these have not answered.
    pub(in super::super) fn closed(&mut self, round: u64, silent: Vec<ClientId>, late: Late) {
        self.owed.insert(round, silent);
        self.owed.retain(|earlier, _| round - earlier.min(&round) < late.rounds);
    }

    /// Whether everybody in here is one of these, in order.
    pub(in super::super) fn knows_only(&self, population: &[ClientId]) -> bool {
        let owed = self.owed.values().flatten();
        self.contributed.keys().chain(owed).all(|client| population.binary_search(client).is_ok())
    }
}
