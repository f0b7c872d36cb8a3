//! The indices that an operation reads, and their bounds.

use burn_ir::{BaseOperationIr, ModuleOperationIr, OperationIr, TensorId, TensorIr};

/// Indices that an operation reads.
pub(super) struct IndexUse<'o> {
    pub(super) operation: &'static str,
    pub(super) indices: &'o TensorIr,
    pub(super) bounds: Bounds,
}

/// The bounds that indices must be below.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Bounds {
    /// One bound for all.
    All(usize),
    /// One bound for each entry of the tuples on the last axis.
    Columns(Vec<usize>),
}

/// The indices that `op` reads, except those that only burn itself computes (those of max-pooling).
pub(super) fn uses(op: &OperationIr) -> Vec<IndexUse<'_>> {
    let all = |operation, indices, bound| {
        vec![IndexUse { operation, indices, bounds: Bounds::All(bound) }]
    };
    let tuples = |operation, indices, data| {
        vec![IndexUse { operation, indices, bounds: tuple_bounds(indices, data) }]
    };
    match op {
        OperationIr::BaseFloat(o) | OperationIr::BaseInt(o) | OperationIr::BaseBool(o) => match o {
            BaseOperationIr::Select(o) => all("select", &o.indices, o.tensor.shape[o.dim]),
            BaseOperationIr::SelectAssign(o) => {
                all("select_assign", &o.indices, o.tensor.shape[o.dim])
            }
            BaseOperationIr::Gather(o) => all("gather", &o.indices, o.tensor.shape[o.dim]),
            BaseOperationIr::Scatter(o) => all("scatter", &o.indices, o.tensor.shape[o.dim]),
            BaseOperationIr::GatherNd(o) => tuples("gather_nd", &o.indices, &o.data),
            BaseOperationIr::ScatterNd(o) => tuples("scatter_nd", &o.indices, &o.data),
            _ => Vec::new(),
        },
        OperationIr::Module(o) => match o {
            ModuleOperationIr::Embedding(o) => all("embedding", &o.indices, o.weights.shape[0]),
            ModuleOperationIr::EmbeddingBackward(o) => {
                all("embedding", &o.indices, o.weights.shape[0])
            }
            ModuleOperationIr::CtcLoss(o) => {
                ctc(&o.log_probs, [&o.targets, &o.input_lengths, &o.target_lengths])
            }
            ModuleOperationIr::CtcLossBackward(o) => {
                ctc(&o.log_probs, [&o.targets, &o.input_lengths, &o.target_lengths])
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The index tensors that `op` reads.
pub(crate) fn read_by(op: &OperationIr) -> Vec<TensorId> {
    uses(op).into_iter().map(|use_| use_.indices.id).collect()
}

pub(super) fn tuple_bounds(indices: &TensorIr, data: &TensorIr) -> Bounds {
    let length = indices.shape.as_slice().last().copied().unwrap_or(0);
    Bounds::Columns(data.shape.iter().take(length).copied().collect())
}

/// Targets are classes of `[time, rows, classes]`. A length may be at most that of its axis.
fn ctc<'o>(log_probs: &TensorIr, operands: [&'o TensorIr; 3]) -> Vec<IndexUse<'o>> {
    let [targets, ..] = operands;
    let longest = targets.shape.as_slice().last().copied().unwrap_or(0);
    let bounds = ctc_bounds(log_probs, longest);
    let operations = ["ctc_loss (target)", "ctc_loss (input length)", "ctc_loss (target length)"];
    let of =
        |((operation, indices), bound)| IndexUse { operation, indices, bounds: Bounds::All(bound) };
    operations.into_iter().zip(operands).zip(bounds).map(of).collect()
}

/// The bounds of targets, input lengths and target lengths.
pub(crate) fn ctc_bounds(log_probs: &TensorIr, longest: usize) -> [usize; 3] {
    [log_probs.shape[2], log_probs.shape[0] + 1, longest + 1]
}
