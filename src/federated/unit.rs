//! Whom a run protects, and who does it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, SettingError};
use crate::privacy::{Adjacency, ClippingNorm, PrivacyPlan, SamplingRate};

/// Whom a run protects, from whom, and under which plan.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Unit {
    /// A client, with everything that it holds, from all who see what is released. The **server is trusted**: it clips, sums and adds
    /// noise. The plan's sampling rate is the probability with which a client is asked in a round, its expected batch size the
    /// expected cohort, its steps the rounds, its clipping norm bounds one client's contribution.
    Client(PrivacyPlan),
    /// A record of a client, from everybody outside of that client, the server included. Each client trains with
    /// [`DpOptimizer`](crate::DpOptimizer) on its own records, and its [`NodePolicy`](super::NodePolicy) decides what it grants.
    Record(Proposal),
    /// A client, with everything that it holds, from everybody outside of it: it adds the noise itself. There is nothing to hide
    /// among, so this needs very many clients.
    Local(Proposal),
}

impl From<PrivacyPlan> for Unit {
    fn from(plan: PrivacyPlan) -> Self {
        Self::Client(plan)
    }
}

/// What a server proposes to clients that protect themselves. Each takes the stricter of this and its own policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredProposal")]
pub struct Proposal {
    plan: PrivacyPlan,
    rounds: u64,
    participation: SamplingRate,
    largest_update: ClippingNorm,
}

impl Proposal {
    /// Training under `plan` in so many rounds. The plan is that of one client over the whole run:
    ///
    /// - for [`Unit::Record`] its steps are those of all rounds together; the sampling rate, clipping and noise are those of
    ///   a client's steps. Its expected batch size is replaced by the client's own.
    /// - for [`Unit::Local`] its steps are the rounds, its sampling rate is 1, and its adjacency is replace-one: the
    ///   client's data against any other data.
    ///
    /// # Errors
    /// [`Error::Setting`] where the steps cannot be divided among the rounds, and for a plan with a private selection or earlier
    /// releases, which clients keep themselves.
    pub fn new(plan: PrivacyPlan, rounds: u64) -> Result<Self> {
        let steps = plan.steps().value();
        if rounds == 0 || steps == 0 || !steps.is_multiple_of(rounds) {
            return Err(Error::setting("rounds", rounds, "at least 1, and a divisor of the steps"));
        }
        if plan.selection().is_some() || plan.earlier().steps().value() > 0 {
            let (first, second) = ("selection or earlier releases", "proposal to clients");
            return Err(SettingError::Conflicting { first, second }.into());
        }
        let (participation, largest_update) = (SamplingRate::new(1.0)?, ClippingNorm::new(1e6)?);
        Ok(Self { plan, rounds, participation, largest_update })
    }

    /// The probability with which a client is asked in a round; 1 unless set. It spares bandwidth; nothing is proven from it.
    ///
    /// # Errors
    /// [`Error::Setting`] outside of 0 to 1.
    pub fn participation(mut self, rate: f64) -> Result<Self> {
        self.participation = SamplingRate::new(rate)?;
        Ok(self)
    }

    /// The server scales longer updates down to this L2 norm; 10^6 unless set. It limits what one broken client can do to the
    /// model, and is no part of the guarantee.
    ///
    /// # Errors
    /// [`Error::Setting`] for a norm that is not positive and finite.
    pub fn largest_update(mut self, norm: f64) -> Result<Self> {
        self.largest_update = ClippingNorm::new(norm)?;
        Ok(self)
    }

    /// The plan of one client over the whole run.
    pub const fn plan(&self) -> &PrivacyPlan {
        &self.plan
    }

    /// How many rounds there are.
    pub const fn rounds(&self) -> u64 {
        self.rounds
    }

    /// Steps of one client in one round.
    pub const fn steps_of_a_round(&self) -> u64 {
        match self.plan.steps().value().checked_div(self.rounds) {
            Some(steps) => steps,
            None => 0,
        }
    }

    pub(super) const fn asked(&self) -> SamplingRate {
        self.participation
    }

    pub(super) const fn longest(&self) -> ClippingNorm {
        self.largest_update
    }

    /// # Errors
    /// [`Error::Setting`] for a plan that is not a local one.
    pub(super) fn check_local(&self) -> Result<()> {
        let plan = &self.plan;
        if plan.sampling_rate().value() != 1.0 {
            let requirement = "1: a client knows that it takes part";
            return Err(Error::setting("sampling_rate", plan.sampling_rate().value(), requirement));
        }
        if plan.adjacency() != Adjacency::ReplaceOne {
            let requirement = "replace-one: a client's data against any other";
            return Err(Error::setting("adjacency", plan.adjacency(), requirement));
        }
        if self.steps_of_a_round() != 1 {
            return Err(Error::setting("rounds", self.rounds, "the plan's steps"));
        }
        match plan.count_noise_std() {
            None => Ok(()),
            Some(_) => {
                let (first, second) = ("adaptive clipping", "local privacy");
                Err(SettingError::Conflicting { first, second }.into())
            }
        }
    }
}

/// A proposal as a server sends it: a client takes none that could not have been made.
#[derive(Deserialize)]
struct StoredProposal {
    plan: PrivacyPlan,
    rounds: u64,
    participation: SamplingRate,
    largest_update: ClippingNorm,
}

impl TryFrom<StoredProposal> for Proposal {
    type Error = Error;

    fn try_from(stored: StoredProposal) -> Result<Self> {
        let StoredProposal { plan, rounds, participation, largest_update } = stored;
        Ok(Self { participation, largest_update, ..Self::new(plan, rounds)? })
    }
}

/// What clients are told of the unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Protection {
    /// By the server, whom clients trust.
    Central,
    /// By each client, for each of its records.
    Record(Proposal),
    /// By each client, for everything that it holds.
    Local(Proposal),
}

impl Protection {
    /// # Errors
    /// As [`Proposal::check_local`].
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Central | Self::Record(_) => Ok(()),
            Self::Local(proposal) => proposal.check_local(),
        }
    }
}
