//! Interprets a panic of burn, or of the loss closure, while a loss was being traced.

use std::any::Any;

use crate::error::{Error, TraceError};

/// The error that says what to do about it.
pub(crate) fn panic_to_error(payload: Box<dyn Any + Send>) -> Error {
    let reason = payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "burn panicked without a message".to_owned());
    // burn has no types for these panics, so their messages are matched. `tests/messages.rs` fails
    // when the messages change.
    let says = |words: &[&str]| words.iter().any(|words| reason.contains(words));
    if says(&["no concrete value", "no initialized value"]) {
        Error::Trace(TraceError::ValueRead { reason })
    } else if says(&[
        "not on the same device",
        "on the wrong backend",
        "between the requested backends",
    ]) {
        Error::Trace(TraceError::TensorFromOutside { reason })
    } else if says(&["do not support autodiff", "tape has already been consumed"]) {
        Error::Trace(TraceError::AutodiffInLoss { reason })
    } else if says(&["Tensor Operation Error", "index out of bounds"]) {
        Error::Trace(TraceError::ShapeOfOneExample { reason })
    } else {
        Error::Trace(TraceError::Failed { reason })
    }
}
