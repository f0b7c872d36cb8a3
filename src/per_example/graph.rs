//! A trace made ready for replay: only what the wanted results need, each value known to be shared
//! or batched, and each buffer freed at its last use.

use std::collections::{HashMap, HashSet};

use burn_ir::{FloatOperationIr, NumericOperationIr, OperationIr, TensorId};

use super::schedule::schedule;

/// A list of operations, with what static analysis says about their values.
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
    /// Keeps what `wanted` needs of `operations`. `inputs` are values given from outside; their
    /// producers (the zeros of the trace) go.
    pub(crate) fn new(
        operations: &[OperationIr],
        inputs: &HashSet<TensorId>,
        batched: &HashSet<TensorId>,
        wanted: &HashSet<TensorId>,
    ) -> Self {
        let kept = alive(operations, inputs, wanted);
        let batched = depends_on_example(&kept, batched);
        let kept = schedule(kept, wanted, &batched);

        let mut needed = wanted.clone();
        let mut dying = Vec::new();
        for op in kept.iter().rev() {
            // Walking backwards, the first reader met is the last to read; an output that nobody
            // reads dies at once.
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
        Self { operations: kept, dying, batched, needed }
    }
}

impl Graph {
    /// The same in two stages: what depends on no example, and the rest, for which the first stage's results
    /// are inputs.
    pub(crate) fn stages(
        operations: &[OperationIr],
        inputs: &HashSet<TensorId>,
        examples: &HashSet<TensorId>,
        wanted: &HashSet<TensorId>,
    ) -> (Self, Self) {
        let batched = depends_on_example(operations, examples);
        let is_batched = |op: &&OperationIr| op.outputs().any(|out| batched.contains(&out.id));
        let kept = alive(operations, inputs, wanted);
        let (second, first): (Vec<_>, Vec<_>) = kept.iter().partition(is_batched);
        let made = first.iter().flat_map(|op| op.outputs()).map(|out| out.id);
        // The first stage must not free what it does not make either: a weight may serve both.
        let made: HashSet<TensorId> = made.chain(inputs.iter().copied()).collect();
        let read = second.iter().flat_map(|op| op.inputs()).map(|input| input.id);
        let handed: HashSet<TensorId> =
            read.chain(wanted.iter().copied()).filter(|id| made.contains(id)).collect();
        let own = |operations: Vec<&OperationIr>| -> Vec<OperationIr> {
            operations.into_iter().cloned().collect()
        };
        let inputs_of_second = inputs.union(&handed).copied().collect();
        let first = Self::new(&own(first), inputs, &HashSet::new(), &handed);
        let second = Self::new(&own(second), &inputs_of_second, examples, wanted);
        (first, second)
    }

    /// Whether replaying it draws random numbers.
    pub(crate) fn is_random(&self) -> bool {
        self.operations.iter().any(is_random)
    }
}

/// The operations whose results `wanted` needs.
fn alive(
    operations: &[OperationIr],
    inputs: &HashSet<TensorId>,
    wanted: &HashSet<TensorId>,
) -> Vec<OperationIr> {
    let mut needed = wanted.clone();
    let mut kept = Vec::new();
    for op in operations.iter().rev() {
        let produces = |id: &TensorId| needed.contains(id) && !inputs.contains(id);
        if op.outputs().any(|out| produces(&out.id)) {
            needed.extend(op.inputs().map(|input| input.id));
            kept.push(op.clone());
        }
    }
    kept.reverse();
    kept
}

/// Closure of `batched` under the operations: a result is batched when an operand is. Random draws
/// are batched too, so that every example has its own.
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

/// Which operation computes each value.
pub(crate) fn producers(operations: &[OperationIr]) -> HashMap<TensorId, usize> {
    let mut producers = HashMap::new();
    for (index, op) in operations.iter().enumerate() {
        for out in op.outputs() {
            producers.insert(out.id, index);
        }
    }
    producers
}

pub(super) fn is_random(op: &OperationIr) -> bool {
    matches!(
        op,
        OperationIr::Float(_, FloatOperationIr::Random(_))
            | OperationIr::NumericInt(_, NumericOperationIr::IntRandom(_))
            | OperationIr::NumericFloat(_, NumericOperationIr::IntRandom(_))
    )
}
