//! The trait of everything that can bound what events cost.

use super::adjacency::Adjacency;
use super::event::DpEvent;
use super::quantities::{Delta, Epsilon};
use crate::error::Result;

/// Bounds the privacy loss of the composition of events.
///
/// The answer depends only on how often each event was composed. It does not depend on the order of the
/// events, or on whether n runs came in one call or in n calls.
pub trait Accountant {
    /// The accountant's name, for a privacy statement.
    fn name(&self) -> &'static str;

    /// Whether [`epsilon`](Self::epsilon) and [`delta`](Self::delta) are proven upper bounds; an
    /// approximation says `false` and must not be reported as a guarantee.
    fn is_upper_bound(&self) -> bool;

    /// The neighboring relation that the answers are about.
    fn adjacency(&self) -> Adjacency;

    /// Whether this accountant can account for `event`.
    ///
    /// # Errors
    /// The error that [`compose`](Self::compose) would return. It says which event has no bound.
    fn supports(&self, event: &DpEvent) -> Result<()>;

    /// Adds `count` runs of `event`, each with fresh randomness.
    ///
    /// # Errors
    /// [`Error::UnsupportedEvent`](crate::Error::UnsupportedEvent) for an event that the
    /// accountant has no bound for, and
    /// [`Error::Setting`](crate::Error::Setting) where a count exceeds a
    /// `u64`. In that case nothing has been added, not even a part of a composed event.
    fn compose(&mut self, event: &DpEvent, count: u64) -> Result<()>;

    /// An ε for which everything composed so far is (ε, δ)-differentially private; +∞ if none is
    /// known.
    fn epsilon(&self, delta: Delta) -> Epsilon;

    /// A δ, from 0 to 1, for which everything composed so far is (ε, δ)-differentially private; 1
    /// if none is known.
    fn delta(&self, epsilon: Epsilon) -> f64;
}
