//! The order of operations: an operation that makes a value smaller runs as soon as the large value
//! has no other use.
//!
//! A backward pass requests late what the forward pass could have prepared early. For example,
//! whether a rectifier's output was positive takes one byte per number instead of four. If weights
//! are frozen, such a mask is all that is needed of an activation.

use std::collections::{HashMap, HashSet};

use burn_ir::{OperationIr, TensorId, TensorIr};

/// The place of an operation: after the operation that was at the first index; the second number
/// orders those at the same place.
type Place = (usize, usize);

/// Moves an operation earlier if it is the last reader of a value and its result is smaller than
/// that value. The new place is the earliest at which the value can be freed. `kept` values are
/// needed afterwards and never freed. Only `batched` values count.
pub(super) fn schedule(
    operations: Vec<OperationIr>,
    kept: &HashSet<TensorId>,
    batched: &HashSet<TensorId>,
) -> Vec<OperationIr> {
    let last = last_readers(&operations);
    // The places where each value is made, and where it was last read so far.
    let mut made: HashMap<TensorId, Place> = HashMap::new();
    let mut read: HashMap<TensorId, Place> = HashMap::new();
    let mut placed: Vec<(Place, OperationIr)> = Vec::with_capacity(operations.len());
    for (index, op) in operations.into_iter().enumerate() {
        let frees = |input: &&TensorIr| {
            last.get(&input.id) == Some(&index)
                && batched.contains(&input.id)
                && !kept.contains(&input.id)
        };
        let freed: usize = op.inputs().filter(frees).map(bytes).sum();
        let taken: usize = op.outputs().map(bytes).sum();
        let place = if freed > taken {
            let inputs = op.inputs().filter_map(|input| made.get(&input.id));
            let others = op.inputs().filter(frees).filter_map(|input| read.get(&input.id));
            let (after, _) = inputs.chain(others).copied().max().unwrap_or((index, 0));
            (after, index)
        } else {
            (index, 0)
        };
        for input in op.inputs() {
            let latest = read.entry(input.id).or_insert(place);
            *latest = place.max(*latest);
        }
        made.extend(op.outputs().map(|out| (out.id, place)));
        placed.push((place, op));
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, op)| op).collect()
}

fn last_readers(operations: &[OperationIr]) -> HashMap<TensorId, usize> {
    let mut last = HashMap::new();
    for (index, op) in operations.iter().enumerate() {
        last.extend(op.inputs().map(|input| (input.id, index)));
    }
    last
}

fn bytes(tensor: &TensorIr) -> usize {
    tensor.shape.num_elements() * tensor.dtype.size()
}
