//! The crate's errors: one enum, which mirrors the modules.

mod batch;
mod checkpoint;
mod federated;
mod gradient;
mod loss;
mod mask;
mod model;
mod plan;
mod selection;
mod trace;

pub use burn_dp_accounting::SettingError;

pub use batch::BatchError;
pub use checkpoint::CheckpointError;
pub use federated::FederatedError;
pub use gradient::GradientError;
pub use loss::LossError;
pub use mask::MaskError;
pub use model::ModelError;
pub use plan::PlanError;
pub use selection::SelectionError;
pub use trace::TraceError;

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

    /// The loss cannot be traced.
    #[error(transparent)]
    Trace(#[from] TraceError),

    /// The loss cannot be trained with, or means something else for one record than for a batch.
    #[error(transparent)]
    Loss(#[from] LossError),

    /// The model cannot be trained as it is.
    #[error(transparent)]
    Model(#[from] ModelError),

    /// A batch cannot be used.
    #[error(transparent)]
    Batch(#[from] BatchError),

    /// Per-example gradients are wrong, or a request for them is.
    #[error(transparent)]
    Gradient(#[from] GradientError),

    /// The plan does not allow it.
    #[error(transparent)]
    Plan(#[from] PlanError),

    /// A checkpoint cannot be saved, read or used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),

    /// A selection of parameters cannot be made or applied.
    #[error(transparent)]
    Selection(#[from] SelectionError),

    /// Masks cannot be made, read, applied or aggregated.
    #[error(transparent)]
    Mask(#[from] MaskError),

    /// Federated training cannot go on, or a message cannot be used.
    #[error(transparent)]
    Federated(#[from] FederatedError),

    /// The device failed.
    #[error("the device failed: {reason}")]
    Device {
        /// What the backend said.
        reason: String,
    },

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

    /// The same error for a part of a batch that begins at example `first`.
    pub(crate) fn of_example(self, first: usize) -> Self {
        match self {
            Self::Batch(BatchError::IndexOutOfRange { operation, index, bound, example }) => {
                Self::Batch(BatchError::IndexOutOfRange {
                    operation,
                    index,
                    bound,
                    example: first + example,
                })
            }
            other => other,
        }
    }

    /// A [`BatchError::Loading`](crate::error::BatchError::Loading).
    pub(crate) fn loading(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self::Batch(BatchError::Loading { source: source.into() })
    }
}
