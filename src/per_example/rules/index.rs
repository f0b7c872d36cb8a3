//! Rules of indexed reads and writes.
//!
//! An index of one example only ever reaches that example's row.
//! [`indices`](crate::per_example::indices) handles its range and its type.

use burn_backend::tensor::IntTensor;
use burn_backend::{Backend, Shape, TensorMetadata};
use burn_ir::{
    GatherNdOpIr, GatherOpIr, ScatterNdOpIr, ScatterOpIr, SelectAssignOpIr, SelectOpIr, TensorIr,
};

use crate::error::Result;
use crate::per_example::indices::index_type;
use crate::per_example::replay::{Applied, Replay};
use crate::per_example::value::Value;

pub(super) fn select<B: Backend>(o: &SelectOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    if !r.is_batched(&o.indices) {
        let x = r.arg(&o.tensor)?;
        let indices = r.raw(&o.indices)?.int()?;
        let indices = r.indices(&o.indices, indices, o.tensor.shape[o.dim]);
        return r.put(&o.out, x.select(o.dim + r.lead(), indices));
    }
    if !r.is_batched(&o.tensor) {
        return select_shared(o, r);
    }
    let out = r.shape(&o.out);
    let x = r.arg(&o.tensor)?;
    let indices = r.arg(&o.indices)?.int()?;
    let indices = r.indices(&o.indices, indices, o.tensor.shape[o.dim]);
    let indices = along(Value::<B>::Int(indices), o.dim + 1, out)?;
    r.put(&o.out, x.gather(o.dim + 1, indices))
}

/// Selection where all examples read one shared table: one selection of all their indices, then the
/// batch moves to the front.
fn select_shared<B: Backend>(o: &SelectOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    let batch = r.batch();
    let count = o.indices.shape.num_elements();
    let table = r.raw(&o.tensor)?;
    let indices = r.arg(&o.indices)?.reshape(Shape::from(vec![batch * count])).int()?;
    let indices = r.indices(&o.indices, indices, o.tensor.shape[o.dim]);
    let mut split = o.tensor.shape.as_slice().to_vec();
    split.splice(o.dim..=o.dim, [batch, count]);
    let mut axes: Vec<usize> = (0..split.len()).collect();
    let front = axes.remove(o.dim);
    axes.insert(0, front);
    let selected = table.select(o.dim, indices).reshape(Shape::from(split));
    r.put(&o.out, selected.permute(&axes))
}

pub(super) fn select_assign<B: Backend>(
    o: &SelectAssignOpIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    let dim = o.dim + r.lead();
    if !r.is_batched(&o.indices) {
        let (x, value) = (r.full(&o.tensor)?, r.full(&o.value)?);
        let indices = r.raw(&o.indices)?.int()?;
        let indices = r.indices(&o.indices, indices, o.tensor.shape[o.dim]);
        return r.put(&o.out, x.select_assign(dim, indices, value, o.update)?);
    }
    let (x, value) = (r.full(&o.tensor)?, r.full(&o.value)?);
    let indices = r.arg(&o.indices)?.int()?;
    let indices = r.indices(&o.indices, indices, o.tensor.shape[o.dim]);
    let indices = along(Value::<B>::Int(indices), dim, value.shape())?;
    r.put(&o.out, x.scatter(dim, indices, value, o.update)?)
}

pub(super) fn gather<B: Backend>(o: &GatherOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    let x = r.full(&o.tensor)?;
    let indices = r.full_int(&o.indices)?;
    let indices = r.indices(&o.indices, indices, o.tensor.shape[o.dim]);
    r.put(&o.out, x.gather(o.dim + r.lead(), indices))
}

pub(super) fn scatter<B: Backend>(o: &ScatterOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    let (x, value) = (r.full(&o.tensor)?, r.full(&o.value)?);
    let indices = r.full_int(&o.indices)?;
    let indices = r.indices(&o.indices, indices, o.tensor.shape[o.dim]);
    r.put(&o.out, x.scatter(o.dim + r.lead(), indices, value, o.update)?)
}

pub(super) fn gather_nd<B: Backend>(o: &GatherNdOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    let x = r.full(&o.data)?;
    let indices = with_example(&o.indices, &o.data, r)?;
    r.put(&o.out, x.gather_nd(indices)?)
}

pub(super) fn scatter_nd<B: Backend>(o: &ScatterNdOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    let (x, values) = (r.full(&o.data)?, r.full(&o.values)?);
    let indices = with_example(&o.indices, &o.data, r)?;
    r.put(&o.out, x.scatter_nd(indices, values, o.reduction)?)
}

/// The indices `[batch, n]` of a selection along `dim`, repeated over the other axes of `out`.
fn along<B: Backend>(indices: Value<B>, dim: usize, out: Shape) -> Result<IntTensor<B>> {
    let mut dims = vec![1; out.num_dims()];
    dims[0] = indices.shape()[0];
    dims[dim] = out[dim];
    indices.reshape(Shape::from(dims)).expand(out).int()
}

/// Index tuples `[..., k]` into `data`, with the example's own number put in front:
/// `[batch, ..., k + 1]`.
fn with_example<B: Backend>(
    indices: &TensorIr,
    data: &TensorIr,
    r: &mut Replay<'_, B>,
) -> Result<IntTensor<B>> {
    let tuples = r.full_int(indices)?;
    let mut dims = tuples.shape().as_slice().to_vec();
    let last = dims.len() - 1;
    let dtype = index_type::<B>(tuples.dtype(), r.device());
    let mut columns = Vec::new();
    if r.lead() == 1 {
        let mut column = vec![1; dims.len()];
        column[0] = r.batch();
        dims[last] = 1;
        let numbers = B::int_arange(0..r.batch() as i64, r.device(), dtype.into());
        columns.push(B::int_expand(B::int_reshape(numbers, column.into()), dims.into()));
    }
    columns.extend(r.index_columns(indices, tuples, data)?);
    Ok(B::int_cat(columns, last))
}
