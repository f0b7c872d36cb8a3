//! What is wrong with a loss.

/// What is wrong with a loss.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LossError {
    /// The loss of one example is not one number.
    #[error(
        "the loss of one example has shape {shape:?}, but must be one number: reduce it with \
         `mean()` or `sum()`"
    )]
    NotScalar {
        /// The shape for a batch of one.
        shape: Vec<usize>,
    },

    /// The loss depends on no trainable parameter.
    #[error("the loss depends on no trainable parameter: check what is frozen or detached")]
    WithoutParameters,

    /// The loss, or burn below it, panicked while a batch was computed.
    #[error(
        "the loss panicked on a batch ({reason}): run it on these records without privacy to see where; nothing was \
         spent"
    )]
    Panicked {
        /// The message of the panic.
        reason: String,
    },

    /// No record has a gradient: private training would follow the noise alone.
    #[error(
        "every example's gradient is {}, {}: training would follow the noise alone; a private step sees \
         batches of one, where a contrastive loss has nothing to compare and standardizing over the \
         batch leaves nothing; make the examples that belong together one record, and standardize by \
         constants or within a record",
        if *finite { "zero" } else { "zero, not finite or longer than 1.8e19" },
        if *batch_has_one {
            "though that of the batch as a whole is not"
        } else {
            "and that of the batch as a whole too (are the weights finite, and the examples not all \
             fitted already?)"
        }
    )]
    WithoutGradient {
        /// Whether all gradients are zero, rather than NaN or infinite.
        finite: bool,
        /// Whether the loss of the whole batch has a gradient.
        batch_has_one: bool,
    },

    /// The loss of a batch weights its records by something that depends on the whole batch.
    #[error(
        "the loss divides by something of the whole batch: in a batch of examples {} and {} they weigh \
         {:.4} and {:.4}, but private training sees batches of one, where such weights vanish (class \
         weights of CrossEntropyLoss, a mean over all unmasked positions, a root of a mean); put a \
         weight for each record into the batch and write `(losses * weights).mean()`, or take the \
         masked mean within each record",
        examples[0], examples[1], weights[0], weights[1]
    )]
    WeightedByBatch {
        /// Two examples of the batch.
        examples: [usize; 2],
        /// The weight of each one's gradient in the gradient of a batch of the two.
        weights: [f64; 2],
    },

    /// The loss of a batch does not consist of the losses of its records.
    #[error(
        "the loss mixes the examples of a batch: its gradient differs from every sum of those of batches \
         of one by {difference:.1e} (relative), and private training sees batches of one; make the \
         examples that are compared one record (an axis behind axis 0), replace statistics of the \
         batch by constants or by those of one record, and switch random operations off to compare"
    )]
    MixesExamples {
        /// The relative difference.
        difference: f64,
    },
}
