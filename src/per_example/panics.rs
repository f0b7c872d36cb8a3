//! Panics of the user's closure, or of burn below it, as errors.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::{Error, LossError, Result};

/// Returns the result of `compute`, or its panic as an error. `compute` may change only what nobody
/// reads after an error.
pub(super) fn caught<T>(compute: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(compute)).unwrap_or_else(|payload| {
        Err(Error::Loss(LossError::Panicked { reason: message(payload.as_ref()) }))
    })
}

/// The message of the panic.
pub(super) fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "burn panicked without a message".to_owned())
}
