//! When operations run: what makes a value smaller runs as soon as the large one has no other use.
//!
//! A backward pass asks late for things that the forward pass could have prepared early: whether a rectifier's
//! output was positive is one byte a number instead of four. Where weights are frozen, such a mask is all that
//! is needed of an activation.

use std::collections::{HashMap, HashSet};

use burn_ir::{OperationIr, TensorId, TensorIr};

/// Where an operation goes: after the operation that stood at this index, in order of the second number.
type Place = (usize, usize);

/// Moves each operation that shrinks what it is the last to read to the earliest place where that frees
/// memory. `kept` values are wanted afterwards and never freed; only `batched` values count.
pub(super) fn schedule(
    operations: Vec<OperationIr>,
    kept: &HashSet<TensorId>,
    batched: &HashSet<TensorId>,
) -> Vec<OperationIr> {
    let last = last_readers(&operations);
    // Where each value is made, and where it was read last so far.
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
