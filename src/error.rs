//! The crate's one error type.

pub use burn_dp_accounting::SettingError;

/// Everything that can go wrong, each with what to do about it.
///
/// A call that returns an error has changed nothing: not the model, the optimizer, nor the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot be used.
    #[error(transparent)]
    Setting(#[from] SettingError),

    /// An accountant has no bound, or no noise reaches a target.
    #[error(transparent)]
    Accounting(burn_dp_accounting::Error),

    /// The traced engine has no batching rule for an operation of the model.
    #[error(
        "the traced engine has no batching rule for `{operation}`: use the batch-of-one engine \
         (`Loop`) for this model, or express the operation with burn's tensor operations"
    )]
    UnsupportedOperation {
        /// The operation, as burn's intermediate representation names it.
        operation: String,
    },

    /// The traced graph reads a tensor that nothing in it computes.
    #[error(
        "the trace reads tensor {tensor}, which no traced operation computes: keep every tensor \
         that the loss uses inside the model or the batch"
    )]
    BrokenTrace {
        /// The tensor's number in the trace.
        tensor: u64,
    },

    /// The loss closure read a tensor's value while it was traced.
    #[error(
        "the loss reads a tensor's value while it is traced ({reason}): to log a loss, take it from \
         `PerExample::losses`, or compute it outside of the closure; instead of `if` on a value, use \
         `mask_where`; where a layer or loss of burn's reads values to check them (PoissonNllLoss, \
         `one_hot`, CTCLoss in builds with debug assertions), write its formula in tensor operations; \
         or use the batch-of-one engine (`Loop`), which takes all of these"
    )]
    ValueRead {
        /// What burn said.
        reason: String,
    },

    /// The loss closure uses a tensor that was made outside of it.
    #[error(
        "the loss uses a tensor from outside, which is on another device than the trace ({reason}): do \
         not capture a device, use `x.device()` of a tensor `x` of the batch; initialise a loss that \
         holds tensors (class weights) inside of the closure, on that device; put a second model (a \
         teacher) into the model as a frozen field, or its outputs into the batch; or use the \
         batch-of-one engine (`Loop`)"
    )]
    TensorFromOutside {
        /// What burn said.
        reason: String,
    },

    /// The loss closure differentiates, or leaves autodiff and comes back.
    #[error(
        "the loss calls `backward`, or `inner` and `autodiff`, on a traced tensor ({reason}): to stop a \
         gradient use `detach()`; gradients inside of a loss need the batch-of-one engine (`Loop`) and \
         formulas for them"
    )]
    AutodiffInLoss {
        /// What burn said.
        reason: String,
    },

    /// An operation of the loss does not fit a batch of one example.
    #[error(
        "an operation of the loss does not fit a batch of ONE example, which is what the closure gets, \
         so axis 0 has length 1 ({reason}): instead of `squeeze()`, which drops that axis too, use \
         `squeeze_dim` with the axis; write no batch size into `reshape`, but `x.dims()[0]` or -1; do \
         not take examples apart by `narrow`, `chunk` or an index"
    )]
    ShapeOfOneExample {
        /// What burn said.
        reason: String,
    },

    /// The loss closure failed while it was traced.
    #[error(
        "the loss could not be traced for a batch of one example ({reason}): make every tensor on the \
         device of the batch (`x.device()`), keep constants inside the model, or use the batch-of-one \
         engine (`Loop`)"
    )]
    TraceFailed {
        /// What burn said.
        reason: String,
    },

    /// A module computes statistics over the batch, which mixes examples.
    #[error(
        "`{module}` is a {kind} in training mode: it mixes the examples of a batch, so no \
         per-example gradient exists; freeze it (`freeze_group`), or use GroupNorm or LayerNorm"
    )]
    BatchStatistics {
        /// The module's path.
        module: String,
        /// The module's type.
        kind: String,
    },

    /// The loss of one example is not one number.
    #[error(
        "the loss of one example has shape {shape:?}, but must be one number: reduce it with \
         `mean()` or `sum()`"
    )]
    LossNotScalar {
        /// The shape for a batch of one.
        shape: Vec<usize>,
    },

    /// Nothing in the model is trainable.
    #[error(
        "no parameter of the model is trainable: put the model on an autodiff device (`model.train()` \
         after moving it to `device.autodiff()`) and leave some parameter unfrozen"
    )]
    NoTrainableParameter,

    /// The loss depends on no trainable parameter.
    #[error("the loss depends on no trainable parameter: check what is frozen or detached")]
    LossWithoutParameters,

    /// The batch holds no tensor, or a tensor without an axis for the examples.
    #[error(
        "a batch needs at least one tensor, each with the examples on axis 0; shapes: {shapes}"
    )]
    BatchWithoutExamples {
        /// The shapes of the batch's tensors.
        shapes: String,
    },

    /// The tensors of a batch have different lengths.
    #[error("the tensors of a batch have different numbers of examples on axis 0: {lengths:?}")]
    BatchLengthsDiffer {
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
    BatchStructuresDiffer {
        /// Where they differ, and how.
        difference: String,
    },

    /// A batch does not tell what it holds beside tensors.
    #[error(
        "these batches cannot be joined, because `{type_name}` implements `Batch` by hand and does not tell \
         what it holds beside tensors: implement it with `impl_batch!`, which lists every field"
    )]
    BatchStructureUnknown {
        /// The type.
        type_name: String,
    },

    /// The loss computes something else than when it was traced.
    #[error(
        "the loss no longer computes what was traced: {difference}. Something has changed that the engine \
         does not look at, such as a number that the closure captured: call `clear()` after each such change, \
         make it a `#[key]` field of the batch or a field of the model, or have every batch traced with \
         `with_retracing(Retracing::Always)`"
    )]
    TraceChanged {
        /// The first operation that differs, and how.
        difference: String,
    },

    /// No trainable parameter has the given id.
    #[error("no trainable parameter has the id {parameter}: ask for one that `parameters()` lists")]
    UnknownParameter {
        /// The id.
        parameter: String,
    },

    /// A gradient was asked for with a wrong rank.
    #[error("the per-example gradient of `{path}` has rank {expected}, not {given}")]
    WrongRank {
        /// The parameter's path.
        path: String,
        /// Its rank plus one.
        expected: usize,
        /// The rank asked for.
        given: usize,
    },

    /// The traced engine and the batch-of-one engine give different gradients.
    #[error(
        "the traced gradient of `{parameter}` differs from the batch-of-one gradient by {relative:e} \
         (relative): switch off random operations such as dropout to compare; if they are off, use \
         the batch-of-one engine (`Loop`) and report the model"
    )]
    EnginesDisagree {
        /// The parameter's path.
        parameter: String,
        /// The relative difference.
        relative: f64,
    },

    /// A record holds an index that points outside of what is indexed.
    #[error(
        "example {example} of the batch has the index {index} in `{operation}`, which must be at least 0 and below \
         {bound}: correct the record (a label of a class that does not exist, a token id that is not in the table); \
         mark positions to leave out with `loss::IGNORED` and use `loss::cross_entropy`; or let such records count as \
         zero (`with_bad_records(BadRecords::Exclude)`)"
    )]
    IndexOutOfRange {
        /// The operation that reads it.
        operation: &'static str,
        /// The index.
        index: i64,
        /// How many there are to point to.
        bound: usize,
        /// Which example of the physical batch holds it.
        example: usize,
    },

    /// The loss, or burn below it, panicked while a batch was computed.
    #[error(
        "the loss panicked on a batch ({reason}): run it on these records without privacy to see where; nothing was \
         spent"
    )]
    LossPanicked {
        /// The message of the panic.
        reason: String,
    },

    /// A clipped sum is longer than its examples can make it.
    #[error(
        "the clipped sum of group {group} has norm {norm}, but {examples} examples of at most {clipping_norm} each \
         cannot make it longer than {bound}: the engine or the device computed wrongly, so nothing was released or \
         spent; check the model with `verify`, and report it"
    )]
    SumBeyondBound {
        /// The clipping group.
        group: usize,
        /// The norm that was found.
        norm: f64,
        /// Examples in the sum.
        examples: usize,
        /// The group's clipping norm.
        clipping_norm: f64,
        /// The product, with what rounding may add.
        bound: f64,
    },

    /// A record's gradient is not finite, or its square is not, in both engines.
    #[error(
        "the gradient of example {example} is NaN, infinite or longer than 1.8e19 (whose square is beyond single \
         precision) at `{parameter}`, whatever computes it: in training such a record counts for nothing; look for \
         a mean over nothing (a record that is all padding), a logarithm or square root of zero, or values beyond \
         the type's range"
    )]
    GradientNotFinite {
        /// The example's index in the batch.
        example: usize,
        /// The first parameter where.
        parameter: String,
    },

    /// No record has a gradient: private training would follow the noise alone.
    #[error(
        "every example's gradient is {}, {}: training would follow the noise alone; a private step sees \
         batches of one, where a contrastive loss has nothing to compare and standardising over the \
         batch leaves nothing; make the examples that belong together one record, and standardise by \
         constants or within a record",
        if *finite { "zero" } else { "zero, not finite or longer than 1.8e19" },
        if *batch_has_one {
            "though that of the batch as a whole is not"
        } else {
            "and that of the batch as a whole too (are the weights finite, and the examples not all \
             fitted already?)"
        }
    )]
    LossWithoutGradient {
        /// Whether all are zero, rather than NaN or infinite.
        finite: bool,
        /// Whether the loss of the whole batch has a gradient.
        batch_has_one: bool,
    },

    /// The loss of a batch weights its records by something of the batch.
    #[error(
        "the loss divides by something of the whole batch: in a batch of examples {} and {} they weigh \
         {:.4} and {:.4}, but private training sees batches of one, where such weights vanish (class \
         weights of CrossEntropyLoss, a mean over all unmasked positions, a root of a mean); put a \
         weight for each record into the batch and write `(losses * weights).mean()`, or take the \
         masked mean within each record",
        examples[0], examples[1], weights[0], weights[1]
    )]
    LossWeightedByBatch {
        /// Two examples of the batch.
        examples: [usize; 2],
        /// What each one's gradient counts in the gradient of a batch of the two.
        weights: [f64; 2],
    },

    /// The loss of a batch is not made of the losses of its records.
    #[error(
        "the loss mixes the examples of a batch: its gradient differs from every sum of those of batches \
         of one by {difference:.1e} (relative), and private training sees batches of one; make the \
         examples that are compared one record (an axis behind axis 0), replace statistics of the \
         batch by constants or by those of one record, and switch random operations off to compare"
    )]
    LossMixesExamples {
        /// The relative difference.
        difference: f64,
    },

    /// The device failed.
    #[error("the device failed: {reason}")]
    Device {
        /// What the backend said.
        reason: String,
    },

    /// All planned steps have been taken.
    #[error(
        "all {steps} steps of the plan have been taken: a further step is not accounted for; make a \
         new plan with more steps before the run (one pass over a private loader is the whole run: there \
         are no epochs over it)"
    )]
    PlanExhausted {
        /// The plan's number of steps.
        steps: u64,
    },

    /// A plan begins from other releases than those of the run.
    #[error(
        "the plan begins from a ledger of {plan} releases, and this run's, of {run}, is another one: build it with \
         `.after(optimizer.ledger())`, so that its epsilon covers what was spent"
    )]
    PlanOfAnotherLedger {
        /// How many releases the plan begins from.
        plan: u64,
        /// How many the run has made.
        run: u64,
    },

    /// A batch was sampled under another plan.
    #[error(
        "the batch was sampled under another plan: call `sample` on this optimizer, or make a new \
         `PoissonDataLoader` from it"
    )]
    BatchOfAnotherPlan,

    /// A batch was sampled for another step.
    #[error(
        "the batch was sampled for step {step}, but step {due} is due: sample once a step; a \
         `PoissonDataLoader` yields each step that was left when it was made, once: after a step that \
         failed, or for a second pass, make a new one from the optimizer, which begins at the step that \
         is due"
    )]
    BatchOfAnotherStep {
        /// The step it was sampled for.
        step: u64,
        /// The step that is due.
        due: u64,
    },

    /// A checkpoint is truncated or corrupt.
    #[error("the checkpoint cannot be used: {reason}; resume from an earlier one")]
    Checkpoint {
        /// What is wrong.
        reason: String,
    },

    /// A checkpoint's format version is not supported.
    #[error("the checkpoint has format version {found}, this library reads version {supported}")]
    CheckpointVersion {
        /// The version found.
        found: u32,
        /// The version supported.
        supported: u32,
    },

    /// A checkpoint was made under another plan.
    #[error("the checkpoint was made under another privacy plan: resume with the plan of the run")]
    CheckpointOfAnotherPlan,

    /// A checkpoint was made with another model.
    #[error("the checkpoint was made with another model: resume with the same architecture")]
    CheckpointOfAnotherModel,

    /// A checkpoint was made with another optimizer, or with other settings of the same.
    #[error(
        "the checkpoint was made with another optimizer: {saved}, and this is {given}; resume with the optimizer of the \
         run, in type and settings (betas, momentum, epsilon, weight decay, gradient clipping, groups), or start a new \
         run from the model's weights"
    )]
    CheckpointOfAnotherOptimizer {
        /// What the checkpoint's does.
        saved: String,
        /// What the one that resumes does.
        given: String,
    },

    /// A checkpoint file cannot be read or written.
    #[error("the checkpoint file {path} cannot be read or written: {reason}")]
    CheckpointFile {
        /// The file.
        path: String,
        /// What the operating system said.
        reason: String,
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

    /// An engine gave the gradients of another model's parameters.
    #[error(
        "the engine's gradients are not those of the model's trainable parameters: an engine must \
         differentiate the model it is given"
    )]
    EngineOfAnotherModel,

    /// A trainable parameter's id stands in two fields, frozen or not.
    #[error(
        "`{first}` and `{second}` are one parameter to burn (a clone keeps its id, and so does a loaded \
         record), which its optimizers would update in the first of them only, also where that one is \
         frozen: keep one field and use it twice, or give one of them ids of its own with \
         `selection::copy_with_own_ids`, and freeze it after that"
    )]
    SharedParameter {
        /// The path met first.
        first: String,
        /// The path met next.
        second: String,
    },

    /// A path is not in the model.
    #[error("`{path}` is not in the model; in {place} there is: {instead}")]
    UnknownPath {
        /// The path that was asked for.
        path: String,
        /// The longest part of it that is there.
        place: String,
        /// What follows there.
        instead: String,
    },

    /// A setting names a part of the model that is not there, or on which it has no effect.
    #[error("the {setting} `{name}` covers no {what}: {advice}")]
    CoversNothing {
        /// The setting, as the user names it.
        setting: &'static str,
        /// The name that was given.
        name: String,
        /// What it has to cover.
        what: &'static str,
        /// The nearest names, or why what is there does not count.
        advice: String,
    },

    /// A selector matches no parameter.
    #[error("the selector `{selector}` matches no parameter: {advice}")]
    EmptySelection {
        /// The selector.
        selector: String,
        /// What to do.
        advice: String,
    },

    /// Biases were asked for in a model without any.
    #[error(
        "the model has no bias: give its layers ({layers} ...) one with `with_bias(true)` in their \
         configuration, which leaves a pretrained model as it is if the bias starts at zero; or \
         choose another selector"
    )]
    NoBias {
        /// The first layers that could have one.
        layers: String,
    },

    /// Nothing in the model can be trained.
    #[error(
        "no parameter of the model can be trained: it has none, or is on a device without autodiff; \
         make it on `device.autodiff()`, or call `train()`"
    )]
    NothingToSelect,

    /// A selection was made on another model.
    #[error(
        "a selected parameter is not in this model: select on the model (or a clone of it) that is \
         trained"
    )]
    SelectionOfAnotherModel,

    /// A structure of masks does not fit a weight.
    #[error(
        "a mask of {structure} does not fit `{path}`, which is {shape:?}: choose another structure, or leave the weight \
         out with `on`"
    )]
    MaskDoesNotFit {
        /// The weight.
        path: String,
        /// Its shape.
        shape: Vec<usize>,
        /// What was asked for.
        structure: String,
    },

    /// A mask that is not of zeros and ones has no bits.
    #[error(
        "masks of this kind are numbers, not bits: train a threshold, top-k or stochastic mask to export it, or \
         `materialize` the model"
    )]
    MaskNotBinary,

    /// Bytes of a mask cannot be read.
    #[error("the mask cannot be read: {reason}")]
    Mask {
        /// What is wrong.
        reason: String,
    },

    /// There is nothing to aggregate.
    #[error("there are no masks to aggregate: leave the round out")]
    NoMasks,

    /// A mask of another version of the format.
    #[error(
        "the mask has format {found}, and this library reads {supported}: read it with the version that wrote it"
    )]
    MaskVersion {
        /// The file's.
        found: u32,
        /// This library's.
        supported: u32,
    },

    /// A mask belongs to another model.
    #[error("the mask was made for another model: its weights differ in {what}")]
    MaskOfAnotherModel {
        /// Where.
        what: String,
    },

    /// Rows cannot be selected in a model with adapters.
    #[error(
        "`{path}` belongs to an adapter, and burn does not nest reparameterizations: call \
         `materialize()` first"
    )]
    AlreadyReparameterized {
        /// The adapter's first parameter.
        path: String,
    },

    /// Other parameters are trained than in the steps before.
    #[error(
        "the steps before trained {before} parameters, and this model trains {now} or others: announce a \
         new selection to the run with `select` or `follow`"
    )]
    SelectionChanged {
        /// How many were trained.
        before: usize,
        /// How many are trained now.
        now: usize,
    },

    /// The plan has no private selection, or it has been made.
    #[error(
        "the plan pays for no private selection{reason}: set `selection` on its builder before the run, \
         or select by public data"
    )]
    SelectionNotPlanned {
        /// Why not, if the plan once did.
        reason: &'static str,
    },

    /// The model's parameters live on several devices.
    #[error("the model's parameters live on several devices: move the model to one device first")]
    SeveralDevices,

    /// The operating system gave no randomness.
    #[error(
        "the operating system gave no randomness ({reason}): private noise needs it; make the system's \
         random generator reachable, or use `Seed::reproducible` for an experiment without privacy"
    )]
    RandomnessUnavailable {
        /// What the operating system said.
        reason: String,
    },
}

impl From<burn_dp_accounting::Error> for Error {
    fn from(error: burn_dp_accounting::Error) -> Self {
        match error {
            burn_dp_accounting::Error::Setting(setting) => Self::Setting(setting),
            unanswered => Self::Accounting(unanswered),
        }
    }
}

/// `Result` with the crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Error {
    /// An [`Error::Setting`].
    pub(crate) fn setting(
        name: &'static str,
        value: impl core::fmt::Display,
        requirement: &'static str,
    ) -> Self {
        SettingError::invalid(name, value, requirement).into()
    }

    /// The same, of a part of a batch that begins at example `first`.
    pub(crate) fn of_example(self, first: usize) -> Self {
        match self {
            Self::IndexOutOfRange { operation, index, bound, example } => {
                Self::IndexOutOfRange { operation, index, bound, example: first + example }
            }
            other => other,
        }
    }

    /// An [`Error::Loading`].
    pub(crate) fn loading(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Loading { source: source.into() }
    }
}
