//! The backward pass of softmax from its result alone.
//!
//! burn differentiates P = E / s, E = e^(x − max), s = Σ E, step by step:
//!
//! ```text
//! (1 · Σ (dP · (−E / s²)) + dP · (1 / s)) · E
//! ```
//!
//! which is P · (dP − Σ (dP · P)): four passes instead of ten, and of E and P only P is kept, which for
//! attention is the largest value of all.

use std::collections::HashMap;

use burn_ir::{
    BaseOperationIr, BinaryOpIr, FloatOperationIr, NumericOperationIr, OperationIr, ReduceDimOpIr,
    TensorId, TensorIr,
};

use super::{Fresh, replace};

/// Replaces each such backward pass; what it needed before is left for the graph to drop.
pub(super) fn shorten(operations: &mut Vec<OperationIr>) {
    let found: HashMap<usize, Softmax> = {
        let finder = Finder::new(operations);
        let matches = operations.iter().enumerate();
        matches.filter_map(|(index, op)| Some((index, finder.backward(op)?))).collect()
    };
    replace(operations, |index, fresh| Some(found.get(&index)?.backward(fresh).into()));
}

/// What the short form is made of.
struct Softmax {
    /// P
    result: TensorIr,
    /// dP
    gradient: TensorIr,
    /// Σ E, for its axis.
    sum: ReduceDimOpIr,
    /// What the backward pass computes.
    out: TensorIr,
}

impl Softmax {
    fn backward(&self, fresh: &mut Fresh) -> [OperationIr; 4] {
        let Self { result, gradient, sum, out } = self;
        let mut like = |value: &TensorIr| fresh.value(value.shape.clone(), value.dtype);
        let (product, total, centred) = (like(out), like(&sum.out), like(out));
        let float = |op| OperationIr::NumericFloat(out.dtype, op);
        let binary = |lhs: &TensorIr, rhs: &TensorIr, out: &TensorIr| BinaryOpIr {
            lhs: lhs.clone(),
            rhs: rhs.clone(),
            out: out.clone(),
        };
        let reduce = ReduceDimOpIr { input: product.clone(), out: total.clone(), ..sum.clone() };
        [
            float(NumericOperationIr::Mul(binary(gradient, result, &product))),
            float(NumericOperationIr::SumDim(reduce)),
            float(NumericOperationIr::Sub(binary(gradient, &total, &centred))),
            float(NumericOperationIr::Mul(binary(&centred, result, out))),
        ]
    }
}

/// Looks for the pattern.
struct Finder<'o> {
    producers: HashMap<TensorId, &'o OperationIr>,
    /// Quotients by numerator and denominator.
    quotients: HashMap<(TensorId, TensorId), &'o TensorIr>,
}

impl<'o> Finder<'o> {
    fn new(operations: &'o [OperationIr]) -> Self {
        let mut finder = Self { producers: HashMap::new(), quotients: HashMap::new() };
        for op in operations {
            finder.producers.extend(op.outputs().map(|out| (out.id, op)));
            if let OperationIr::NumericFloat(_, NumericOperationIr::Div(o)) = op {
                finder.quotients.insert((o.lhs.id, o.rhs.id), &o.out);
            }
        }
        finder
    }

    /// `(spread + share) · E`
    fn backward(&self, op: &OperationIr) -> Option<Softmax> {
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
                return Some(Softmax {
                    result: result.clone(),
                    gradient: gradient.clone(),
                    sum: sum.clone(),
                    out: last.out.clone(),
                });
            }
        }
        None
    }

    /// `dP · (1 / s)` with s = Σ E: dP and the sum.
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

    /// Whether this is `1 · Σ (dP · (−E / s²))`, or that without the ones.
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
        let Some(mut reduced) = self.sum(total).filter(|o| o.axis == sum.axis) else {
            return false;
        };
        // A sum over an axis of length one changes nothing.
        while let Some(inner) = self.sum(reduced.input.id).filter(|o| o.axis == sum.axis) {
            reduced = inner;
        }
        let Some(NumericOperationIr::Mul(product)) = self.numeric(reduced.input.id) else {
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
