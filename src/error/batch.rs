//! What is wrong with a batch.

/// What is wrong with a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The batch holds no tensor, or a tensor without an axis for the examples.
    #[error(
        "a batch needs at least one tensor, each with the examples on axis 0; shapes: {shapes}"
    )]
    WithoutExamples {
        /// The shapes of the batch's tensors.
        shapes: String,
    },

    /// The tensors of a batch have different lengths.
    #[error("the tensors of a batch have different numbers of examples on axis 0: {lengths:?}")]
    LengthsDiffer {
        /// The length of axis 0 of every tensor.
        lengths: Vec<usize>,
    },

    /// Examples of different shapes cannot form one batch.
    #[error(
        "examples of different shapes cannot form one batch ({first} and {other}): pad them to one \
         shape, or put examples of one shape into a physical batch"
    )]
    ExampleShapesDiffer {
        /// Shapes of the first.
        first: String,
        /// Shapes of the one that differs.
        other: String,
    },

    /// Batches that hold different things cannot form one batch.
    #[error(
        "batches that differ beside their tensors cannot form one batch: {difference}; join batches whose \
         options, lists, variants and key fields are equal"
    )]
    StructuresDiffer {
        /// Where they differ, and how.
        difference: String,
    },

    /// A batch does not report what it holds besides tensors.
    #[error(
        "these batches cannot be joined, because `{type_name}` implements `Batch` by hand and does not tell \
         what it holds beside tensors: implement it with `impl_batch!`, which lists every field"
    )]
    StructureUnknown {
        /// The type.
        type_name: String,
    },

    /// A record holds an index that is out of range.
    #[error(
        "example {example} of the batch has the index {index} in `{operation}`, which must be at least 0 and below \
         {bound}: correct the record (a label of a class that does not exist, a token id that is not in the table); \
         mark positions to leave out with `loss::IGNORED` and use `loss::cross_entropy`; or let such records count as \
         zero (`with_bad_records(BadRecords::Exclude)`)"
    )]
    IndexOutOfRange {
        /// The operation that reads the index.
        operation: &'static str,
        /// The index.
        index: i64,
        /// The number of valid indices.
        bound: usize,
        /// Which example of the physical batch holds it.
        example: usize,
    },

    /// A batch was sampled under another plan.
    #[error(
        "the batch was sampled under another plan: call `sample` on this optimizer, or make a new \
         `PoissonDataLoader` from it"
    )]
    OfAnotherPlan,

    /// A batch was sampled for another step.
    #[error(
        "the batch was sampled for step {step}, but step {due} is due: sample once a step; a \
         `PoissonDataLoader` yields each step that was left when it was made, once: after a step that \
         failed, or for a second pass, make a new one from the optimizer, which begins at the step that \
         is due"
    )]
    OfAnotherStep {
        /// The step it was sampled for.
        step: u64,
        /// The step that is due.
        due: u64,
    },

    /// A data set could not give a record.
    #[error(
        "the data set could not give a record: {reason}; the step was not taken and nothing is spent: when \
         the cause is gone, make a new `PoissonDataLoader` from the optimizer"
    )]
    Dataset {
        /// What the data set said.
        reason: String,
    },

    /// A closure that loads a physical batch failed.
    #[error(
        "a physical batch could not be loaded ({source}): the step was not taken and nothing is spent; \
         when the cause is gone, `sample` again or make a new `PoissonDataLoader`"
    )]
    Loading {
        /// The closure's own error.
        source: Box<dyn core::error::Error + Send + Sync>,
    },
}
