//! A check of indices for an engine that runs burn's own operations. Without it an index out of
//! range would panic, or read memory beside the table.

use std::collections::HashSet;

use burn::module::Module;
use burn::tensor::Tensor;
use burn_dispatch::Dispatch;

use super::execute::execute;
use super::graph::{Graph, depends_on_example};
use super::indices::{self, BadRecords};
use super::plan::with_own_axis;
use super::replay::Replay;
use super::trace::{Trace, trace};
use super::value::Value;
use crate::batch::{self, Batch};
use crate::error::Result;
use crate::model::ModuleTensors;

/// Computes the indices that `loss` reads for all `examples` of a batch, and nothing else, and
/// checks them. Returns the examples to leave out, ascending.
///
/// # Errors
/// The errors of tracing, and
/// [`BatchError::IndexOutOfRange`](crate::error::BatchError::IndexOutOfRange).
pub(super) fn check<M, X, F>(
    model: &M,
    tensors: &ModuleTensors,
    batch: &X,
    loss: &F,
    examples: usize,
    policy: BadRecords,
) -> Result<Vec<usize>>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    let Trace { operations, constants, module, batch: leaves, .. } =
        trace(model, tensors, batch, loss)?;
    let of_examples: HashSet<_> = leaves.iter().copied().collect();
    let given: HashSet<_> = leaves.iter().chain(&module).chain(constants.keys()).copied().collect();
    let wanted: HashSet<_> = operations.iter().flat_map(indices::read_by).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let batched = depends_on_example(&operations, &of_examples);
    let graph = Graph::whole(operations.clone(), &given, batched, &wanted);

    let device = tensors.device.as_dispatch().clone();
    let mut replay = Replay::<Dispatch>::new(device.clone(), examples, &graph.batched, policy);
    for (id, tensor) in module.iter().zip(&tensors.tensors) {
        replay.insert(*id, Value::from_dispatch(tensor.value.clone()));
    }
    for (id, data) in constants {
        replay.insert(id, Value::from_data(data, &device));
    }
    for (id, tensor) in leaves.iter().zip(batch::leaves(batch)) {
        replay.insert(*id, with_own_axis(tensor, &device));
    }
    for (op, dying) in graph.operations.iter().zip(&graph.dying) {
        execute(op, dying, &mut replay)?;
    }
    for op in &operations {
        replay.check_indices(op)?;
    }
    let (_, checks) = replay.into_parts();
    checks.finish()
}
