//! Why a loss cannot be traced.

/// Why a loss cannot be traced.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The traced engine has no batching rule for an operation of the model.
    #[error(
        "the traced engine has no batching rule for `{operation}`: use the batch-of-one engine \
         (`Loop`) for this model, or express the operation with burn's tensor operations"
    )]
    UnsupportedOperation {
        /// The operation, as burn's intermediate representation names it.
        operation: String,
    },

    /// The traced graph reads a tensor that no operation in it computes.
    #[error(
        "the trace reads tensor {tensor}, which no traced operation computes: keep every tensor \
         that the loss uses inside the model or the batch"
    )]
    Broken {
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

    /// The loss closure uses a tensor from outside.
    #[error(
        "the loss uses a tensor from outside, which is on another device than the trace ({reason}): do \
         not capture a device, use `x.device()` of a tensor `x` of the batch; initialize a loss that \
         holds tensors (class weights) inside of the closure, on that device; put a second model (a \
         teacher) into the model as a frozen field, or its outputs into the batch; or use the \
         batch-of-one engine (`Loop`)"
    )]
    TensorFromOutside {
        /// What burn said.
        reason: String,
    },

    /// The loss closure differentiates, or leaves autodiff and returns to it.
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
    Failed {
        /// What burn said.
        reason: String,
    },

    /// The loss no longer computes what it computed when it was traced.
    #[error(
        "the loss no longer computes what was traced: {difference}. Something has changed that the engine \
         does not look at, such as a number that the closure captured: call `clear()` after each such change, \
         make it a `#[key]` field of the batch or a field of the model, or have every batch traced with \
         `with_retracing(Retracing::Always)`"
    )]
    Changed {
        /// The first operation that differs, and how.
        difference: String,
    },
}
