//! Rules of the operations that every kind of tensor has: views, joins, masks, equality.

use burn_backend::{Backend, Shape, Slice};
use burn_ir::{BaseOperationIr, ShapeOpIr};

use super::index;
use crate::error::Result;
use crate::per_example::replay::{Applied, Replay};
use crate::per_example::value::Value;

#[expect(clippy::too_many_lines, reason = "a table, one rule a line")]
pub(super) fn apply<B: Backend>(op: &BaseOperationIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    use BaseOperationIr as Op;
    let lead = r.lead();
    match op {
        Op::Reshape(o) => {
            let shape = r.shape(&o.out);
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.reshape(shape))
        }
        Op::SwapDims(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.swap_dims(o.dim1 + lead, o.dim2 + lead))
        }
        Op::Permute(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.permute(&behind_lead(lead, &o.axes)))
        }
        Op::Flip(o) => {
            let x = r.arg(&o.input)?;
            let axes: Vec<usize> = o.axes.iter().map(|axis| axis + lead).collect();
            r.put(&o.out, x.flip(&axes))
        }
        Op::Expand(o) => expand(o, r),
        Op::Unfold(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.unfold(o.dim + lead, o.size, o.step))
        }
        Op::Slice(o) => {
            let x = r.arg(&o.tensor)?;
            r.put(&o.out, x.slice(&whole_then(lead, &o.ranges)))
        }
        Op::SliceAssign(o) => {
            let (x, value) = (r.full(&o.tensor)?, r.full(&o.value)?);
            r.put(&o.out, x.slice_assign(&whole_then(lead, &o.ranges), value)?)
        }
        Op::Select(o) => index::select(o, r),
        Op::SelectAssign(o) => index::select_assign(o, r),
        Op::Gather(o) => index::gather(o, r),
        Op::Scatter(o) => index::scatter(o, r),
        Op::GatherNd(o) => index::gather_nd(o, r),
        Op::ScatterNd(o) => index::scatter_nd(o, r),
        Op::MaskWhere(o) => {
            let (x, mask, value) = (r.full(&o.tensor)?, r.full_bool(&o.mask)?, r.full(&o.value)?);
            r.put(&o.out, x.mask_where(mask, value)?)
        }
        Op::MaskFill(o) => {
            let (x, mask) = (r.full(&o.tensor)?, r.full_bool(&o.mask)?);
            r.put(&o.out, x.mask_fill(mask, o.value.into()))
        }
        Op::Equal(o) => {
            let (a, b) = (r.arg(&o.lhs)?, r.arg(&o.rhs)?);
            r.put(&o.out, a.equal(b, o.out.dtype)?)
        }
        Op::NotEqual(o) => {
            let (a, b) = (r.arg(&o.lhs)?, r.arg(&o.rhs)?);
            r.put(&o.out, a.not_equal(b, o.out.dtype)?)
        }
        Op::EqualElem(o) => {
            let x = r.arg(&o.lhs)?;
            r.put(&o.out, x.equal_elem(o.rhs.into(), o.out.dtype))
        }
        Op::NotEqualElem(o) => {
            let x = r.arg(&o.lhs)?;
            r.put(&o.out, x.not_equal_elem(o.rhs.into(), o.out.dtype))
        }
        Op::RepeatDim(o) => {
            let x = r.arg(&o.tensor)?;
            r.put(&o.out, x.repeat_dim(o.dim + lead, o.times))
        }
        Op::Cat(o) => {
            let parts = o.tensors.iter().map(|t| r.full(t)).collect::<Result<Vec<_>>>()?;
            r.put(&o.out, Value::cat(parts, o.dim + lead)?)
        }
        Op::Cast(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.cast(o.out.dtype)?)
        }
        // `Empty` promises no contents. Zeros keep a replay deterministic.
        Op::Empty(o) | Op::Zeros(o) => {
            let zeros = Value::zeros(r.shape(&o.out), r.device(), o.out.dtype);
            r.put(&o.out, zeros)
        }
        Op::Ones(o) => {
            let ones = Value::ones(r.shape(&o.out), r.device(), o.out.dtype);
            r.put(&o.out, ones)
        }
        Op::All(o) => {
            let (x, shape) = (r.arg(&o.input)?, r.shape(&o.out));
            r.put(&o.out, rows(x, lead).all_dim(1, o.out.dtype).reshape(shape))
        }
        Op::Any(o) => {
            let (x, shape) = (r.arg(&o.input)?, r.shape(&o.out));
            r.put(&o.out, rows(x, lead).any_dim(1, o.out.dtype).reshape(shape))
        }
        Op::AllDim(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.all_dim(o.axis + lead, o.out.dtype))
        }
        Op::AnyDim(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.any_dim(o.axis + lead, o.out.dtype))
        }
    }
}

/// `[examples, everything else]`, or one row if nothing is batched. A reduction of a whole example
/// works on this form.
pub(super) fn rows<B: Backend>(x: Value<B>, lead: usize) -> Value<B> {
    let shape = x.shape();
    let examples = if lead == 1 { shape[0] } else { 1 };
    let rest = shape.num_elements().checked_div(examples).unwrap_or(0);
    x.reshape(Shape::from(vec![examples, rest]))
}

/// An expansion may also add axes in front of the traced shape. They go behind the batch axis.
fn expand<B: Backend>(o: &ShapeOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    let lead = r.lead();
    let out = r.shape(&o.out);
    let x = r.arg(&o.input)?;
    let have = x.shape();
    let missing = out.num_dims() - have.num_dims();
    let mut dims = have.as_slice()[..lead].to_vec();
    dims.extend(std::iter::repeat_n(1, missing));
    dims.extend_from_slice(&have.as_slice()[lead..]);
    r.put(&o.out, x.reshape(Shape::from(dims)).expand(out))
}

fn behind_lead(lead: usize, axes: &[usize]) -> Vec<usize> {
    (0..lead).chain(axes.iter().map(|axis| axis + lead)).collect()
}

fn whole_then(lead: usize, ranges: &[Slice]) -> Vec<Slice> {
    std::iter::repeat_n(Slice::full(), lead).chain(ranges.iter().copied()).collect()
}
