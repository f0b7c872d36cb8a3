//! What is wrong with masks.

/// What is wrong with masks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// The structure of a mask does not fit a weight.
    #[error(
        "a mask of {structure} does not fit `{path}`, which is {shape:?}: choose another structure, or leave the weight \
         out with `on`"
    )]
    DoesNotFit {
        /// The weight.
        path: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The structure that was asked for.
        structure: String,
    },

    /// A mask does not consist of zeros and ones, so it has no bits.
    #[error(
        "masks of this kind are numbers, not bits: train a threshold, top-k or stochastic mask to export it, or \
         `materialize` the model"
    )]
    NotBinary,

    /// A model has no masks, or none of the requested kind.
    #[error("the model has no masks{of}: attach some with `apply`")]
    NotAttached {
        /// The kind, in words; empty for any.
        of: &'static str,
    },

    /// A model has masks already.
    #[error("the model has masks already: put all structures into one configuration")]
    AlreadyAttached,

    /// A model's masks are of another configuration.
    #[error(
        "the mask of `{path}` is of another configuration than this: use the one that it was attached with"
    )]
    OfAnotherConfiguration {
        /// The weight.
        path: String,
    },

    /// Shares were given to masks that are not stochastic. Only stochastic masks can start from
    /// shares.
    #[error("only stochastic masks begin with shares: attach them with `MaskKind::Stochastic`")]
    NotStochastic,

    /// A mask cannot be written.
    #[error("the mask cannot be written: {reason}")]
    NotWritten {
        /// What is wrong.
        reason: String,
    },

    /// The bytes of a mask cannot be read.
    #[error("the mask cannot be read: {reason}")]
    Unreadable {
        /// What is wrong.
        reason: String,
    },

    /// There is nothing to aggregate.
    #[error("there are no masks to aggregate: leave the round out")]
    NoMasks,

    /// A mask has another version of the format.
    #[error(
        "the mask has format {found}, and this library reads {supported}: read it with the version that wrote it"
    )]
    Version {
        /// The version of the file.
        found: u32,
        /// The version that this library reads.
        supported: u32,
    },

    /// A mask belongs to another model.
    #[error("the mask was made for another model: its weights differ in {what}")]
    OfAnotherModel {
        /// Where the two differ.
        what: String,
    },
}
