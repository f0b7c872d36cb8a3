//! Rules of the operations that float and int share: arithmetic, reductions, order.

use burn_backend::{Backend, Scalar};
use burn_ir::{BinaryOpIr, NumericOperationIr, ReduceOpIr, ScalarOpIr, UnaryOpIr};

use super::base::rows;
use crate::error::Result;
use crate::per_example::replay::{Applied, Replay};
use crate::per_example::value::Value;

#[expect(clippy::too_many_lines, reason = "a table, one rule a line")]
pub(super) fn apply<B: Backend>(op: &NumericOperationIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    use NumericOperationIr as Op;
    let lead = r.lead();
    match op {
        Op::Add(o) => binary(o, r, Value::add),
        Op::Sub(o) => binary(o, r, Value::sub),
        Op::Mul(o) => binary(o, r, Value::mul),
        Op::Div(o) => binary(o, r, Value::div),
        Op::Rem(o) => binary(o, r, Value::rem),
        Op::Powi(o) => binary(o, r, Value::powi),

        Op::AddScalar(o) => scalar(o, r, Value::add_scalar),
        Op::SubScalar(o) => scalar(o, r, Value::sub_scalar),
        Op::MulScalar(o) => scalar(o, r, Value::mul_scalar),
        Op::DivScalar(o) => scalar(o, r, Value::div_scalar),
        Op::RemScalar(o) => scalar(o, r, Value::rem_scalar),
        Op::PowiScalar(o) => scalar(o, r, Value::powi_scalar),
        Op::ClampMin(o) => scalar(o, r, Value::clamp_min),
        Op::ClampMax(o) => scalar(o, r, Value::clamp_max),
        Op::Clamp(o) => {
            let x = r.arg(&o.tensor)?;
            r.put(&o.out, x.clamp(o.min.into(), o.max.into())?)
        }

        Op::Abs(o) => unary(o, r, Value::abs),
        Op::Neg(o) => unary(o, r, Value::neg),
        Op::Sign(o) => unary(o, r, Value::sign),

        Op::Greater(o) => binary(o, r, |a, b| a.greater(b, o.out.dtype)),
        Op::GreaterEqual(o) => binary(o, r, |a, b| a.greater_equal(b, o.out.dtype)),
        Op::Lower(o) => binary(o, r, |a, b| a.lower(b, o.out.dtype)),
        Op::LowerEqual(o) => binary(o, r, |a, b| a.lower_equal(b, o.out.dtype)),
        Op::GreaterElem(o) => scalar(o, r, |a, s| a.greater_elem(s, o.out.dtype)),
        Op::GreaterEqualElem(o) => scalar(o, r, |a, s| a.greater_equal_elem(s, o.out.dtype)),
        Op::LowerElem(o) => scalar(o, r, |a, s| a.lower_elem(s, o.out.dtype)),
        Op::LowerEqualElem(o) => scalar(o, r, |a, s| a.lower_equal_elem(s, o.out.dtype)),

        Op::Sum(o) => reduce(o, r, |x| x.sum_dim(1)),
        Op::Mean(o) => reduce(o, r, |x| x.mean_dim(1)),
        Op::Prod(o) => reduce(o, r, |x| x.prod_dim(1)),
        Op::Max(o) => reduce(o, r, |x| x.max_dim(1)),
        Op::Min(o) => reduce(o, r, |x| x.min_dim(1)),
        Op::MaxAbs(o) => reduce(o, r, |x| x.max_abs_dim(1)),

        Op::SumDim(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.sum_dim(o.axis + lead)?)
        }
        Op::SumDims(o) => {
            let x = r.arg(&o.input)?;
            let sum = o.axes.iter().try_fold(x, |x, axis| x.sum_dim(axis + lead))?;
            let shape = r.shape(&o.out);
            r.put(&o.out, sum.reshape(shape))
        }
        Op::MeanDim(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.mean_dim(o.axis + lead)?)
        }
        Op::ProdDim(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.prod_dim(o.axis + lead)?)
        }
        Op::MaxDim(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.max_dim(o.axis + lead)?)
        }
        Op::MinDim(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.min_dim(o.axis + lead)?)
        }
        Op::MaxAbsDim(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.max_abs_dim(o.axis + lead)?)
        }

        Op::ArgMax(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.argmax(o.axis + lead, o.out.dtype)?)
        }
        Op::ArgMin(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.argmin(o.axis + lead, o.out.dtype)?)
        }
        // For the top-k operations the "accumulator length" is k.
        Op::ArgTopK(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.argtopk(o.axis + lead, o.accumulator_len, o.out.dtype)?)
        }
        Op::TopK(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.topk(o.axis + lead, o.accumulator_len)?)
        }
        Op::TopKWithIndices(o) => {
            let x = r.arg(&o.tensor)?;
            let (values, indices) = x.topk_with_indices(o.dim + lead, o.k, o.out_indices.dtype)?;
            r.put(&o.out, values)?;
            r.put(&o.out_indices, indices)
        }
        Op::MaxDimWithIndices(o) => {
            let x = r.arg(&o.tensor)?;
            let (values, indices) = x.max_dim_with_indices(o.dim + lead, o.out_indices.dtype)?;
            r.put(&o.out, values)?;
            r.put(&o.out_indices, indices)
        }
        Op::MinDimWithIndices(o) => {
            let x = r.arg(&o.tensor)?;
            let (values, indices) = x.min_dim_with_indices(o.dim + lead, o.out_indices.dtype)?;
            r.put(&o.out, values)?;
            r.put(&o.out_indices, indices)
        }

        Op::CumSum(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.cumsum(o.axis + lead)?)
        }
        Op::CumProd(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.cumprod(o.axis + lead)?)
        }
        Op::CumMin(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.cummin(o.axis + lead)?)
        }
        Op::CumMax(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.cummax(o.axis + lead)?)
        }

        Op::Sort(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.sort(o.dim + lead, o.descending)?)
        }
        Op::SortWithIndices(o) => {
            let x = r.arg(&o.input)?;
            let dim = o.dim + lead;
            let (values, indices) = x.sort_with_indices(dim, o.descending, o.out_indices.dtype)?;
            r.put(&o.out, values)?;
            r.put(&o.out_indices, indices)
        }
        Op::ArgSort(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.argsort(o.dim + lead, o.descending, o.out.dtype)?)
        }

        Op::Pad(o) => {
            let x = r.arg(&o.input)?;
            let padding: Vec<_> =
                std::iter::repeat_n((0, 0), lead).chain(o.padding.iter().copied()).collect();
            r.put(&o.out, x.pad(&padding, o.mode.into())?)
        }

        Op::Full(o) => {
            let full = Value::full(r.shape(&o.out), o.value.into(), r.device(), o.out.dtype);
            r.put(&o.out, full)
        }
        Op::IntRandom(o) => {
            let shape = r.shape(&o.out);
            let random = B::int_random(shape, o.distribution, r.device(), o.out.dtype.into());
            r.put(&o.out, Value::Int(random))
        }
    }
}

pub(super) fn unary<B: Backend>(
    o: &UnaryOpIr,
    r: &mut Replay<'_, B>,
    f: impl FnOnce(Value<B>) -> Result<Value<B>>,
) -> Result<Applied> {
    let x = r.arg(&o.input)?;
    r.put(&o.out, f(x)?)
}

pub(super) fn binary<B: Backend>(
    o: &BinaryOpIr,
    r: &mut Replay<'_, B>,
    f: impl FnOnce(Value<B>, Value<B>) -> Result<Value<B>>,
) -> Result<Applied> {
    let (a, b) = (r.arg(&o.lhs)?, r.arg(&o.rhs)?);
    r.put(&o.out, f(a, b)?)
}

pub(super) fn scalar<B: Backend>(
    o: &ScalarOpIr,
    r: &mut Replay<'_, B>,
    f: impl FnOnce(Value<B>, Scalar) -> Result<Value<B>>,
) -> Result<Applied> {
    let x = r.arg(&o.lhs)?;
    r.put(&o.out, f(x, o.rhs.into())?)
}

/// A reduction of a whole example to one number.
fn reduce<B: Backend>(
    o: &ReduceOpIr,
    r: &mut Replay<'_, B>,
    f: impl FnOnce(Value<B>) -> Result<Value<B>>,
) -> Result<Applied> {
    let shape = r.shape(&o.out);
    let x = rows(r.arg(&o.input)?, r.lead());
    r.put(&o.out, f(x)?.reshape(shape))
}
