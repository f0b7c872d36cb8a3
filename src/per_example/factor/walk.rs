//! From gradients back through the trace to their factors.
//!
//! The walk starts at the gradients and looks through additions (several uses of one parameter),
//! reshapes, transpositions, scalar factors, masks and products with shared matrices (LoRA). A
//! gradient that comes from any other operation is materialized, which is always correct.
//!
//! It visits values, never paths, because there may be 2ⁿ paths. First it visits every value once,
//! to find its form ([`StackedMatrices`]). Then it visits, for each gradient, the values under it,
//! last first. So when a value is visited, all ways from it to the gradient are known.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use burn_ir::{OperationIr, TensorId, TensorIr};

use super::change::Change;
use super::factored::{Factored, Use, Work};
use super::leaf::Leaf;
use super::link::Link;
use super::stacked_matrices::{Effect, StackedMatrices};
use super::ways::{Matrices, Way};

/// The most ways from one value to one gradient. The number doubles whenever a value is added to a
/// product of itself, as in `h + hA`. Each way is a use of its own at replay, so with many ways the
/// gradient is better materialized.
const MAX_WAYS: usize = 4;

/// Finds factors in a traced graph.
pub(crate) struct Factorizer {
    producers: HashMap<TensorId, usize>,
    /// The values that factor, by the operation that computes them.
    nodes: HashMap<usize, Node>,
    /// The number of times that a value was visited.
    visits: Cell<usize>,
}

/// A value that factors.
struct Node {
    matrices: Rc<StackedMatrices>,
    kind: Kind,
    /// Whether the loss needs the value, or one that this value only rearranges.
    is_forward: bool,
    /// The cost of the trace's own operation.
    work: Option<Work>,
}

enum Kind {
    Sum([usize; 2]),
    Step { input: usize, effect: Effect },
    Leaf(Box<Use>),
}

impl Factorizer {
    /// Analyzes all values on which any of the `gradients` may depend.
    pub(crate) fn new(
        operations: &[OperationIr],
        batched: &HashSet<TensorId>,
        loss: TensorId,
        gradients: impl Iterator<Item = TensorId>,
    ) -> Self {
        let mut producers = HashMap::with_capacity(operations.len());
        for (index, op) in operations.iter().enumerate() {
            producers.extend(op.outputs().map(|out| (out.id, index)));
        }
        let visits = Cell::new(0);
        let mut factorizer = Self { producers, nodes: HashMap::new(), visits };
        let is_batched = |tensor: &TensorIr| batched.contains(&tensor.id);
        // First backwards, to find the values that may matter; then forwards, to find their form,
        // because inputs come before results.
        let mut wanted: HashSet<TensorId> = gradients.collect();
        let mut forward = HashSet::from([loss]);
        let mut links = Vec::new();
        for (index, op) in operations.iter().enumerate().rev() {
            let is_forward = op.outputs().any(|out| forward.contains(&out.id));
            if is_forward {
                forward.extend(op.inputs().map(|input| input.id));
            }
            let Some(out) = op.outputs().find(|out| wanted.contains(&out.id)) else { continue };
            if !is_batched(out) {
                continue;
            }
            factorizer.visit();
            let Some(link) = Link::of(op, is_batched) else { continue };
            wanted.extend(link.inputs());
            links.push((index, link, is_forward));
        }
        for (index, link, is_forward) in links.into_iter().rev() {
            factorizer.visit();
            if let Some(node) = factorizer.node(link, is_forward) {
                factorizer.nodes.insert(index, node);
            }
        }
        factorizer
    }

    fn visit(&self) {
        self.visits.set(self.visits.get() + 1);
    }

    fn node(&self, link: Link<'_>, is_forward: bool) -> Option<Node> {
        match link {
            Link::Leaf(leaf) => Some(leaf.into_node(is_forward)),
            Link::Sum(terms) => {
                let [one, other] = terms.map(|id| self.find(id));
                let ((one, first), (other, second)) = (one?, other?);
                let alike = Rc::ptr_eq(&first.matrices, &second.matrices)
                    || first.matrices == second.matrices;
                alike.then(|| Node {
                    matrices: first.matrices.clone(),
                    kind: Kind::Sum([one, other]),
                    is_forward: is_forward || first.is_forward && second.is_forward,
                    work: None,
                })
            }
            Link::Step { input, change, product } => {
                let step = self.find(input).and_then(|(index, node)| {
                    // A product with a value that the loss needs anyway is a contraction of it:
                    // looking into that value saves nothing.
                    let looks_through = product.is_none() || !node.is_forward;
                    looks_through.then(|| node.followed_by(index, &change, is_forward))?
                });
                let leaf = || Some(Leaf::product(product?)?.into_node(is_forward));
                step.or_else(leaf)
            }
        }
    }

    fn find(&self, id: TensorId) -> Option<(usize, &Node)> {
        let index = *self.producers.get(&id)?;
        self.nodes.get(&index).map(|node| (index, node))
    }

    /// The factors of the gradient `id`; `None` where it is better materialized, or has to be.
    pub(crate) fn factor(&self, id: TensorId) -> Option<Factored> {
        let (start, root) = self.find(id)?;
        let mut pending = BTreeMap::from([(start, vec![Way::start()])]);
        let mut matrices = Matrices::default();
        let mut uses = Vec::new();
        let mut unfactored = Vec::new();
        // Operations come after the values that they read. So no more ways can be added to the last
        // value.
        while let Some((index, ways)) = pending.pop_last() {
            self.visit();
            let Node { kind, work, .. } = self.nodes.get(&index)?;
            unfactored.extend(work);
            for way in ways {
                match kind {
                    Kind::Sum([one, other]) => {
                        join(&mut pending, *one, way.clone())?;
                        join(&mut pending, *other, way)?;
                    }
                    Kind::Step { input, effect } => {
                        join(&mut pending, *input, way.after(effect, &mut matrices)?)?;
                    }
                    Kind::Leaf(use_) => uses.push(way.applied(use_, &matrices)?),
                }
            }
        }
        let StackedMatrices { groups, rows, cols, ref layout, .. } = *root.matrices;
        let unfactored = unfactored.into_iter().copied().sum();
        Some(Factored { uses, groups, rows, cols, layout: layout.clone(), unfactored })
    }
}

/// Adds a way from the value at `index`. If the same way exists, adds the scales. Returns `None` if
/// there are too many ways.
fn join(pending: &mut BTreeMap<usize, Vec<Way>>, index: usize, way: Way) -> Option<()> {
    let ways = pending.entry(index).or_default();
    match ways.iter().position(|other| other.is_alike(&way)) {
        Some(same) => ways[same].scale += way.scale,
        None => ways.push(way),
    }
    (ways.len() <= MAX_WAYS).then_some(())
}

impl Node {
    /// The value after a step from this one. `index` is the place of this value.
    fn followed_by(&self, index: usize, change: &Change<'_>, is_forward: bool) -> Option<Self> {
        let (matrices, effect) = self.matrices.after(change)?;
        // Consecutive steps that only scale become one, so that no chain of them is walked for
        // every gradient.
        let kind = match (&self.kind, effect) {
            (Kind::Step { input, effect: Effect::Scaled(before) }, Effect::Scaled(factor)) => {
                Kind::Step { input: *input, effect: Effect::Scaled(before * factor) }
            }
            (_, effect) => Kind::Step { input: index, effect },
        };
        let product = match change {
            Change::Times { matrix, .. } => Some((self.matrices.rows, matrix)),
            Change::Under { matrix, .. } => Some((self.matrices.cols, matrix)),
            _ => None,
        };
        let work = product.map(|(rows, matrix)| Work::product(rows, matrix.shape.num_elements()));
        let is_forward = is_forward || self.is_forward && work.is_none();
        Some(Self { matrices, kind, is_forward, work })
    }
}

impl Leaf {
    fn into_node(self, is_forward: bool) -> Node {
        let Self { use_, matrices } = self;
        let entries = matrices.groups.saturating_mul(matrices.rows * matrices.cols);
        let work = Some(Work::product(use_.length, entries));
        Node { matrices: Rc::new(matrices), kind: Kind::Leaf(Box::new(use_)), is_forward, work }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use burn::module::Param;
    use burn::tensor::{Device, Distribution, Tensor};

    use super::Factorizer;
    use crate::model::ModuleTensors;
    use crate::per_example::graph::depends_on_example;
    use crate::per_example::simplify::simplify;
    use crate::per_example::trace::trace;

    type Matrix = Param<Tensor<2>>;

    /// The number of operations of the trace, and the number of visits of the walk.
    fn visits(loss: impl Fn(&(Matrix, Matrix), Tensor<2>) -> Tensor<1>) -> (usize, usize) {
        let device = Device::default().autodiff();
        let random = |shape| Tensor::random(shape, Distribution::Default, &device);
        let model = (Param::from_tensor(random([3, 3])), Param::from_tensor(random([1, 3])));
        let tensors = ModuleTensors::of(&model).unwrap();
        let mut trace = trace(&model, &tensors, &random([2, 3]), &loss).unwrap();
        let inputs: HashSet<_> = trace.module.iter().chain(&trace.batch).copied().collect();
        simplify(&mut trace, &inputs);
        let examples = trace.batch.iter().copied().collect();
        let batched = depends_on_example(&trace.operations, &examples);
        let gradients = trace.gradients.iter().flatten().copied();
        let walk = Factorizer::new(&trace.operations, &batched, trace.loss, gradients.clone());
        gradients.for_each(|id| drop(walk.factor(id)));
        (trace.operations.len(), walk.visits.get())
    }

    /// The most visits of a value per operation.
    const LOOKS: usize = 4;

    #[test]
    fn every_value_is_looked_at_a_bounded_number_of_times() {
        for length in [8, 16, 64, 256] {
            let recurrence = |nonlinear: bool| {
                move |(a, c): &(Matrix, Matrix), x: Tensor<2>| {
                    let start = x.matmul(a.val());
                    let h = (0..length)
                        .fold(start, |h, _| h.clone() * 0.9 + h.matmul(a.val()) + c.val());
                    if nonlinear { h.tanh().matmul(a.val()).sum() } else { h.sum() }
                }
            };
            let iterated = |(a, c): &(Matrix, Matrix), x: Tensor<2>| {
                let a = (0..length).fold(a.val(), |a, _| a.clone() * 1.5 - a.clone().matmul(a));
                (x.matmul(a) + c.val()).powi_scalar(2).sum()
            };
            let scaled = |(a, c): &(Matrix, Matrix), x: Tensor<2>| {
                let a = (0..length).fold(a.val(), |a, _| (a * 0.9).transpose());
                let c = (0..length).fold(c.val(), |c, _| c.clone() * 0.5 + c);
                (x.matmul(a) + c).powi_scalar(2).sum()
            };
            for (operations, visits) in [
                visits(recurrence(true)),
                visits(recurrence(false)),
                visits(iterated),
                visits(scaled),
            ] {
                assert!(visits <= LOOKS * operations, "{visits} looks at {operations} values");
            }
        }
    }
}
