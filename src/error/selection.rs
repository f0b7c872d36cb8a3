//! Why a selection of parameters cannot be made or applied.

/// Why a selection of parameters cannot be made or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// A path is not in the model.
    #[error("`{path}` is not in the model; in {place} there is: {instead}")]
    UnknownPath {
        /// The path that was asked for.
        path: String,
        /// The longest part of the path that exists.
        place: String,
        /// What is there instead.
        instead: String,
    },

    /// A setting names a part of the model that does not exist, or on which it has no effect.
    #[error("the {setting} `{name}` covers no {what}: {advice}")]
    CoversNothing {
        /// The setting, in the user's terms.
        setting: &'static str,
        /// The name that was given.
        name: String,
        /// What it has to cover.
        what: &'static str,
        /// The nearest names, or why the existing part does not count.
        advice: String,
    },

    /// A selector matches no parameter.
    #[error("the selector `{selector}` matches no parameter: {advice}")]
    Empty {
        /// The selector.
        selector: String,
        /// What to do.
        advice: String,
    },

    /// Biases were requested in a model without any.
    #[error(
        "the model has no bias: give its layers ({layers} ...) one with `with_bias(true)` in their \
         configuration, which leaves a pretrained model as it is if the bias starts at zero; or \
         choose another selector"
    )]
    NoBias {
        /// The first layers that could have a bias.
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
    OfAnotherModel,

    /// Rows cannot be selected in a model with adapters.
    #[error(
        "`{path}` belongs to an adapter, and burn does not nest reparameterizations: call \
         `materialize()` first"
    )]
    AlreadyReparameterized {
        /// The adapter's first parameter.
        path: String,
    },

    /// The trained parameters are not those of the previous steps.
    #[error(
        "the steps before trained {before} parameters, and this model trains {now} or others: announce a \
         new selection to the run with `select` or `follow`"
    )]
    Changed {
        /// The number of parameters that were trained.
        before: usize,
        /// The number of parameters that are trained now.
        now: usize,
    },
}
