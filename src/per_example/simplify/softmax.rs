//! Softmax as one operation, forward and backward.
//!
//! burn computes P = E / s, E = e^(x − max), s = Σ E, in five passes, and differentiates them step by step:
//!
//! ```text
//! (1 · Σ (dP · (−E / s²)) + dP · (1 / s)) · E
//! ```
//!
//! This equals P · (dP − Σ (dP · P)). Of x, E and P only P is kept. For attention, P is the largest
//! value of all.

use std::collections::HashMap;

use burn_ir::{
    ActivationOperationIr, BaseOperationIr, BinaryOpIr, CustomOpIr, DimOpIr, FloatOperationIr,
    NumericOperationIr, OperationIr, ReduceDimOpIr, ScalarIr, TensorId, TensorIr,
};

use super::replace::replace;

/// Replaces each such pass. The graph drops the operations that only the old form needed.
pub(super) fn shorten(operations: &mut Vec<OperationIr>) {
    let is_exponential = |op| matches!(op, &OperationIr::Float(_, FloatOperationIr::Exp(_)));
    if !operations.iter().any(is_exponential) {
        return;
    }
    rewrite(operations, |finder, op| finder.backward(op));
    // Once the backward pass no longer reads E and s, they are only steps on the way to P.
    rewrite(operations, |finder, op| finder.forward(op));
}

fn rewrite(
    operations: &mut Vec<OperationIr>,
    find: impl Fn(&Finder<'_>, &OperationIr) -> Option<OperationIr>,
) {
    let found: HashMap<usize, OperationIr> = {
        let finder = Finder::new(operations);
        let matches = operations.iter().enumerate();
        matches.filter_map(|(index, op)| Some((index, find(&finder, op)?))).collect()
    };
    replace(operations, found, |short, _| vec![short]);
}

/// P · (dP − Σ (dP · P)) along an axis. burn's representation has no operation for it.
pub(in crate::per_example) struct SoftmaxBackward<'o> {
    /// P
    pub(in crate::per_example) result: &'o TensorIr,
    /// dP
    pub(in crate::per_example) gradient: &'o TensorIr,
    pub(in crate::per_example) axis: usize,
    pub(in crate::per_example) out: &'o TensorIr,
}

impl<'o> SoftmaxBackward<'o> {
    const NAME: &'static str = "burn_dp::softmax_backward";

    pub(in crate::per_example) fn operation(&self) -> OperationIr {
        let inputs = [self.result.clone(), self.gradient.clone()];
        let axis = ScalarIr::UInt(self.axis as u64);
        let outputs = [self.out.clone()];
        OperationIr::Custom(CustomOpIr::with_scalars(Self::NAME, &inputs, &outputs, vec![axis]))
    }

    /// The operands of a custom operation, if it is this one.
    pub(in crate::per_example) fn of(op: &'o CustomOpIr) -> Option<Self> {
        match (op.id.as_str(), &op.inputs[..], &op.outputs[..], &op.scalars[..]) {
            (Self::NAME, [result, gradient], [out], [ScalarIr::UInt(axis)]) => {
                Some(Self { result, gradient, axis: *axis as usize, out })
            }
            _ => None,
        }
    }
}

/// Looks for the patterns.
struct Finder<'o> {
    producers: HashMap<TensorId, &'o OperationIr>,
    /// Quotients by numerator and denominator.
    quotients: HashMap<(TensorId, TensorId), &'o TensorIr>,
    /// The first summand of nested sums over one axis. All but one of the summed axes have length
    /// one, where a sum changes nothing.
    summed: HashMap<TensorId, TensorId>,
}

impl<'o> Finder<'o> {
    fn new(operations: &'o [OperationIr]) -> Self {
        let (producers, quotients, summed) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut finder = Self { producers, quotients, summed };
        for op in operations {
            match op {
                OperationIr::NumericFloat(_, NumericOperationIr::Div(o)) => {
                    finder.quotients.insert((o.lhs.id, o.rhs.id), &o.out);
                }
                OperationIr::NumericFloat(_, NumericOperationIr::SumDim(o)) => {
                    let inner = finder.sum(o.input.id).filter(|inner| inner.axis == o.axis);
                    let first = inner.and_then(|inner| finder.summed.get(&inner.out.id));
                    let first = first.copied().unwrap_or(o.input.id);
                    finder.summed.insert(o.out.id, first);
                }
                _ => {}
            }
            finder.producers.extend(op.outputs().map(|out| (out.id, op)));
        }
        finder
    }

    /// `E / s`, with E = e^(x − max).
    fn forward(&self, op: &OperationIr) -> Option<OperationIr> {
        let OperationIr::NumericFloat(_, NumericOperationIr::Div(quotient)) = op else {
            return None;
        };
        let sum = self.sum(quotient.rhs.id).filter(|sum| sum.input.id == quotient.lhs.id)?;
        let OperationIr::Float(_, FloatOperationIr::Exp(exponential)) =
            self.producers.get(&quotient.lhs.id)?
        else {
            return None;
        };
        let NumericOperationIr::Sub(shifted) = self.numeric(exponential.input.id)? else {
            return None;
        };
        let NumericOperationIr::MaxDim(largest) = self.numeric(shifted.rhs.id)? else {
            return None;
        };
        let same = largest.input.id == shifted.lhs.id
            && largest.axis == sum.axis
            && shifted.lhs.shape == quotient.out.shape;
        let softmax =
            || DimOpIr { input: shifted.lhs.clone(), axis: sum.axis, out: quotient.out.clone() };
        same.then(|| OperationIr::Activation(ActivationOperationIr::Softmax(softmax())))
    }

    /// `(spread + share) · E`
    fn backward(&self, op: &OperationIr) -> Option<OperationIr> {
        let OperationIr::NumericFloat(_, NumericOperationIr::Mul(last)) = op else { return None };
        let orders = |o: &'o BinaryOpIr| [(&o.lhs, &o.rhs), (&o.rhs, &o.lhs)];
        for (inner, exponential) in [(&last.lhs, &last.rhs), (&last.rhs, &last.lhs)] {
            if !self.is_exponential(exponential.id) {
                continue;
            }
            let Some(NumericOperationIr::Add(add)) = self.numeric(inner.id) else { continue };
            for (spread, share) in orders(add) {
                let found = self.share(share.id).and_then(|(gradient, sum)| {
                    let of = sum.input.id == exponential.id;
                    let spreads = of && self.spreads(spread.id, gradient.id, sum);
                    spreads.then_some((gradient, sum))
                });
                let Some((gradient, sum)) = found else { continue };
                let result = *self.quotients.get(&(exponential.id, sum.out.id))?;
                if gradient.shape != last.out.shape || result.shape != last.out.shape {
                    continue;
                }
                let (axis, out) = (sum.axis, &last.out);
                return Some(SoftmaxBackward { result, gradient, axis, out }.operation());
            }
        }
        None
    }

    /// Finds `dP · (1 / s)` with s = Σ E. Returns dP and the sum.
    fn share(&self, id: TensorId) -> Option<(&'o TensorIr, &'o ReduceDimOpIr)> {
        let NumericOperationIr::Mul(o) = self.numeric(id)? else { return None };
        [(&o.lhs, &o.rhs), (&o.rhs, &o.lhs)].into_iter().find_map(|(gradient, reciprocal)| {
            let OperationIr::Float(_, FloatOperationIr::Recip(recip)) =
                self.producers.get(&reciprocal.id)?
            else {
                return None;
            };
            Some((gradient, self.sum(recip.input.id)?))
        })
    }

    /// Whether this is `1 · Σ (dP · (−E / s²))`, or the same without the ones.
    fn spreads(&self, id: TensorId, gradient: TensorId, sum: &ReduceDimOpIr) -> bool {
        let total = match self.numeric(id) {
            Some(NumericOperationIr::Mul(o)) => {
                match (self.is_ones(o.lhs.id), self.is_ones(o.rhs.id)) {
                    (true, _) => o.rhs.id,
                    (_, true) => o.lhs.id,
                    _ => return false,
                }
            }
            _ => id,
        };
        let Some(reduced) = self.sum(total).filter(|o| o.axis == sum.axis) else {
            return false;
        };
        let first = self.summed.get(&reduced.out.id).copied().unwrap_or(reduced.input.id);
        let Some(NumericOperationIr::Mul(product)) = self.numeric(first) else {
            return false;
        };
        let factors = [(product.lhs.id, product.rhs.id), (product.rhs.id, product.lhs.id)];
        factors.into_iter().any(|(dp, slope)| dp == gradient && self.is_slope(slope, sum))
    }

    /// Whether this is `−E / s²`.
    fn is_slope(&self, id: TensorId, sum: &ReduceDimOpIr) -> bool {
        let Some(NumericOperationIr::Div(o)) = self.numeric(id) else { return false };
        let negated = match self.numeric(o.lhs.id) {
            Some(NumericOperationIr::Neg(neg)) => neg.input.id == sum.input.id,
            _ => false,
        };
        let squared = match self.numeric(o.rhs.id) {
            Some(NumericOperationIr::Mul(s)) => [s.lhs.id, s.rhs.id] == [sum.out.id; 2],
            _ => false,
        };
        negated && squared
    }

    fn is_exponential(&self, id: TensorId) -> bool {
        matches!(self.producers.get(&id), Some(OperationIr::Float(_, FloatOperationIr::Exp(_))))
    }

    fn is_ones(&self, id: TensorId) -> bool {
        matches!(self.producers.get(&id), Some(OperationIr::BaseFloat(BaseOperationIr::Ones(_))))
    }

    fn sum(&self, id: TensorId) -> Option<&'o ReduceDimOpIr> {
        match self.numeric(id)? {
            NumericOperationIr::SumDim(o) => Some(o),
            _ => None,
        }
    }

    fn numeric(&self, id: TensorId) -> Option<&'o NumericOperationIr> {
        match self.producers.get(&id)? {
            OperationIr::NumericFloat(_, op) => Some(op),
            _ => None,
        }
    }
}
