//! Convolutions and the gradients of their inputs.

use burn_backend::Backend;
use burn_backend::tensor::FloatTensor;
use burn_ir::{Conv2dOpIr, DeformConv2dBackwardOpIr, DeformConv2dOpIr, TensorIr};

use super::rows::{fold, optional_plain, plain, unfold, varies};
use crate::error::Result;
use crate::per_example::replay::{Applied, Replay};
use crate::per_example::rules::flex;
use crate::per_example::value::Value;

/// The tensors of a layer `out = run(x, weight, bias)` that treats the rows of `x` one by one.
pub(super) struct Layer<'a> {
    pub(super) x: &'a TensorIr,
    pub(super) weight: &'a TensorIr,
    pub(super) bias: Option<&'a TensorIr>,
    pub(super) out: &'a TensorIr,
}

impl Layer<'_> {
    pub(super) fn run<B: Backend>(
        self,
        r: &mut Replay<'_, B>,
        run: impl FnOnce(
            FloatTensor<B>,
            FloatTensor<B>,
            Option<FloatTensor<B>>,
        ) -> Result<FloatTensor<B>>,
    ) -> Result<Applied> {
        if varies(r, [Some(self.weight), self.bias]) {
            return Ok(Applied::EachByItself);
        }
        let x = fold(self.x, r)?.float()?;
        let weight = plain(self.weight, r)?;
        let bias = optional_plain(self.bias, r)?;
        unfold(self.out, run(x, weight, bias)?, r)
    }
}

pub(super) fn conv2d<B: Backend>(o: &Conv2dOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    let layer = Layer { x: &o.x, weight: &o.weight, bias: o.bias.as_ref(), out: &o.out };
    let options = &o.options;
    let output = [o.out.shape[2], o.out.shape[3]];
    if flex::serves(r, &o.x) && flex::suits(&o.weight.shape, output, options.groups) {
        layer.run(r, |x, w, b| flex::conv2d::<B>(x, w, b, options, output))
    } else {
        layer.run(r, |x, w, b| Ok(B::conv2d(x, w, b, options.clone().into())))
    }
}

/// The tensors of a convolution's input gradient, which is linear in the rows of `grad`. Backends
/// read only the shape of `x`, but its rows must match those of `grad`.
pub(super) struct XGrad<'a> {
    pub(super) x: &'a TensorIr,
    pub(super) weight: &'a TensorIr,
    pub(super) grad: &'a TensorIr,
    pub(super) out: &'a TensorIr,
}

impl XGrad<'_> {
    pub(super) fn run<B: Backend>(
        self,
        r: &mut Replay<'_, B>,
        run: impl FnOnce(FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
    ) -> Result<Applied> {
        if varies(r, [Some(self.weight)]) {
            return Ok(Applied::EachByItself);
        }
        let x = fold(self.x, r)?.float()?;
        let weight = plain(self.weight, r)?;
        let grad = fold(self.grad, r)?.float()?;
        unfold(self.out, run(x, weight, grad), r)
    }
}

pub(super) fn deformable<B: Backend>(
    o: &DeformConv2dOpIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    if varies(r, [Some(&o.weight), o.bias.as_ref()]) {
        return Ok(Applied::EachByItself);
    }
    let x = fold(&o.x, r)?.float()?;
    let offset = fold(&o.offset, r)?.float()?;
    let mask = o.mask.as_ref().map(|mask| fold(mask, r)?.float()).transpose()?;
    let weight = plain(&o.weight, r)?;
    let bias = optional_plain(o.bias.as_ref(), r)?;
    let out = B::deform_conv2d(x, offset, weight, mask, bias, o.options.clone().into());
    unfold(&o.out, out, r)
}

/// One backend call gives the gradients of the input and of the weight. The weight's gradient must
/// not be summed over examples, so every example has its own call.
pub(super) fn deformable_backward<B: Backend>(
    o: &DeformConv2dBackwardOpIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    if r.lead() == 1 {
        return Ok(Applied::EachByItself);
    }
    let x = plain(&o.x, r)?;
    let offset = plain(&o.offset, r)?;
    let kernel = plain(&o.weight, r)?;
    let mask = optional_plain(o.mask.as_ref(), r)?;
    let bias = optional_plain(o.bias.as_ref(), r)?;
    let grad = plain(&o.out_grad, r)?;
    let options = o.options.clone().into();
    let grads = B::deform_conv2d_backward(x, offset, kernel, mask, bias, grad, options);
    r.put(&o.input_grad, Value::Float(grads.x_grad))?;
    r.put(&o.offset_grad, Value::Float(grads.offset_grad))?;
    r.put(&o.weight_grad, Value::Float(grads.weight_grad))?;
    for (out, grad) in [(&o.mask_grad, grads.mask_grad), (&o.bias_grad, grads.bias_grad)] {
        if let (Some(out), Some(grad)) = (out, grad) {
            r.put(out, Value::Float(grad))?;
        }
    }
    Ok(Applied::Batched)
}
