//! The crate's one error type.

/// Everything that can go wrong, each with what to do about it.
///
/// A call that returns an error has changed nothing: not the model, the optimizer, nor the ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is outside its domain (NaN, negative, infinite, or out of range).
    #[error("{name} is {value}, but must be {requirement}")]
    InvalidSetting {
        /// The setting, as the user names it.
        name: &'static str,
        /// The value that was given, formatted.
        value: String,
        /// What the value must satisfy.
        requirement: &'static str,
    },

    /// A setting that has no default was not given.
    #[error("{name} is missing: set it before building")]
    MissingSetting {
        /// The setting, as the user names it.
        name: &'static str,
    },

    /// Two settings that exclude each other were both given.
    #[error("{first} and {second} exclude each other: set exactly one of them")]
    ConflictingSettings {
        /// One of the two.
        first: &'static str,
        /// The other.
        second: &'static str,
    },

    /// An accountant has no proven bound for an event.
    #[error(
        "the {accountant} accountant has no proven bound for this event: {event}; record an event \
         that it supports, or use another accountant"
    )]
    UnsupportedEvent {
        /// The accountant's name.
        accountant: &'static str,
        /// The event, in words.
        event: String,
    },

    /// No noise multiplier reaches the privacy target.
    #[error(
        "no noise multiplier up to {largest} reaches epsilon <= {epsilon} at delta = {delta}: \
         raise epsilon or delta, or lower the sampling rate or the number of steps"
    )]
    UnreachableTarget {
        /// The target ε.
        epsilon: f64,
        /// The target δ.
        delta: f64,
        /// The largest noise multiplier that was tried.
        largest: f64,
    },

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
        "the loss reads a tensor's value while it is traced ({reason}): a traced loss may not \
         depend on values through control flow; keep the computation in tensors, or use the \
         batch-of-one engine (`Loop`)"
    )]
    ValueRead {
        /// What burn said.
        reason: String,
    },

    /// The loss closure failed while it was traced.
    #[error(
        "the loss could not be traced ({reason}): make every tensor on the device of the batch or \
         of the model, keep constants inside the model, or use the batch-of-one engine (`Loop`)"
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

    /// The device failed.
    #[error("the device failed: {reason}")]
    Device {
        /// What the backend said.
        reason: String,
    },

    /// All planned steps have been taken.
    #[error(
        "all {steps} steps of the plan have been taken: a further step is not accounted for; make a \
         new plan with more steps before the run"
    )]
    PlanExhausted {
        /// The plan's number of steps.
        steps: u64,
    },

    /// A batch was sampled under another plan.
    #[error("the batch was sampled under another plan: call `sample` on this optimizer")]
    BatchOfAnotherPlan,

    /// A batch was sampled for another step.
    #[error("the batch was sampled for step {step}, but step {due} is due: sample once a step")]
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

    /// A checkpoint file cannot be read or written.
    #[error("the checkpoint file {path} cannot be read or written: {reason}")]
    CheckpointFile {
        /// The file.
        path: String,
        /// What the operating system said.
        reason: String,
    },

    /// A data set could not give a record.
    #[error("the data set could not give a record: {reason}")]
    Dataset {
        /// What the data set said.
        reason: String,
    },

    /// An engine gave the gradients of another model's parameters.
    #[error(
        "the engine's gradients are not those of the model's trainable parameters: an engine must \
         differentiate the model it is given"
    )]
    EngineOfAnotherModel,

    /// One trainable parameter stands in two fields.
    #[error(
        "`{first}` and `{second}` are one parameter (a clone keeps its id), which burn's optimizers \
         would update in one place only: keep one field and use it twice, or initialise each"
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

/// `Result` with the crate's [`Error`].
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// An [`Error::InvalidSetting`].
    pub(crate) fn setting(
        name: &'static str,
        value: impl core::fmt::Display,
        requirement: &'static str,
    ) -> Self {
        Self::InvalidSetting { name, value: value.to_string(), requirement }
    }
}
