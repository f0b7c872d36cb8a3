//! The record of what was released so far.

use serde::{Deserialize, Serialize};

use super::accountant::Accountant;
use super::adjacency::Adjacency;
use super::event::DpEvent;
use super::privacy_accountant::PrivacyAccountant;
use super::quantities::{Delta, Epsilon, Steps};
use crate::error::{Error, Result};

/// The version of the serialized form that this release writes and reads.
const VERSION: u32 = 1;

/// An append-only record of releases, compressed by run length.
///
/// It keeps events, not their cost: any accountant can price it afterward, and saving and loading
/// it loses nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Ledger {
    /// Adjacent entries differ, and no count is 0.
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
    /// [`Error::Setting`] where the total number of runs would exceed a `u64`; the record is
    /// unchanged then.
    pub fn record(&mut self, event: DpEvent, count: u64) -> Result<()> {
        let total = self.total_with(count)?;
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

    /// Appends everything in `other`, such as another run on the same data.
    ///
    /// What they cost together does not depend on the order, or on whether the runs took turns. As within
    /// one run, the parameters of each must have been fixed in advance: for a second run whose noise
    /// depends on the first one's results, use a [`RenyiFilter`](super::RenyiFilter).
    ///
    /// # Errors
    /// [`Error::Setting`] where the total number of runs would exceed a `u64`; the record is
    /// unchanged then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.total_with(other.total)?;
        for (event, count) in &other.entries {
            self.record(event.clone(), *count)?;
        }
        Ok(())
    }

    /// What was recorded, oldest first, each event with the number of times in a row.
    pub fn entries(&self) -> &[(DpEvent, u64)] {
        &self.entries
    }

    /// How many events were recorded. If each logical step records one event, this is the number of steps.
    pub const fn steps(&self) -> Steps {
        Steps::from_count(self.total)
    }

    fn total_with(&self, count: u64) -> Result<u64> {
        self.total.checked_add(count).ok_or_else(|| {
            Error::setting("count", count, "small enough for all counts to add up within a u64")
        })
    }

    /// Composes everything recorded onto `accountant`.
    ///
    /// # Errors
    /// As [`Accountant::compose`]; the accountant is unchanged then.
    pub fn compose_onto(&self, accountant: &mut impl Accountant) -> Result<()> {
        accountant.compose(&self.event(), 1)
    }

    /// Everything recorded, as one event.
    pub fn event(&self) -> DpEvent {
        let each = |(event, count): &(DpEvent, u64)| event.clone().repeated(*count);
        match &self.entries[..] {
            [only] => each(only),
            entries => DpEvent::Composed(entries.iter().map(each).collect()),
        }
    }

    /// The ε spent so far, by the best proven bound.
    ///
    /// # Errors
    /// [`Error::UnsupportedEvent`] where no accountant has a bound for everything in the record.
    pub fn epsilon(&self, delta: Delta, adjacency: Adjacency) -> Result<Epsilon> {
        let mut accountant = PrivacyAccountant::new(adjacency);
        self.compose_onto(&mut accountant)?;
        Ok(accountant.epsilon(delta))
    }
}

/// What is written. It has a version, and is checked when it is read.
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
    use crate::{NoiseMultiplier, SamplingRate};

    fn step(noise_multiplier: f64) -> DpEvent {
        DpEvent::poisson_sampled_gaussian(
            SamplingRate::new(0.01).unwrap(),
            NoiseMultiplier::new(noise_multiplier).unwrap(),
        )
    }

    #[test]
    fn equal_neighbors_share_an_entry() {
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

    fn ledger(entries: &[(f64, u64)]) -> Ledger {
        let mut ledger = Ledger::new();
        for &(noise_multiplier, count) in entries {
            ledger.record(step(noise_multiplier), count).unwrap();
        }
        ledger
    }

    fn merged(first: &Ledger, second: &Ledger) -> Ledger {
        let mut all = first.clone();
        all.merge(second).unwrap();
        all
    }

    #[test]
    fn merging_appends_and_joins_at_the_seam() {
        let all = merged(&ledger(&[(1.0, 2), (2.0, 3)]), &ledger(&[(2.0, 4), (1.0, 1)]));
        assert_eq!(all, ledger(&[(1.0, 2), (2.0, 7), (1.0, 1)]));
        assert_eq!(all.steps().value(), 10);
        assert_eq!(merged(&all, &Ledger::new()), all);
        assert_eq!(merged(&Ledger::new(), &all), all);
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Ledger>(&json).unwrap(), all);
    }

    #[test]
    fn merging_is_associative_and_its_order_costs_nothing() {
        let runs = [ledger(&[(1.0, 900), (0.8, 7)]), ledger(&[(0.8, 5)]), ledger(&[(3.0, 10_000)])];
        let [a, b, c] = &runs;
        assert_eq!(merged(&merged(a, b), c), merged(a, &merged(b, c)));
        let spent = |ledger: &Ledger| {
            ledger.epsilon(Delta::new(1e-5).unwrap(), Adjacency::AddRemove).unwrap().value()
        };
        let orders = [[a, b, c], [c, b, a], [b, c, a]];
        let costs = orders.map(|[x, y, z]| spent(&merged(&merged(x, y), z)).to_bits());
        assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
        assert!(spent(&merged(a, b)) > spent(a));
    }

    #[test]
    fn overflow_is_an_error_and_changes_nothing() {
        let mut full = ledger(&[(1.0, u64::MAX - 1)]);
        let before = full.clone();
        assert!(full.record(step(1.0), 2).is_err());
        assert_eq!(full, before);
        assert!(full.merge(&ledger(&[(1.0, 1), (2.0, 1)])).is_err(), "the second does not fit");
        assert_eq!(full, before);
    }
}
