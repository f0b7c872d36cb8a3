//! What a fine-tuning is asked for.

use anyhow::{Result, ensure};
use burn_dp::privacy::{ClippingNorm, Delta, Epsilon, ExpectedBatchSize, SamplingRate, Steps};

use super::texts::Texts;
use crate::models::gpt2::Gpt2;

/// The settings of a fine-tuning.
#[derive(Clone, Debug)]
pub struct FineTuning {
    /// What is trained.
    pub trained: Trained,
    /// The guarantee; training without one is for comparison.
    pub privacy: Option<Privacy>,
    /// Expected number of records in a logical batch.
    pub batch: ExpectedBatchSize,
    /// Logical steps.
    pub steps: Steps,
    /// Records in memory at a time: changes memory and speed, but not the result.
    pub physical: usize,
    /// Learning rate of AdamW.
    pub learning_rate: f64,
    /// Weight decay of AdamW.
    pub weight_decay: f32,
    /// Makes the run repeatable. Its noise is then known to whoever knows the seed: not for private data.
    pub seed: Option<u64>,
}

/// What a fine-tuning guarantees.
#[derive(Clone, Copy, Debug)]
pub struct Privacy {
    /// The epsilon that the run may cost.
    pub epsilon: Epsilon,
    /// The delta that goes with it.
    pub delta: Delta,
    /// The L2 norm to which each record's gradient is clipped.
    pub clipping_norm: ClippingNorm,
}

/// What is trained. The output layer is the word table, so there is no head to train by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trained {
    /// Everything, the word table included.
    Full,
    /// Every bias and shift (DP-BiTFiT: Bu et al. 2022, arXiv 2210.00036). The word table is frozen.
    BitFit,
    /// Low-rank adapters on the dense maps of every block (Hu et al. 2021, arXiv 2106.09685). All else is frozen.
    Lora {
        /// Rank of an adapter.
        rank: usize,
        /// Scales the adapters: their product is multiplied by `alpha / rank`.
        alpha: f64,
    },
}

impl FineTuning {
    /// The rate with which each record enters a batch.
    ///
    /// # Errors
    /// When a setting makes no sense for `texts`, or `model` cannot read them.
    pub(super) fn check(&self, model: &Gpt2, texts: &Texts) -> Result<SamplingRate> {
        let records = texts.len();
        ensure!(records > 0, "there is no text to train on");
        ensure!(self.steps.value() > 0, "0 steps train nothing: give at least 1");
        ensure!(self.physical > 0, "0 records in memory at a time: give at least 1");
        let batch = self.batch.value();
        ensure!(
            batch <= records as f64,
            "a batch of {batch} is more than the {records} texts: give at most their number"
        );
        ensure!(
            self.learning_rate > 0.0 && self.learning_rate.is_finite(),
            "the learning rate is {}: give a number above 0",
            self.learning_rate,
        );
        ensure!(
            self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
            "the weight decay is {}: give 0 or a number above it",
            self.weight_decay,
        );
        check_readable(model, texts)?;
        Ok(SamplingRate::new(batch / records as f64)?)
    }
}

/// # Errors
/// When a text is longer than the model reads, or has a token that it does not know.
fn check_readable(model: &Gpt2, texts: &Texts) -> Result<()> {
    let (positions, vocabulary) = (model.positions(), model.vocabulary());
    ensure!(
        texts.longest() <= positions,
        "a text has {} tokens to read, but the model reads {positions}: cut texts to fewer tokens",
        texts.longest(),
    );
    let known = |id: &i32| usize::try_from(*id).is_ok_and(|id| id < vocabulary);
    ensure!(
        texts.records().flatten().all(known),
        "a text has a token that is not among the {vocabulary} of the model: use the model's own tokenizer"
    );
    Ok(())
}
