//! Layers of token sequences.

use burn_backend::tensor::IndexingUpdateOp;
use burn_backend::{Backend, Scalar, Shape};
use burn_ir::{
    AttentionOpIr, CtcLossBackwardOpIr, CtcLossOpIr, EmbeddingBackwardOpIr, EmbeddingOpIr,
    OperationIr, TensorIr,
};

use super::{fold, plain, unfold, varies};
use crate::error::{Error, Result};
use crate::per_example::replay::Replay;
use crate::per_example::value::Value;

pub(super) fn embedding<B: Backend>(
    o: &EmbeddingOpIr,
    op: &OperationIr,
    r: &mut Replay<'_, B>,
) -> Result<()> {
    if varies(r, [Some(&o.weights)]) {
        return r.each(op);
    }
    let weights = plain(&o.weights, r)?;
    let indices = fold(&o.indices, r)?.int()?;
    unfold(&o.out, B::embedding(weights, indices), r)
}

/// Every example adds its output gradients to the rows of a table of its own: all tables lie in one
/// tensor `[batch * tokens, features]`, and the indices of example `b` are moved by `b * tokens`.
pub(super) fn embedding_grad<B: Backend>(
    o: &EmbeddingBackwardOpIr,
    op: &OperationIr,
    r: &mut Replay<'_, B>,
) -> Result<()> {
    let (batch, tokens, features) = match (r.lead(), o.weights.shape.as_slice()) {
        (0, _) => return embedding_grad_of_one(o, r),
        (_, &[tokens, features]) if o.indices.dtype.size() >= 4 => (r.batch(), tokens, features),
        // Moved indices would not fit in a narrow integer.
        _ => return r.each(op),
    };
    let each = o.indices.shape.num_elements();
    let offsets = B::int_arange(0..batch as i64, r.device(), o.indices.dtype.into());
    let offsets = Value::<B>::Int(offsets).mul_scalar(Scalar::from(tokens as i64))?;
    // A token that does not exist must not reach the table of the next example.
    let last = Scalar::from(tokens.saturating_sub(1) as i64);
    let indices = r.full(&o.indices)?.clamp(Scalar::from(0i64), last)?;
    let indices =
        indices.reshape(Shape::new([batch, each])).add(offsets.reshape([batch, 1].into()))?;
    let indices = indices.reshape(Shape::new([batch * each])).int()?;
    let grad = r.full(&o.out_grad)?.reshape(Shape::new([batch * each, features]));
    let tables = Value::zeros(Shape::new([batch * tokens, features]), r.device(), o.out_grad.dtype);
    let out = tables.select_assign(0, indices, grad, IndexingUpdateOp::Add)?.float()?;
    unfold(&o.out, out, r)
}

fn embedding_grad_of_one<B: Backend>(
    o: &EmbeddingBackwardOpIr,
    r: &mut Replay<'_, B>,
) -> Result<()> {
    let weights = plain(&o.weights, r)?;
    let grad = plain(&o.out_grad, r)?;
    let indices = r.full_int(&o.indices)?;
    r.put(&o.out, Value::Float(B::embedding_backward(weights, grad, indices)))
}

/// Queries attend to keys of their own row only, so rows of different examples stay apart.
pub(super) fn attention<B: Backend>(o: &AttentionOpIr, r: &mut Replay<'_, B>) -> Result<()> {
    let mask = o.mask.as_ref().map(|mask| rows_of(mask, &o.query, r)?.bool()).transpose()?;
    let bias = o.attn_bias.as_ref().map(|bias| rows_of(bias, &o.query, r)?.float()).transpose()?;
    let query = fold(&o.query, r)?.float()?;
    let key = fold(&o.key, r)?.float()?;
    let value = fold(&o.value, r)?.float()?;
    let out = B::attention(query, key, value, mask, bias, o.options.clone().into());
    unfold(&o.out, out, r)
}

/// `tensor` folded, with as many rows as `query` even where it was traced with one for all.
fn rows_of<B: Backend>(
    tensor: &TensorIr,
    query: &TensorIr,
    r: &mut Replay<'_, B>,
) -> Result<Value<B>> {
    if tensor.shape.first() == query.shape.first() {
        return fold(tensor, r);
    }
    let value = r.full(tensor)?;
    let (mut dims, lead) = (value.shape().to_vec(), r.lead());
    let rows = query.shape.first().copied().unwrap_or(1);
    if let Some(repeated) = dims.get_mut(lead) {
        *repeated = rows;
    }
    let value = value.expand(Shape::from(dims.clone()));
    let dims = if lead == 1 { [&[dims[0] * rows], &dims[2..]].concat() } else { dims };
    Ok(value.reshape(Shape::from(dims)))
}

/// The time axis comes first, and how long a recursion runs may depend on all rows together: each
/// example by itself is the simple way to keep them apart.
pub(super) fn ctc_loss<B: Backend>(
    o: &CtcLossOpIr,
    op: &OperationIr,
    r: &mut Replay<'_, B>,
) -> Result<()> {
    if r.lead() == 1 {
        return r.each(op);
    }
    let log_probs = plain(&o.log_probs, r)?;
    let targets = r.full_int(&o.targets)?;
    let lengths = r.full_int(&o.input_lengths)?;
    let target_lengths = r.full_int(&o.target_lengths)?;
    let loss = B::ctc_loss(log_probs, targets, lengths, target_lengths, o.blank);
    r.put(&o.out, Value::Float(loss))
}

pub(super) fn ctc_loss_grad<B: Backend>(
    o: &CtcLossBackwardOpIr,
    op: &OperationIr,
    r: &mut Replay<'_, B>,
) -> Result<()> {
    if !B::has_ctc_loss_backward() {
        return Err(Error::UnsupportedOperation { operation: "ctc_loss_backward".to_owned() });
    }
    if r.lead() == 1 {
        return r.each(op);
    }
    let log_probs = plain(&o.log_probs, r)?;
    let targets = r.full_int(&o.targets)?;
    let lengths = r.full_int(&o.input_lengths)?;
    let target_lengths = r.full_int(&o.target_lengths)?;
    let grad = plain(&o.grad_loss, r)?;
    let grad = B::ctc_loss_backward(log_probs, targets, lengths, target_lengths, grad, o.blank);
    r.put(&o.out, Value::Float(grad))
}
