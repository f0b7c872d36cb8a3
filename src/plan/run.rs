//! What a run releases. This is the one place where sampling, noise and steps become events.

use burn_dp_accounting::{DpEvent, Ledger, Result, Steps};

use super::selection::PrivateSelection;
use crate::noise::Noise;
use crate::sampling::Sampling;

/// The progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Whether the plan's private selection has been made.
    pub selected: bool,
    /// Logical steps taken.
    pub steps: Steps,
}

/// The parts of a plan that decide what is released.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) earlier: Ledger,
    pub(super) selection: Option<PrivateSelection>,
    pub(super) sampling: Sampling,
    pub(super) noise: Noise,
    pub(super) steps: Steps,
}

impl Run {
    /// The progress of the whole planned run.
    pub(super) fn whole(&self) -> Progress {
        Progress { selected: self.selection.is_some(), steps: self.steps }
    }

    pub(super) fn step(&self) -> DpEvent {
        self.sampling.event(self.noise.event())
    }

    /// The releases of a run with this progress.
    pub(super) fn events(&self, progress: Progress) -> Result<Ledger> {
        let mut ledger = self.earlier.clone();
        if let Some(selection) = self.selection.filter(|_| progress.selected) {
            ledger.record(selection.event(), 1)?;
        }
        ledger.record(self.step(), progress.steps.value())?;
        Ok(ledger)
    }
}
