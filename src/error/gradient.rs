//! What is wrong with per-example gradients, or with a request for them.

/// What is wrong with per-example gradients, or with a request for them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GradientError {
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
        /// The product of the two, plus what rounding may add.
        bound: f64,
    },

    /// A record's gradient, or its squared norm, is not finite in both engines.
    #[error(
        "the gradient of example {example} is NaN, infinite or longer than 1.8e19 (whose square is beyond single \
         precision) at `{parameter}`, whatever computes it: in training such a record counts for nothing; look for \
         a mean over nothing (a record that is all padding), a logarithm or square root of zero, or values beyond \
         the type's range"
    )]
    NotFinite {
        /// The example's index in the batch.
        example: usize,
        /// The first parameter where this is so.
        parameter: String,
    },

    /// An engine gave the gradients of another model's parameters.
    #[error(
        "the engine's gradients are not those of the model's trainable parameters: an engine must \
         differentiate the model it is given"
    )]
    OfAnotherModel,
}
