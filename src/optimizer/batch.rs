//! The batch of one logical step. It belongs to one step of one plan.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{BatchError, Error, Result};
use crate::sampling::Sampler;

/// The record indices of one step's Poisson sample, ascending. Which records take part is private.
pub struct Sample {
    ticket: Ticket,
    indices: Vec<usize>,
}

/// The examples of one logical step, as physical batches that are loaded one at a time.
///
/// [`Sample::batches`] (or a private data loader) makes it, so that a step can only be taken with
/// the records that were drawn for it.
pub struct LogicalBatch<I> {
    ticket: Ticket,
    batches: I,
}

/// Ties a sample to a step of a plan.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) plan: u64,
    pub(crate) step: u64,
}

/// Draws the samples of a range of steps of one run.
#[derive(Clone)]
pub(crate) struct Samples {
    sampler: Arc<Sampler>,
    plan: u64,
    steps: Range<u64>,
}

impl Samples {
    pub(super) fn new(sampler: Sampler, plan: u64, steps: Range<u64>) -> Self {
        Self { sampler: Arc::new(sampler), plan, steps }
    }

    /// The sample of step `number` of the range; `None` past its end.
    pub(crate) fn sample(&self, number: u64) -> Option<(Ticket, Vec<usize>)> {
        let step = self.steps.start.checked_add(number).filter(|step| *step < self.steps.end)?;
        Some((Ticket { plan: self.plan, step }, self.sampler.sample(step)))
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps.end.saturating_sub(self.steps.start)
    }

    /// The steps `start..end` of this range.
    pub(crate) fn slice(&self, start: u64, end: u64) -> Self {
        let at = |number: u64| self.steps.start.saturating_add(number).min(self.steps.end);
        Self { steps: at(start)..at(end), ..self.clone() }
    }

    /// Those of the run's steps `start..end` that are in this range.
    #[cfg(feature = "train")]
    pub(crate) fn between(&self, start: u64, end: u64) -> Self {
        let within = |step: u64| step.clamp(self.steps.start, self.steps.end);
        Self { steps: within(start)..within(end), ..self.clone() }
    }
}

impl Sample {
    pub(crate) fn new(ticket: Ticket, indices: Vec<usize>) -> Self {
        Self { ticket, indices }
    }

    /// The records' indices, ascending unless [sorted](Self::sorted_by_key) otherwise. There may be
    /// none.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }

    /// Puts the records in another order, so that a physical batch has similar records: for example
    /// texts of one length, with little padding. The step's sum is the same in any order (up to
    /// rounding).
    #[must_use]
    pub fn sorted_by_key<K: Ord>(mut self, key: impl FnMut(&usize) -> K) -> Self {
        self.indices.sort_by_cached_key(key);
        self
    }

    /// Splits the sample into physical batches of at most `physical` records and loads each when it
    /// is needed. `physical` changes memory use and speed, but not the result.
    ///
    /// # Errors
    /// When `physical` is 0.
    pub fn batches<X, F>(
        self,
        physical: usize,
        mut load: F,
    ) -> Result<LogicalBatch<impl Iterator<Item = Result<X>>>>
    where
        F: FnMut(&[usize]) -> X,
    {
        self.split(physical, move |indices| Ok(load(indices)))
    }

    /// [`batches`](Self::batches) with a closure that can fail. The step returns the first failure
    /// as [`BatchError::Loading`]. The step is then not taken, nothing is spent, and the same
    /// sample can be drawn again.
    ///
    /// # Errors
    /// When `physical` is 0.
    pub fn try_batches<X, E, F>(
        self,
        physical: usize,
        mut load: F,
    ) -> Result<LogicalBatch<impl Iterator<Item = Result<X>>>>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: FnMut(&[usize]) -> std::result::Result<X, E>,
    {
        self.split(physical, move |indices| load(indices).map_err(Error::loading))
    }

    fn split<X, F>(
        self,
        physical: usize,
        mut load: F,
    ) -> Result<LogicalBatch<impl Iterator<Item = Result<X>>>>
    where
        F: FnMut(&[usize]) -> Result<X>,
    {
        if physical == 0 {
            return Err(Error::setting("physical batch size", 0, "at least 1"));
        }
        let Self { ticket, indices } = self;
        let mut start = 0_usize;
        let batches = std::iter::from_fn(move || {
            let end = indices.len().min(start.saturating_add(physical));
            let chunk = indices.get(start..end).filter(|chunk| !chunk.is_empty())?;
            start = end;
            Some(load(chunk))
        });
        Ok(LogicalBatch::new(ticket, batches))
    }
}

impl<I> LogicalBatch<I> {
    pub(crate) fn new(ticket: Ticket, batches: I) -> Self {
        Self { ticket, batches }
    }

    /// The physical batches, if this is the batch of the step that `due` names.
    pub(super) fn redeem(self, due: Ticket) -> Result<I> {
        if self.ticket.plan != due.plan {
            return Err(Error::Batch(BatchError::OfAnotherPlan));
        }
        if self.ticket.step != due.step {
            return Err(Error::Batch(BatchError::OfAnotherStep {
                step: self.ticket.step,
                due: due.step,
            }));
        }
        Ok(self.batches)
    }
}
