//! One selection after another.

use super::selector::ParamSelector;
use crate::privacy::Steps;

/// The rules of a run and the steps from which they apply: "the head for 100 steps, then
/// everything".
///
/// All phases are one run under one plan and in one ledger. [`DpOptimizer::follow`] changes phases.
/// Each phase has to train something, and under per-group clipping something in every group.
/// `follow` checks all of them before the first step.
///
/// [`DpOptimizer::follow`]: crate::DpOptimizer::follow
///
/// ```
/// use burn_dp::selection::{ParamSelector, Schedule};
/// let schedule = Schedule::new(ParamSelector::head()).then(100.into(), ParamSelector::all());
/// assert_eq!(schedule.at(99.into()).to_string(), "head");
/// assert_eq!(schedule.at(100.into()).to_string(), "all");
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    first: ParamSelector,
    /// Ascending by step.
    later: Vec<(Steps, ParamSelector)>,
}

impl Schedule {
    /// Starts with `first`.
    pub const fn new(first: ParamSelector) -> Self {
        Self { first, later: Vec::new() }
    }

    /// Applies `selector` once `after` steps have been taken.
    #[must_use]
    pub fn then(mut self, after: Steps, selector: ParamSelector) -> Self {
        let place = self.later.partition_point(|(start, _)| start.value() <= after.value());
        self.later.insert(place, (after, selector));
        self
    }

    /// The rule for the next step after `taken` steps.
    pub fn at(&self, taken: Steps) -> &ParamSelector {
        let begun = |(start, _): &&(Steps, ParamSelector)| start.value() <= taken.value();
        self.later.iter().take_while(begun).last().map_or(&self.first, |(_, selector)| selector)
    }

    /// The rules of all phases.
    pub(crate) fn phases(&self) -> impl Iterator<Item = &ParamSelector> {
        let later = self.later.iter().map(|(_, selector)| selector);
        [&self.first].into_iter().chain(later)
    }
}
