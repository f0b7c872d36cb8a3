//! What is wrong with a model.

/// What is wrong with a model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
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

    /// Nothing in the model is trainable.
    #[error(
        "no parameter of the model is trainable: put the model on an autodiff device (`model.train()` \
         after moving it to `device.autodiff()`) and leave some parameter unfrozen"
    )]
    NoTrainableParameter,

    /// The id of a trainable parameter occurs in two fields. The other field may be frozen or not.
    #[error(
        "`{first}` and `{second}` are one parameter to burn (a clone keeps its id, and so does a loaded \
         record), which its optimizers would update in the first of them only, also where that one is \
         frozen: keep one field and use it twice, or give one of them ids of its own with \
         `selection::copy_with_own_ids`, and freeze it after that"
    )]
    SharedParameter {
        /// The path of the first field.
        first: String,
        /// The path of the second field.
        second: String,
    },

    /// The model's parameters live on several devices.
    #[error("the model's parameters live on several devices: move the model to one device first")]
    SeveralDevices,
}
