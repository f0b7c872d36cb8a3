//! Layers of token sequences.

use burn_backend::tensor::{IndexingUpdateOp, IntTensor};
use burn_backend::{Backend, Shape};
use burn_ir::{
    AttentionOpIr, CtcLossBackwardOpIr, CtcLossOpIr, EmbeddingBackwardOpIr, EmbeddingOpIr, TensorIr,
};

use super::rows::{fold, plain, unfold, varies};
use crate::error::{Error, Result, TraceError};
use crate::per_example::indices::{ctc_bounds, index_type, offsets};
use crate::per_example::replay::{Applied, Replay};
use crate::per_example::value::Value;

pub(super) fn embedding<B: Backend>(o: &EmbeddingOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    if varies(r, [Some(&o.weights)]) {
        return Ok(Applied::EachByItself);
    }
    let weights = plain(&o.weights, r)?;
    let indices = fold(&o.indices, r)?.int()?;
    let indices = r.indices(&o.indices, indices, o.weights.shape[0]);
    unfold(&o.out, B::embedding(weights, indices), r)
}

/// Every example adds its output gradients to the rows of its own table. All tables lie in one
/// tensor `[batch * tokens, features]`, and the indices of example `b` are moved by `b * tokens`.
pub(super) fn embedding_grad<B: Backend>(
    o: &EmbeddingBackwardOpIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    let (batch, tokens, features) = match (r.lead(), o.weights.shape.as_slice()) {
        (0, _) => return embedding_grad_of_one(o, r),
        (_, &[tokens, features]) => (r.batch(), tokens, features),
        _ => return Ok(Applied::EachByItself),
    };
    let dtype = index_type::<B>(o.indices.dtype, r.device());
    let Some(offsets) = offsets::<B>(batch, tokens, dtype, r.device()) else {
        return Ok(Applied::EachByItself);
    };
    let each = o.indices.shape.num_elements();
    let indices = r.full_int(&o.indices)?;
    let indices = r.indices(&o.indices, indices, tokens);
    let offsets = Value::<B>::Int(offsets).reshape([batch, 1].into());
    let indices = Value::<B>::Int(indices).reshape(Shape::new([batch, each])).add(offsets)?;
    let indices = indices.reshape(Shape::new([batch * each])).int()?;
    let grad = r.full(&o.out_grad)?.reshape(Shape::new([batch * each, features]));
    let tables = Value::zeros(Shape::new([batch * tokens, features]), r.device(), o.out_grad.dtype);
    let out = tables.select_assign(0, indices, grad, IndexingUpdateOp::Add)?.float()?;
    unfold(&o.out, out, r)
}

fn embedding_grad_of_one<B: Backend>(
    o: &EmbeddingBackwardOpIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    let weights = plain(&o.weights, r)?;
    let grad = plain(&o.out_grad, r)?;
    let indices = r.full_int(&o.indices)?;
    let indices = r.indices(&o.indices, indices, o.weights.shape[0]);
    r.put(&o.out, Value::Float(B::embedding_backward(weights, grad, indices)))
}

/// Queries attend only to keys of their own row, so rows of different examples stay apart.
pub(super) fn attention<B: Backend>(o: &AttentionOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    let mask = o.mask.as_ref().map(|mask| rows_of(mask, &o.query, r)?.bool()).transpose()?;
    let bias = o.attn_bias.as_ref().map(|bias| rows_of(bias, &o.query, r)?.float()).transpose()?;
    let query = fold(&o.query, r)?.float()?;
    let key = fold(&o.key, r)?.float()?;
    let value = fold(&o.value, r)?.float()?;
    let out = B::attention(query, key, value, mask, bias, o.options.clone().into());
    unfold(&o.out, out, r)
}

/// `tensor`, folded, with as many rows as `query`, even if it was traced with one row for all.
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

/// The time axis comes first, and the length of a recursion may depend on all rows together.
/// Running each example by itself is the simple way to keep them apart.
pub(super) fn ctc_loss<B: Backend>(o: &CtcLossOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    if r.lead() == 1 {
        return Ok(Applied::EachByItself);
    }
    let log_probs = plain(&o.log_probs, r)?;
    let operands = [&o.targets, &o.input_lengths, &o.target_lengths];
    let [targets, lengths, target_lengths] = ctc_indices(&o.log_probs, operands, r)?;
    let loss = B::ctc_loss(log_probs, targets, lengths, target_lengths, o.blank);
    r.put(&o.out, Value::Float(loss))
}

pub(super) fn ctc_loss_grad<B: Backend>(
    o: &CtcLossBackwardOpIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    if !B::has_ctc_loss_backward() {
        return Err(Error::Trace(TraceError::UnsupportedOperation {
            operation: "ctc_loss_backward".to_owned(),
        }));
    }
    if r.lead() == 1 {
        return Ok(Applied::EachByItself);
    }
    let log_probs = plain(&o.log_probs, r)?;
    let operands = [&o.targets, &o.input_lengths, &o.target_lengths];
    let [targets, lengths, target_lengths] = ctc_indices(&o.log_probs, operands, r)?;
    let grad = plain(&o.grad_loss, r)?;
    let grad = B::ctc_loss_backward(log_probs, targets, lengths, target_lengths, grad, o.blank);
    r.put(&o.out, Value::Float(grad))
}

/// Targets, input lengths and target lengths.
fn ctc_indices<B: Backend>(
    log_probs: &TensorIr,
    operands: [&TensorIr; 3],
    r: &mut Replay<'_, B>,
) -> Result<[IntTensor<B>; 3]> {
    let longest = operands[0].shape.as_slice().last().copied().unwrap_or(0);
    let bounds = ctc_bounds(log_probs, longest);
    let mut of = |which: usize| -> Result<_> {
        let value = r.full_int(operands[which])?;
        Ok(r.indices(operands[which], value, bounds[which]))
    };
    Ok([of(0)?, of(1)?, of(2)?])
}
