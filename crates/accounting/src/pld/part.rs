//! One mechanism of a composition, in the form in which questions about the composition need it.

use super::estimate::{Atoms, atoms};
use super::pair::LossPair;

/// A dominating pair, how often it is composed, and a rough form of it for estimates.
pub(super) struct Part {
    pub(super) pair: Box<dyn LossPair>,
    pub(super) count: u64,
    pub(super) forward: Atoms,
    pub(super) backward: Atoms,
}

impl Part {
    pub(super) fn new((pair, count): (Box<dyn LossPair>, u64)) -> Self {
        let (forward, backward) = atoms(pair.as_ref());
        Self { pair, count, forward, backward }
    }
}
