//! Replaces operations by others.

use std::collections::HashMap;

use burn_backend::{DType, Shape};
use burn_ir::{OperationIr, TensorId, TensorIr};

/// Replaces the operations that were `found`, by their index.
pub(super) fn replace<T>(
    operations: &mut Vec<OperationIr>,
    mut found: HashMap<usize, T>,
    others: impl Fn(T, &mut Fresh) -> Vec<OperationIr>,
) {
    if found.is_empty() {
        return;
    }
    let mut fresh = Fresh::after(operations);
    let mut replaced = Vec::with_capacity(operations.len());
    for (index, op) in std::mem::take(operations).into_iter().enumerate() {
        match found.remove(&index) {
            Some(found) => replaced.extend(others(found, &mut fresh)),
            None => replaced.push(op),
        }
    }
    *operations = replaced;
}

/// Names for new values.
pub(super) struct Fresh {
    last: u64,
}

impl Fresh {
    fn after(operations: &[OperationIr]) -> Self {
        let tensors = operations.iter().flat_map(|op| op.inputs().chain(op.outputs()));
        let ids = tensors.map(|tensor| tensor.id.value());
        Self { last: ids.max().unwrap_or(0) }
    }

    pub(super) fn value(&mut self, shape: Shape, dtype: DType) -> TensorIr {
        self.last += 1;
        TensorIr::uninit(TensorId::new(self.last), shape, dtype)
    }
}
