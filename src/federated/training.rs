//! What a client is asked to train, and what it has trained.

use super::message::Request;
use crate::privacy::{Ledger, PrivacyPlan};

/// What a client is asked to train.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Training<'a> {
    /// What the server asks.
    pub request: &'a Request,
    /// Under record-level privacy: the plan of this round's training on the node's records, as its policy has granted it. Train with a
    /// [`DpOptimizer`](crate::DpOptimizer) under this plan, for as many steps as it has, and hand its ledger back
    /// ([`Trained::with_ledger`]). `None` where training is not private by itself.
    pub privacy: Option<&'a PrivacyPlan>,
}

/// What a client has trained.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    pub(super) numbers: Vec<f32>,
    pub(super) ledger: Option<Ledger>,
    pub(super) examples: Option<u64>,
}

impl Trained {
    /// New numbers in the place of the request's, in the manifest's order, flat: weights; or zeros and ones; or
    /// probabilities.
    pub fn new(numbers: Vec<f32>) -> Self {
        Self { numbers, ledger: None, examples: None }
    }

    /// What the training released about the node's records, as its optimizer says.
    #[must_use]
    pub fn with_ledger(mut self, ledger: Ledger) -> Self {
        self.ledger = Some(ledger);
        self
    }

    /// On how many examples, for a run whose clients count by them
    /// ([`Weighting::Capped`](super::Weighting::Capped)). It leaves the client only as a factor of its contribution. Under record-level
    /// privacy the policy's public number of records takes its place.
    #[must_use]
    pub fn of_examples(mut self, examples: u64) -> Self {
        self.examples = Some(examples);
        self
    }
}

impl From<Vec<f32>> for Trained {
    fn from(numbers: Vec<f32>) -> Self {
        Self::new(numbers)
    }
}
