//! Rows of a module's input: folding them out of the batch, and back.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Shape};
use burn_ir::TensorIr;

use crate::error::Result;
use crate::per_example::replay::{Applied, Replay};
use crate::per_example::value::Value;

/// `[batch, rows, ..]` as `[batch * rows, ..]`. In an unbatched operation the value stays as it is.
pub(super) fn fold<B: Backend>(tensor: &TensorIr, r: &mut Replay<'_, B>) -> Result<Value<B>> {
    let value = r.full(tensor)?;
    Ok(if r.lead() == 1 { value.reshape(folded(tensor, r)) } else { value })
}

fn folded<B: Backend>(tensor: &TensorIr, r: &Replay<'_, B>) -> Shape {
    let mut dims = tensor.shape.to_vec();
    if let Some(rows) = dims.first_mut() {
        *rows *= r.batch();
    }
    Shape::from(dims)
}

/// Stores `[batch * rows, ..]` as `[batch, rows, ..]`.
pub(super) fn unfold<B: Backend>(
    out: &TensorIr,
    value: FloatTensor<B>,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    let shape = r.shape(out);
    r.put(out, Value::Float(value).reshape(shape))
}

/// An operation of rows without weights.
pub(super) fn rowwise<B: Backend>(
    x: &TensorIr,
    out: &TensorIr,
    r: &mut Replay<'_, B>,
    run: impl FnOnce(FloatTensor<B>) -> FloatTensor<B>,
) -> Result<Applied> {
    let x = fold(x, r)?.float()?;
    unfold(out, run(x), r)
}

/// An operation of pairs of rows without weights: a backward operation, of the input and the
/// gradient.
pub(super) fn rowwise_pair<B: Backend>(
    x: &TensorIr,
    grad: &TensorIr,
    out: &TensorIr,
    r: &mut Replay<'_, B>,
    run: impl FnOnce(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) -> Result<Applied> {
    let x = fold(x, r)?.float()?;
    let grad = fold(grad, r)?.float()?;
    unfold(out, run(x, grad), r)
}

/// Whether one of an operation's weights depends on the example.
pub(super) fn varies<B: Backend, const N: usize>(
    r: &Replay<'_, B>,
    weights: [Option<&TensorIr>; N],
) -> bool {
    weights.into_iter().flatten().any(|weight| r.is_batched(weight))
}

/// A value without a batch axis: a weight that all examples share, or any input of an unbatched
/// operation.
pub(super) fn plain<B: Backend>(
    tensor: &TensorIr,
    r: &mut Replay<'_, B>,
) -> Result<FloatTensor<B>> {
    r.raw(tensor)?.float()
}

pub(super) fn optional_plain<B: Backend>(
    tensor: Option<&TensorIr>,
    r: &mut Replay<'_, B>,
) -> Result<Option<FloatTensor<B>>> {
    tensor.map(|tensor| plain(tensor, r)).transpose()
}
