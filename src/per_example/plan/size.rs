//! The memory that a plan holds.

use std::collections::HashSet;

use burn_backend::TensorMetadata;
use burn_dispatch::Dispatch;
use burn_ir::{OperationIr, TensorId};

use super::super::factor::{Factored, Side, Use};
use super::super::graph::Graph;
use super::super::value::Value;
use super::{Plan, Planned};

impl Plan {
    /// An estimate, from the operations and the constants.
    pub(crate) fn bytes(&self) -> usize {
        let constants = self.constants.iter().map(|(_, value)| constant(value));
        let gradients = self.gradients.iter().map(|gradient| match gradient {
            Planned::Zero | Planned::Materialized(_) => size_of::<Planned>(),
            Planned::Ghost(factored) | Planned::Contracted(factored) => factors(factored),
        });
        graph(&self.shared) + graph(&self.graph) + constants.chain(gradients).sum::<usize>()
    }
}

fn graph(graph: &Graph) -> usize {
    let dying: usize = graph.dying.iter().map(vec).sum();
    vec(&graph.operations) + vec(&graph.dying) + dying + set(&graph.batched) + set(&graph.needed)
}

fn vec<T>(items: &Vec<T>) -> usize {
    items.capacity() * size_of::<T>()
}

fn set(ids: &HashSet<TensorId>) -> usize {
    // One byte of control for each slot, and one slot in eight is free.
    ids.capacity() * 8 / 7 * (size_of::<TensorId>() + 1)
}

fn constant(value: &Value<Dispatch>) -> usize {
    let (elements, dtype) = match value {
        Value::Float(x) => (x.shape().num_elements(), x.dtype()),
        Value::Int(x) => (x.shape().num_elements(), x.dtype()),
        Value::Bool(x) => (x.shape().num_elements(), x.dtype()),
    };
    elements * dtype.size()
}

fn factors(factored: &Factored) -> usize {
    let then = |side: &Side| side.then.capacity() * size_of::<OperationIr>() / 4;
    let uses = factored.uses.iter().map(|u| size_of::<Use>() + then(&u.left) + then(&u.right));
    size_of::<Factored>() + uses.sum::<usize>()
}
