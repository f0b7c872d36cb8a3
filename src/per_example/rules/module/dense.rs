//! Layers of the last axis, which need no folding (a batch axis in front changes nothing), and
//! normalization by given statistics.

use burn_backend::Backend;
use burn_ir::{
    BatchNormOpIr, LayerNormOpIr, LinearBiasBackwardOpIr, LinearOpIr, LinearWeightBackwardOpIr,
    LinearXBackwardOpIr, TensorIr,
};

use super::rows::{fold, optional_plain, plain, unfold, varies};
use crate::error::Result;
use crate::per_example::replay::{Applied, Replay};
use crate::per_example::value::Value;

pub(super) fn linear<B: Backend>(o: &LinearOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    if varies(r, [Some(&o.weight), o.bias.as_ref()]) {
        return Ok(Applied::EachByItself);
    }
    let x = r.float(&o.x)?;
    let weight = plain(&o.weight, r)?;
    let bias = optional_plain(o.bias.as_ref(), r)?;
    r.put(&o.out, Value::Float(B::linear(x, weight, bias)))
}

pub(super) fn linear_x_grad<B: Backend>(
    o: &LinearXBackwardOpIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    if varies(r, [Some(&o.weight)]) {
        return Ok(Applied::EachByItself);
    }
    let weight = plain(&o.weight, r)?;
    let grad = r.float(&o.output_grad)?;
    r.put(&o.out, Value::Float(B::linear_x_backward(weight, grad)))
}

/// `xᵀ g` of every example by itself: it sums over the rows of one example, not over examples.
pub(super) fn linear_weight_grad<B: Backend>(
    o: &LinearWeightBackwardOpIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    let lead = r.lead();
    let x = rows(&o.x, r)?.swap_dims(lead, lead + 1).float()?;
    let grad = rows(&o.output_grad, r)?.float()?;
    r.put(&o.out, Value::Float(B::float_matmul(x, grad)))
}

pub(super) fn linear_bias_grad<B: Backend>(
    o: &LinearBiasBackwardOpIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    let grad = rows(&o.output_grad, r)?.sum_dim(r.lead())?.float()?;
    unfold(&o.out, grad, r)
}

/// `[(batch,) .., features]` as `[(batch,) rows, features]`.
fn rows<B: Backend>(tensor: &TensorIr, r: &mut Replay<'_, B>) -> Result<Value<B>> {
    let shape = r.shape(tensor);
    let (front, all) = shape.as_slice().split_at(r.lead());
    let (rows, features) = all.split_at(all.len().saturating_sub(1));
    let dims = [front, &[rows.iter().product()], features].concat();
    Ok(r.full(tensor)?.reshape(dims.into()))
}

pub(super) fn layer_norm<B: Backend>(o: &LayerNormOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    if varies(r, [Some(&o.gamma), o.beta.as_ref()]) {
        return Ok(Applied::EachByItself);
    }
    let input = r.float(&o.input)?;
    let gamma = plain(&o.gamma, r)?;
    let beta = optional_plain(o.beta.as_ref(), r)?;
    r.put(&o.out, Value::Float(B::layer_norm(input, gamma, beta, o.epsilon.elem())))
}

/// Batch normalization with shared statistics. If the statistics depend on the example, each
/// example uses its own.
pub(super) fn batch_norm<B: Backend>(o: &BatchNormOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    if varies(r, [&o.gamma, &o.beta, &o.mean, &o.variance].map(Some)) {
        return Ok(Applied::EachByItself);
    }
    let x = fold(&o.x, r)?.float()?;
    let gamma = plain(&o.gamma, r)?;
    let beta = plain(&o.beta, r)?;
    let mean = plain(&o.mean, r)?;
    let variance = plain(&o.variance, r)?;
    unfold(&o.out, B::batch_norm(x, gamma, beta, mean, variance, o.epsilon.elem()), r)
}
