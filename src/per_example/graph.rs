//! A trace prepared for replay: it contains only what the requested results need, each value is
//! known to be shared or batched, and each buffer is freed at its last use.

use std::collections::HashSet;

use burn_ir::{FloatOperationIr, NumericOperationIr, OperationIr, TensorId};

use super::schedule::schedule;

/// A list of operations, with a static analysis of their values.
pub(crate) struct Graph {
    pub(crate) operations: Vec<OperationIr>,
    /// For each operation, the values that nothing after it reads.
    pub(crate) dying: Vec<Vec<TensorId>>,
    /// The values that depend on an example.
    pub(crate) batched: HashSet<TensorId>,
    /// Every value that some operation reads or some caller wants.
    pub(crate) needed: HashSet<TensorId>,
}

impl Graph {
    /// The operations that `wanted` needs, in two stages. The first has those that depend on no
    /// example, the second the rest. The first stage's results are inputs of the second. `inputs`
    /// are values given from outside; their producers (the zeros of the trace) are dropped.
    /// `batched` is the result of [`depends_on_example`].
    pub(crate) fn stages(
        operations: Vec<OperationIr>,
        inputs: &HashSet<TensorId>,
        batched: HashSet<TensorId>,
        wanted: &HashSet<TensorId>,
    ) -> (Self, Self) {
        let kept = alive(operations, inputs, wanted);
        let is_batched = |op: &OperationIr| op.outputs().any(|out| batched.contains(&out.id));
        let (second, first): (Vec<_>, Vec<_>) = kept.into_iter().partition(is_batched);
        let made = first.iter().flat_map(|op| op.outputs()).map(|out| out.id);
        // The first stage must also not free its inputs: a weight may serve both stages.
        let made: HashSet<TensorId> = made.chain(inputs.iter().copied()).collect();
        let read = second.iter().flat_map(|op| op.inputs()).map(|input| input.id);
        let handed: HashSet<TensorId> =
            read.chain(wanted.iter().copied()).filter(|id| made.contains(id)).collect();
        (Self::new(first, HashSet::new(), &handed), Self::new(second, batched, wanted))
    }

    /// The operations that `wanted` needs, in one stage.
    pub(crate) fn whole(
        operations: Vec<OperationIr>,
        inputs: &HashSet<TensorId>,
        batched: HashSet<TensorId>,
        wanted: &HashSet<TensorId>,
    ) -> Self {
        Self::new(alive(operations, inputs, wanted), batched, wanted)
    }

    /// A graph of all `operations`. `wanted` needs each of them.
    fn new(
        operations: Vec<OperationIr>,
        batched: HashSet<TensorId>,
        wanted: &HashSet<TensorId>,
    ) -> Self {
        let operations = schedule(operations, wanted, &batched);
        let mut needed = wanted.clone();
        let mut dying = Vec::with_capacity(operations.len());
        for op in operations.iter().rev() {
            // Walking backwards, the first reader that is met is the last to read. An output
            // without a reader dies at once.
            let mut last = Vec::new();
            for out in op.outputs() {
                if !needed.contains(&out.id) {
                    last.push(out.id);
                }
            }
            for input in op.inputs() {
                if needed.insert(input.id) {
                    last.push(input.id);
                }
            }
            dying.push(last);
        }
        dying.reverse();
        Self { operations, dying, batched, needed }
    }

    /// Whether a replay draws random numbers.
    pub(crate) fn is_random(&self) -> bool {
        self.operations.iter().any(is_random)
    }
}

/// The operations whose results `wanted` needs.
fn alive(
    mut operations: Vec<OperationIr>,
    inputs: &HashSet<TensorId>,
    wanted: &HashSet<TensorId>,
) -> Vec<OperationIr> {
    let mut needed = wanted.clone();
    let mut is_alive = Vec::with_capacity(operations.len());
    for op in operations.iter().rev() {
        let produces = |id: &TensorId| needed.contains(id) && !inputs.contains(id);
        let alive = op.outputs().any(|out| produces(&out.id));
        if alive {
            needed.extend(op.inputs().map(|input| input.id));
        }
        is_alive.push(alive);
    }
    operations.retain(|_| is_alive.pop().unwrap_or(false));
    operations
}

/// The closure of `batched` under the operations: a result is batched if an operand is. Random
/// draws are batched too, so that every example has its own.
pub(crate) fn depends_on_example(
    operations: &[OperationIr],
    batched: &HashSet<TensorId>,
) -> HashSet<TensorId> {
    let mut batched = batched.clone();
    for op in operations {
        if is_random(op) || op.inputs().any(|input| batched.contains(&input.id)) {
            batched.extend(op.outputs().map(|out| out.id));
        }
    }
    batched
}

pub(super) fn is_random(op: &OperationIr) -> bool {
    matches!(
        op,
        OperationIr::Float(_, FloatOperationIr::Random(_))
            | OperationIr::NumericInt(_, NumericOperationIr::IntRandom(_))
            | OperationIr::NumericFloat(_, NumericOperationIr::IntRandom(_))
    )
}
