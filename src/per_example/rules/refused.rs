//! Operations that no rule can batch.

use crate::error::{Error, TraceError};

pub(super) fn refused(operation: &str) -> Error {
    Error::Trace(TraceError::UnsupportedOperation { operation: operation.to_owned() })
}
