//! What a plan does not allow.

/// What a plan does not allow.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// All planned steps have been taken.
    #[error(
        "all {steps} steps of the plan have been taken: a further step is not accounted for; make a \
         new plan with more steps before the run (one pass over a private loader is the whole run: there \
         are no epochs over it)"
    )]
    Exhausted {
        /// The plan's number of steps.
        steps: u64,
    },

    /// A plan begins from other releases than the run has made.
    #[error(
        "the plan begins from a ledger of {plan} releases, and this run's, of {run}, is another one: build it with \
         `.after(optimizer.ledger())`, so that its epsilon covers what was spent"
    )]
    OfAnotherLedger {
        /// The number of releases from which the plan begins.
        plan: u64,
        /// The number of releases that the run has made.
        run: u64,
    },

    /// The plan has no private selection, or the selection has already been made.
    #[error(
        "the plan pays for no private selection{reason}: set `selection` on its builder before the run, \
         or select by public data"
    )]
    SelectionNotPlanned {
        /// Why not, if the plan had one.
        reason: &'static str,
    },
}
