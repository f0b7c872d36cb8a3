//! A run under way.

use super::average::Average;
use super::state::State;
use super::stepper::Stepper;
use super::task::Task;

/// What changes with each step.
pub(super) struct Training<T: Task> {
    pub(super) model: T::Model,
    pub(super) stepper: Stepper<T>,
    pub(super) state: State,
    /// Of the last steps, once they have begun.
    pub(super) average: Option<Average<T::Model>>,
}

impl<T: Task> Training<T> {
    /// What the run has made so far: the mean of the last steps' weights, once they have begun.
    pub(super) fn result(&self) -> &T::Model {
        self.average.as_ref().map_or(&self.model, Average::model)
    }
}
