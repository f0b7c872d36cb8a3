//! A run under way.

use super::state::State;
use super::stepper::Stepper;
use super::task::Task;

/// What changes with each step.
pub(super) struct Training<T: Task> {
    pub(super) model: T::Model,
    pub(super) stepper: Stepper<T>,
    pub(super) state: State,
}
