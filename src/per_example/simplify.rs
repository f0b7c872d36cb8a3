//! Less work for the same answer: computes repeated expressions once, and backward passes by their
//! short formulas.
//!
//! burn differentiates operation by operation. Its backward pass therefore recomputes values of the
//! forward pass, and keeps more of them than a formula for the whole would. The trace shows the
//! whole.

mod reduced_product;
mod replace;
mod softmax;

use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

use burn_ir::{IrVisitorMut, OperationIr, TensorId, TensorIr, TensorStatus};

pub(super) use softmax::SoftmaxBackward;

use super::graph::is_random;
use super::trace::Trace;

/// Simplifies a trace. `inputs` are values given from outside; their producers are stand-ins.
pub(super) fn simplify(trace: &mut Trace, inputs: &HashSet<TensorId>) {
    let same = share(&mut trace.operations, inputs);
    let results = trace.gradients.iter_mut().flatten().chain([&mut trace.loss]);
    for id in results {
        *id = same.get(id).copied().unwrap_or(*id);
    }
    softmax::shorten(&mut trace.operations);
    reduced_product::shorten(&mut trace.operations, &trace.module);
}

/// Common subexpression elimination: drops every operation that repeats an earlier one, and returns
/// the replacements of its results. Two random draws are never the same.
fn share(
    operations: &mut Vec<OperationIr>,
    inputs: &HashSet<TensorId>,
) -> HashMap<TensorId, TensorId> {
    let mut replaced = Replaced::default();
    let mut known: HashMap<Box<Expression>, Vec<TensorId>> =
        HashMap::with_capacity(operations.len());
    operations.retain_mut(|op| {
        op.visit_mut(&mut replaced);
        let outputs: Vec<TensorId> = op.outputs().map(|out| out.id).collect();
        let opaque = outputs.is_empty()
            || is_random(op)
            || matches!(op, OperationIr::Init(_) | OperationIr::Custom(_))
            || outputs.iter().any(|id| inputs.contains(id));
        if opaque {
            return true;
        }
        match known.entry(Box::new(Expression::of(op, &outputs))) {
            Entry::Occupied(same) => {
                replaced.by.extend(outputs.into_iter().zip(same.get().iter().copied()));
                false
            }
            Entry::Vacant(new) => {
                new.insert(outputs);
                true
            }
        }
    });
    replaced.by
}

/// An operation without the names of its results.
struct Expression {
    anonymous: OperationIr,
    /// The hash of the whole expression. It takes numbers by their bits, so that 0 and −0 differ:
    /// they are equal, but not repetitions.
    hash: u64,
}

impl Expression {
    fn of(op: &OperationIr, outputs: &[TensorId]) -> Self {
        let mut anonymous = op.clone();
        anonymous.visit_mut(&mut Anonymous { outputs });
        let mut hasher = DefaultHasher::new();
        anonymous.hash(&mut hasher);
        Self { anonymous, hash: hasher.finish() }
    }
}

impl Hash for Expression {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.anonymous == other.anonymous
    }
}

/// An operation that contains NaN equals no other, and is computed again.
impl Eq for Expression {}

/// Renames values.
#[derive(Default)]
struct Replaced {
    by: HashMap<TensorId, TensorId>,
}

impl IrVisitorMut for Replaced {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        if let Some(id) = self.by.get(&tensor.id) {
            tensor.id = *id;
        }
    }
}

/// Removes the names of results, and the hints how burn's own runtime may use buffers.
struct Anonymous<'o> {
    outputs: &'o [TensorId],
}

impl IrVisitorMut for Anonymous<'_> {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        tensor.status = TensorStatus::ReadOnly;
        if let Some(place) = self.outputs.iter().position(|id| *id == tensor.id) {
            tensor.id = TensorId::new(u64::MAX - place as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, Param};
    use burn::tensor::activation::softmax;
    use burn::tensor::{Device, Distribution, Tensor};

    use crate::per_example::{Traced, verify};

    #[derive(Module, Debug)]
    struct Model {
        scale: Param<Tensor<2>>,
        shift: Param<Tensor<2>>,
    }

    fn model() -> Model {
        let device = Device::default().autodiff();
        // These have the same shape and, while tracing, the same stand-in, but never the same
        // value.
        let random = || Tensor::random([1, 5], Distribution::Default, &device);
        Model { scale: Param::from_tensor(random()), shift: Param::from_tensor(random()) }
    }

    fn loss(model: &Model, x: Tensor<2>, axis: usize) -> Tensor<1> {
        let y = x.clone() * model.scale.val() + model.shift.val();
        (softmax(y, axis) * x).powi_scalar(2).sum()
    }

    fn batch() -> Tensor<2> {
        Tensor::random([4, 5], Distribution::Default, &Device::default().autodiff())
    }

    #[test]
    fn softmax_in_short_form_is_exact_and_shorter() {
        verify(&model(), batch(), |m: &Model, x| loss(m, x, 1), 1e-4).unwrap();
        let mut engine = Traced::new(|m: &Model, x| loss(m, x, 1));
        let short = engine.explain(&model(), &batch()).unwrap().operations;
        // The operations of burn's own derivative of the same formula, operation by operation.
        let by_hand = |m: &Model, x: Tensor<2>| {
            let y = x.clone() * m.scale.val() + m.shift.val();
            let e = (y.clone() - y.detach().max_dim(1)).exp();
            let s = e.clone().sum_dim(1);
            ((e * s.recip()) * x).powi_scalar(2).sum()
        };
        verify(&model(), batch(), by_hand, 1e-4).unwrap();
        let long = Traced::new(by_hand).explain(&model(), &batch()).unwrap().operations;
        // The forward pass has one operation instead of five, the backward pass one instead of
        // nine.
        assert!(short + 12 <= long, "{short} operations against {long}");
    }

    #[test]
    fn parameters_of_one_shape_stay_apart() {
        let loss = |m: &Model, x: Tensor<2>| {
            ((x.clone() * m.scale.val()).tanh() + (x * m.shift.val()).tanh().powi_scalar(2)).sum()
        };
        verify(&model(), batch(), loss, 1e-4).unwrap();
    }

    #[test]
    fn what_is_written_twice_is_computed_once() {
        let once = |m: &Model, x: Tensor<2>| {
            let y = (x * m.scale.val()).exp();
            (y.clone() * y).sum()
        };
        let twice = |m: &Model, x: Tensor<2>| {
            let y = |x: Tensor<2>| (x * m.scale.val()).exp();
            (y(x.clone()) * y(x)).sum()
        };
        verify(&model(), batch(), twice, 1e-4).unwrap();
        let operations = |explained: crate::Result<crate::per_example::Explanation>| {
            explained.unwrap().operations
        };
        let once = operations(Traced::new(once).explain(&model(), &batch()));
        let twice = operations(Traced::new(twice).explain(&model(), &batch()));
        // Except for sums of gradients, which do not occur twice.
        assert!(twice <= once + 3, "{twice} operations against {once}");
    }
}
