//! What an accountant has composed so far.

use super::composition::Composition;
use super::event::DpEvent;
use crate::error::Result;

/// The releases that an accountant has accepted, with exact counts.
///
/// The accountant only says which mechanisms it has a bound for, by the `check` that it passes in. An
/// event with any other mechanism in it is refused as a whole.
#[derive(Debug, Clone)]
pub(super) struct Composed {
    /// The accountant's name, for errors.
    accountant: &'static str,
    total: Composition,
}

impl Composed {
    /// Nothing yet.
    pub(super) fn new(accountant: &'static str) -> Self {
        Self { accountant, total: Composition::default() }
    }

    /// Everything accepted so far.
    pub(super) const fn total(&self) -> &Composition {
        &self.total
    }

    /// Whether `event` would be accepted.
    ///
    /// # Errors
    /// As [`compose`](Self::compose), except that no count is added up.
    pub(super) fn supports(
        &self,
        event: &DpEvent,
        check: impl FnOnce(&Composition) -> Result<()>,
    ) -> Result<()> {
        self.accepted(event, 1, check).map(|_| ())
    }

    /// Adds `count` runs of `event`, and returns what was added.
    ///
    /// # Errors
    /// What `check` says; and [`Error::Setting`](crate::Error::Setting) where a count exceeds a `u64`.
    /// Nothing has been added then.
    pub(super) fn compose(
        &mut self,
        event: &DpEvent,
        count: u64,
        check: impl FnOnce(&Composition) -> Result<()>,
    ) -> Result<Composition> {
        let added = self.accepted(event, count, check)?;
        self.total = self.total.plus(&added)?;
        Ok(added)
    }

    fn accepted(
        &self,
        event: &DpEvent,
        count: u64,
        check: impl FnOnce(&Composition) -> Result<()>,
    ) -> Result<Composition> {
        let composition = Composition::of(event, count, self.accountant)?;
        check(&composition)?;
        Ok(composition)
    }
}
