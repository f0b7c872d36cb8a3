//! The record of what was released so far.

use serde::{Deserialize, Serialize};

use super::accountant::Accountant;
use super::adjacency::Adjacency;
use super::event::DpEvent;
use super::rdp::RdpAccountant;
use super::types::{Delta, Epsilon, Steps};
use crate::error::{Error, Result};

/// The serialised form that this version writes and reads.
const VERSION: u32 = 1;

/// An append-only record of releases, compressed by run length.
///
/// It keeps events, not their cost: any accountant can price it afterwards, and saving and loading
/// it loses nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Ledger {
    /// Neighbouring entries differ, and no count is 0.
    entries: Vec<(DpEvent, u64)>,
    total: u64,
}

impl Ledger {
    /// An empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `count` runs of `event`.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] where the total number of runs would exceed a `u64`; the record is
    /// unchanged then.
    pub fn record(&mut self, event: DpEvent, count: u64) -> Result<()> {
        let total = self.total.checked_add(count).ok_or_else(|| {
            Error::setting("count", count, "small enough for all counts to add up within a u64")
        })?;
        if count == 0 {
            return Ok(());
        }
        match self.entries.last_mut() {
            Some((last, so_far)) if *last == event => *so_far += count,
            _ => self.entries.push((event, count)),
        }
        self.total = total;
        Ok(())
    }

    /// What was recorded, oldest first, with how often in a row.
    pub fn entries(&self) -> &[(DpEvent, u64)] {
        &self.entries
    }

    /// How many events were recorded: the number of logical steps where each records one.
    pub const fn steps(&self) -> Steps {
        Steps::from_count(self.total)
    }

    /// Composes everything recorded onto `accountant`.
    ///
    /// # Errors
    /// As [`Accountant::compose`]; the accountant is unchanged then.
    pub fn compose_onto(&self, accountant: &mut impl Accountant) -> Result<()> {
        let each = |(event, count): &(DpEvent, u64)| event.clone().repeated(*count);
        accountant.compose(&DpEvent::Composed(self.entries.iter().map(each).collect()), 1)
    }

    /// The ε spent so far, by the Rényi accountant.
    ///
    /// # Errors
    /// [`Error::UnsupportedEvent`] where the record has an event that it has no bound for.
    pub fn epsilon(&self, delta: Delta, adjacency: Adjacency) -> Result<Epsilon> {
        let mut accountant = RdpAccountant::new(adjacency);
        self.compose_onto(&mut accountant)?;
        Ok(accountant.epsilon(delta))
    }
}

/// What is written: versioned, and checked when read.
#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    entries: Vec<(DpEvent, u64)>,
}

impl From<Ledger> for Stored {
    fn from(ledger: Ledger) -> Self {
        Self { version: VERSION, entries: ledger.entries }
    }
}

impl TryFrom<Stored> for Ledger {
    type Error = Error;

    fn try_from(stored: Stored) -> Result<Self> {
        if stored.version != VERSION {
            return Err(Error::setting(
                "ledger version",
                stored.version,
                "1, the version that this release reads",
            ));
        }
        let mut ledger = Self::new();
        for (event, count) in stored.entries {
            ledger.record(event, count)?;
        }
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::{NoiseMultiplier, SamplingRate};

    fn step(noise_multiplier: f64) -> DpEvent {
        DpEvent::poisson_sampled_gaussian(
            SamplingRate::new(0.01).unwrap(),
            NoiseMultiplier::new(noise_multiplier).unwrap(),
        )
    }

    #[test]
    fn equal_neighbours_share_an_entry() {
        let mut ledger = Ledger::new();
        for _ in 0..3 {
            ledger.record(step(1.0), 2).unwrap();
        }
        ledger.record(step(2.0), 0).unwrap();
        ledger.record(step(2.0), 1).unwrap();
        ledger.record(step(1.0), 1).unwrap();
        assert_eq!(ledger.entries(), [(step(1.0), 6), (step(2.0), 1), (step(1.0), 1)]);
        assert_eq!(ledger.steps().value(), 8);
    }

    #[test]
    fn saving_and_loading_keeps_epsilon() {
        let mut ledger = Ledger::new();
        ledger.record(step(1.0), 1000).unwrap();
        ledger.record(step(0.8), 10).unwrap();
        let delta = Delta::new(1e-5).unwrap();
        let spent = ledger.epsilon(delta, Adjacency::AddRemove).unwrap();

        let bytes = rmp_serde::to_vec(&ledger).unwrap();
        let loaded: Ledger = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(loaded, ledger);
        assert_eq!(loaded.epsilon(delta, Adjacency::AddRemove).unwrap(), spent);

        let json = serde_json::to_string(&ledger).unwrap();
        assert_eq!(serde_json::from_str::<Ledger>(&json).unwrap(), ledger);
        let newer = json.replace("\"version\":1", "\"version\":2");
        assert!(serde_json::from_str::<Ledger>(&newer).is_err());
    }

    #[test]
    fn overflow_is_an_error_and_changes_nothing() {
        let mut ledger = Ledger::new();
        ledger.record(step(1.0), u64::MAX).unwrap();
        let before = ledger.clone();
        assert!(ledger.record(step(1.0), 1).is_err());
        assert_eq!(ledger, before);
    }
}
