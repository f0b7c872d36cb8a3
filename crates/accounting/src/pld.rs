//! The accountant of privacy-loss distributions: numerically tight, with a bracket around the truth.

mod estimate;
mod gaussian;
mod grid;
mod mechanism;
mod numeric;
mod pair;
mod part;
mod profile;
mod pure;
mod question;
mod witness;

use self::mechanism::{Dominated, NAME, dominating_pairs, is_attained};
use self::part::Part;
use self::question::Question;
use super::accountant::Accountant;
use super::adjacency::Adjacency;
use super::composed::Composed;
use super::event::DpEvent;
use super::quantities::{Delta, Epsilon, GroupSize};
use crate::error::Result;

/// Accounts with privacy-loss distributions (Koskela, Jälkö & Honkela 2020, arXiv 1906.03049; Doroshenko
/// et al. 2022, arXiv 2207.04380): the distribution of log(P/Q) for a dominating pair of each mechanism,
/// on a grid, composed by Fourier transform.
///
/// - The grid gives an upper bound (connect the dots). It is chosen for each question so that ε is off by
///   at most about 1e-4/λ, where λ is the slope of log δ: usually in the fifth digit. Both directions are
///   computed, and the worse one counts.
/// - [`epsilon_bracket`](Self::epsilon_bracket) adds a lower bound, from a coarser observation of the
///   same pair.
/// - Rounding is bounded and added. Losses are tilted first, so that rounding is relative to δ: counts up
///   to 1e7 and δ down to 1e-300 are fine. Losses far above ε are left off the grid, because each takes the
///   sum above ε whatever its size. From about 1e6 steps on, the grid is coarser than it should be, so that
///   an answer takes at most some hundred milliseconds. From 1e8 steps on, the Rényi accountant may be
///   better.
/// - A single run is exact, without a grid.
///
/// Composition assumes parameters that were fixed in advance, whatever the outputs.
#[derive(Debug, Clone)]
pub struct PldAccountant {
    adjacency: Adjacency,
    group: GroupSize,
    composed: Composed,
}

impl PldAccountant {
    /// An accountant with nothing composed.
    pub fn new(adjacency: Adjacency) -> Self {
        Self::for_groups(adjacency, GroupSize::ONE)
    }

    /// An accountant for data sets that differ in `group` records at once, such as all records of one
    /// person.
    ///
    /// It is tight where [`user_level`](super::user_level) is not. Under replace-one, only mechanisms
    /// without sampling are supported for groups of more than one.
    pub fn for_groups(adjacency: Adjacency, group: GroupSize) -> Self {
        Self { adjacency, group, composed: Composed::new(NAME) }
    }

    /// The number of records in which neighboring data sets differ.
    pub const fn group(&self) -> GroupSize {
        self.group
    }

    /// The number of distinct mechanisms composed so far. Time and memory are proportional to it.
    pub(super) fn distinct(&self) -> usize {
        self.composed.total().iter().count()
    }

    /// A lower and an upper bound on the smallest ε at `delta`.
    ///
    /// The upper one is [`epsilon`](Accountant::epsilon), this accountant's bound. Another accountant's may
    /// be smaller; [`PrivacyAccountant::bound`](super::PrivacyAccountant::bound) gives the smallest. The
    /// lower one is a proof that neighboring data sets exist for which no smaller ε holds. It is 0 where no
    /// proof is known: for fixed-size and truncated batches, selections, and amplified pure releases.
    pub fn epsilon_bracket(&self, delta: Delta) -> (Epsilon, Epsilon) {
        let Some(parts) = self.parts() else { return (Epsilon::INFINITY, Epsilon::INFINITY) };
        if parts.is_empty() {
            return (Epsilon::answer(0.0), Epsilon::answer(0.0));
        }
        let mut question = Question::new(&parts);
        let upper = question.epsilon(delta.value());
        let mut mechanisms = self.composed.total().iter();
        let attained = mechanisms.all(|(each, _)| is_attained(each, self.adjacency, self.group));
        let lower = if attained && upper.is_finite() {
            // Pairs are rounded to the upper side.
            (question.lower_epsilon(delta.value(), upper) * (1.0 - 1e-13)).min(upper)
        } else {
            0.0
        };
        (Epsilon::answer(lower), Epsilon::answer(upper))
    }

    /// The pairs and counts; `None` where there is no privacy at all.
    fn parts(&self) -> Option<Vec<Part>> {
        match dominating_pairs(self.composed.total(), self.adjacency, self.group) {
            Ok(Dominated::By(pairs)) => Some(pairs.into_iter().map(Part::new).collect()),
            // `compose` has accepted everything that is here.
            Ok(Dominated::ByNothing) | Err(_) => None,
        }
    }
}

impl Accountant for PldAccountant {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_upper_bound(&self) -> bool {
        true
    }

    fn adjacency(&self) -> Adjacency {
        self.adjacency
    }

    fn supports(&self, event: &DpEvent) -> Result<()> {
        let Self { adjacency, group, ref composed } = *self;
        composed.supports(event, |added| dominating_pairs(added, adjacency, group).map(|_| ()))
    }

    fn compose(&mut self, event: &DpEvent, count: u64) -> Result<()> {
        let Self { adjacency, group, ref mut composed } = *self;
        let check = |added: &_| dominating_pairs(added, adjacency, group).map(|_| ());
        composed.compose(event, count, check).map(|_| ())
    }

    fn epsilon(&self, delta: Delta) -> Epsilon {
        let Some(parts) = self.parts() else { return Epsilon::INFINITY };
        if parts.is_empty() {
            return Epsilon::answer(0.0);
        }
        Epsilon::answer(Question::new(&parts).epsilon(delta.value()))
    }

    fn delta(&self, epsilon: Epsilon) -> f64 {
        let Some(parts) = self.parts() else { return 1.0 };
        if parts.is_empty() {
            return 0.0;
        }
        Question::new(&parts).delta(epsilon.value())
    }
}
