//! What is wrong with a checkpoint.

/// What is wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A checkpoint is truncated or corrupt.
    #[error("the checkpoint cannot be used: {reason}; resume from an earlier one")]
    Unusable {
        /// What is wrong.
        reason: String,
    },

    /// No checkpoint can be made of a run.
    #[error("the checkpoint cannot be made: {reason}; the run is as it was")]
    NotMade {
        /// What is wrong.
        reason: String,
    },

    /// A checkpoint's format version is not supported.
    #[error("the checkpoint has format version {found}, this library reads version {supported}")]
    Version {
        /// The version found.
        found: u32,
        /// The version supported.
        supported: u32,
    },

    /// A checkpoint was made under another plan.
    #[error("the checkpoint was made under another privacy plan: resume with the plan of the run")]
    OfAnotherPlan,

    /// A checkpoint was made with another model.
    #[error("the checkpoint was made with another model: resume with the same architecture")]
    OfAnotherModel,

    /// A checkpoint was made with another optimizer, or with other settings of the same optimizer.
    #[error(
        "the checkpoint was made with another optimizer: {saved}, and this is {given}; resume with the optimizer of the \
         run, in type and settings (betas, momentum, epsilon, weight decay, gradient clipping, groups), or start a new \
         run from the model's weights"
    )]
    OfAnotherOptimizer {
        /// What the checkpoint's optimizer does.
        saved: String,
        /// What the resuming optimizer does.
        given: String,
    },

    /// A checkpoint file cannot be read or written.
    #[error(
        "the checkpoint file {path} cannot be read or written ({source}): check that it is there, and that its folder can be written to"
    )]
    File {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}
