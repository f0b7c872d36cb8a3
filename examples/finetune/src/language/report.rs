//! What a fine-tuning has to say of itself.

use burn_dp::privacy::{Epsilon, Steps};

/// How a fine-tuning went. Training losses are not in it: they are exact, and so is what they tell of a record.
#[derive(Clone, Debug)]
pub struct Report {
    /// Logical steps taken.
    pub steps: Steps,
    /// Scalars that were trained.
    pub trained: usize,
    /// Scalars of the model, with what was attached to it.
    pub parameters: usize,
    /// What the steps cost by the ledger; none without privacy.
    pub epsilon: Option<Epsilon>,
    /// The guarantee in words.
    pub statement: String,
}
