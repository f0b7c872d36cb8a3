//! Choosing what a run trains.

use burn::module::Module;

use super::DpOptimizer;
use super::batch::{LogicalBatch, Sample, Ticket};
use crate::error::{Error, PlanError, Result, SelectionError};
use crate::noise::Noise;
use crate::per_example::Engine;
use crate::privacy::PrivateSelection;
use crate::selection::{Schedule, Scores, Selection, TopGradientNorm, TopSelection};

/// No step has this number, so a sample for the selection is never a sample for a step.
const SELECTION: u64 = u64::MAX;

impl<E> DpOptimizer<E> {
    /// Applies a selection to the model, from the next step on. Before the first step
    /// [`Selection::apply`] works as well. Later the run has to know: if the set of trained
    /// parameters changes without notice, that is a mistake.
    ///
    /// # Errors
    /// As [`Selection::apply`].
    pub fn select<M: Module>(&mut self, selection: &Selection, model: M) -> Result<M> {
        let model = selection.apply(model)?;
        self.progress.trained = None;
        Ok(model)
    }

    /// Applies the phase of `schedule` that the next step belongs to, if the model does not train
    /// it yet: when a phase begins, and after resuming. Call it before each step. Returns the
    /// selection if it applied one.
    ///
    /// # Errors
    /// As [`ParamSelector::select`](crate::selection::ParamSelector::select). Before the first step
    /// this is checked for every phase, so that a name that matches nothing does not end the run in
    /// its middle. [`SelectionError::CoversNothing`] where a phase trains nothing in one of the
    /// groups of per-group clipping.
    pub fn follow<M: Module>(
        &mut self,
        schedule: &Schedule,
        model: M,
    ) -> Result<(M, Option<Selection>)> {
        if self.progress.step == 0 {
            for phase in schedule.phases() {
                let selection = phase.select(&model)?;
                let (trained, frozen) =
                    (selection.paths().collect::<Vec<_>>(), selection.left_out());
                self.plan.clipping().groups_of(&trained, &frozen)?;
            }
        }
        let selection = schedule.at(self.steps_taken()).select(&model)?;
        if selection.was_applied() {
            return Ok((model, None));
        }
        let model = self.select(&selection, model)?;
        Ok((model, Some(selection)))
    }

    /// The Poisson sample of the plan's private selection: each of `population` records independently
    /// with the selection's own rate.
    ///
    /// # Errors
    /// [`PlanError::SelectionNotPlanned`].
    pub fn sample_for_selection(&self, population: usize) -> Result<Sample> {
        let planned = self.planned_selection()?;
        let sampler = planned.sampling().sampler(&self.seed, population)?;
        Ok(Sample::new(self.selection_ticket(), sampler.sample(SELECTION)))
    }

    /// Selects the parameters with the largest gradients on the private data, and records the
    /// release. The plan pays for this one noised release. `batch` is the sample that
    /// [`sample_for_selection`](Self::sample_for_selection) drew.
    ///
    /// # Errors
    /// [`PlanError::SelectionNotPlanned`] where the plan has no selection, or after the first step
    /// or another selection; [`SelectionError::CoversNothing`] where a clipping group names nothing
    /// in the model; the errors of the engine; and as `sample_for_selection`. Then nothing has
    /// changed.
    pub fn select_top<M, X, I>(
        &mut self,
        rule: &TopGradientNorm,
        model: &M,
        batch: LogicalBatch<I>,
    ) -> Result<TopSelection>
    where
        M: Module,
        E: Engine<M, X>,
        I: Iterator<Item = Result<X>>,
    {
        let planned = self.planned_selection()?;
        let batches = batch.redeem(self.selection_ticket())?;

        // A vector of norms for every record, clipped and summed.
        let mut scores = Scores::new(rule, model, planned.clipping_norm)?;
        // A group that covers no parameter would end the run at its first step, after the selection
        // is paid for.
        self.plan.clipping().check_names(&scores.paths())?;
        for batch in batches {
            scores.add(&self.engine.per_example(model, batch?)?)?;
        }

        // Noise, once, on the sum.
        let noise = Noise::Gaussian { multiplier: planned.noise_multiplier };
        let selection = scores.release(noise, &self.seed)?;

        // Account, before anything is released.
        let mut progress = self.progress.clone();
        progress.selected = true;
        progress.ledger = self.plan.events(progress.so_far())?;
        self.progress = progress;
        Ok(selection)
    }

    fn planned_selection(&self) -> Result<PrivateSelection> {
        let not = |reason| Error::Plan(PlanError::SelectionNotPlanned { reason });
        if self.progress.selected {
            return Err(not(" any more: it has been made"));
        }
        if self.progress.step > 0 {
            return Err(not(" any more: it comes before the first step"));
        }
        self.plan.selection().ok_or_else(|| not(""))
    }

    fn selection_ticket(&self) -> Ticket {
        Ticket { plan: self.plan.fingerprint(), step: SELECTION }
    }

    /// The paths that the step is about to train, if the last step trained the same.
    pub(super) fn check_trained(&self, now: Vec<String>) -> Result<Vec<String>> {
        match &self.progress.trained {
            Some(before) if *before != now => Err(Error::Selection(SelectionError::Changed {
                before: before.len(),
                now: now.len(),
            })),
            Some(_) | None => Ok(now),
        }
    }
}
