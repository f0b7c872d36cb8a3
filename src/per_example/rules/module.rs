//! Operations of neural-network modules.
//!
//! Most of them treat the rows of their input (axis 0) one by one, with weights that all rows
//! share. Such an operation runs once: the hidden batch axis is folded into the rows,
//! `[batch, rows, ..] -> [batch * rows, ..]`, and unfolded from the result. If a weight itself
//! depends on the example, there is nothing to share, and the examples run one after another.

mod conv;
mod dense;
mod pool;
mod rows;
mod sequence;
mod weight_grad;

#[cfg(test)]
pub(super) mod tests;

use burn_backend::Backend;
use burn_ir::ModuleOperationIr;

use self::conv::{Layer, XGrad};
use self::rows::{plain, rowwise, rowwise_pair, unfold};
use self::weight_grad::{Window, bias_grad, conv_weight_grad, transposed_weight_grad};
use super::flex;
use crate::error::Result;
use crate::per_example::replay::{Applied, Replay};

#[expect(clippy::too_many_lines, reason = "a table, one rule a line")]
pub(super) fn apply<B: Backend>(o: &ModuleOperationIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    use ModuleOperationIr as M;

    /// `y = convolution(x, weight, bias)`.
    macro_rules! convolution {
        ($o:ident, $run:ident) => {{
            let layer =
                Layer { x: &$o.x, weight: &$o.weight, bias: $o.bias.as_ref(), out: &$o.out };
            layer.run(r, |x, w, b| Ok(B::$run(x, w, b, $o.options.clone().into())))
        }};
    }
    /// The gradient of a convolution's input.
    macro_rules! x_grad {
        ($o:ident, $run:ident) => {{
            let grad = XGrad { x: &$o.x, weight: &$o.weight, grad: &$o.output_grad, out: &$o.out };
            grad.run(r, |x, w, g| B::$run(x, w, g, $o.options.clone().into()))
        }};
    }
    /// The gradient of a (transposed) convolution's weight. Without a batch it is the backend's
    /// own.
    macro_rules! weight_grad {
        ($o:ident, $rule:ident, $run:ident) => {{
            if r.lead() == 1 {
                return $rule(&$o.x, &$o.output_grad, &$o.out, &Window::from(&$o.options), r);
            }
            let x = plain(&$o.x, r)?;
            let weight = plain(&$o.weight, r)?;
            let grad = plain(&$o.output_grad, r)?;
            unfold(&$o.out, B::$run(x, weight, grad, $o.options.clone().into()), r)
        }};
    }

    match o {
        M::Conv1d(o) => convolution!(o, conv1d),
        M::Conv2d(o) => conv::conv2d(o, r),
        M::Conv3d(o) => convolution!(o, conv3d),
        M::ConvTranspose1d(o) => convolution!(o, conv_transpose1d),
        M::ConvTranspose2d(o) => convolution!(o, conv_transpose2d),
        M::ConvTranspose3d(o) => convolution!(o, conv_transpose3d),
        M::DeformableConv2d(o) => conv::deformable(o, r),
        M::DeformableConv2dBackward(o) => conv::deformable_backward(o, r),

        M::Conv1dXBackward(o) => x_grad!(o, conv1d_x_backward),
        M::Conv2dXBackward(o) => x_grad!(o, conv2d_x_backward),
        M::Conv3dXBackward(o) => x_grad!(o, conv3d_x_backward),

        M::Conv1dWeightBackward(o) => weight_grad!(o, conv_weight_grad, conv1d_weight_backward),
        M::Conv2dWeightBackward(o) => weight_grad!(o, conv_weight_grad, conv2d_weight_backward),
        M::Conv3dWeightBackward(o) => weight_grad!(o, conv_weight_grad, conv3d_weight_backward),
        M::ConvTranspose1dWeightBackward(o) => {
            weight_grad!(o, transposed_weight_grad, conv_transpose1d_weight_backward)
        }
        M::ConvTranspose2dWeightBackward(o) => {
            weight_grad!(o, transposed_weight_grad, conv_transpose2d_weight_backward)
        }
        M::ConvTranspose3dWeightBackward(o) => {
            weight_grad!(o, transposed_weight_grad, conv_transpose3d_weight_backward)
        }

        M::Conv1dBiasBackward(o) => bias_grad(&o.output_grad, &o.out, r),
        M::Conv2dBiasBackward(o) => bias_grad(&o.output_grad, &o.out, r),
        M::Conv3dBiasBackward(o) => bias_grad(&o.output_grad, &o.out, r),
        M::ConvTranspose1dBiasBackward(o) => bias_grad(&o.output_grad, &o.out, r),
        M::ConvTranspose2dBiasBackward(o) => bias_grad(&o.output_grad, &o.out, r),
        M::ConvTranspose3dBiasBackward(o) => bias_grad(&o.output_grad, &o.out, r),

        M::Linear(o) => dense::linear(o, r),
        M::LinearXBackward(o) => dense::linear_x_grad(o, r),
        M::LinearWeightBackward(o) => dense::linear_weight_grad(o, r),
        M::LinearBiasBackward(o) => dense::linear_bias_grad(o, r),
        M::LayerNorm(o) => dense::layer_norm(o, r),
        M::BatchNorm(o) => dense::batch_norm(o, r),

        M::Embedding(o) => sequence::embedding(o, r),
        M::EmbeddingBackward(o) => sequence::embedding_grad(o, r),
        M::Attention(o) => sequence::attention(o, r),
        M::CtcLoss(o) => sequence::ctc_loss(o, r),
        M::CtcLossBackward(o) => sequence::ctc_loss_grad(o, r),

        M::AvgPool1d(o) => pool::avg_pool1d(o, r),
        M::AvgPool2d(o) => pool::avg_pool2d(o, r),
        M::AvgPool1dBackward(o) => pool::avg_pool1d_grad(o, r),
        M::AvgPool2dBackward(o) => pool::avg_pool2d_grad(o, r),
        M::MaxPool1d(o) => pool::max_pool1d(o, r),
        M::MaxPool2d(o) => pool::max_pool2d(o, r),
        M::MaxPool1dWithIndices(o) => pool::max_pool1d_with_indices(o, r),
        M::MaxPool2dWithIndices(o) if flex::serves(r, &o.x) => pool::max_pool2d_on_flex(o, r),
        M::MaxPool2dWithIndices(o) => pool::max_pool2d_with_indices(o, r),
        M::MaxPool1dWithIndicesBackward(o) => pool::max_pool1d_grad(o, r),
        M::MaxPool2dWithIndicesBackward(o) => pool::max_pool2d_grad(o, r),

        M::AdaptiveAvgPool1d(o) => {
            rowwise(&o.x, &o.out, r, |x| B::adaptive_avg_pool1d(x, o.output_size))
        }
        M::AdaptiveAvgPool2d(o) => {
            rowwise(&o.x, &o.out, r, |x| B::adaptive_avg_pool2d(x, o.output_size))
        }
        M::AdaptiveAvgPool3d(o) => {
            rowwise(&o.x, &o.out, r, |x| B::adaptive_avg_pool3d(x, o.output_size))
        }
        M::AdaptiveAvgPool1dBackward(o) => {
            rowwise_pair(&o.x, &o.grad, &o.out, r, B::adaptive_avg_pool1d_backward)
        }
        M::AdaptiveAvgPool2dBackward(o) => {
            rowwise_pair(&o.x, &o.grad, &o.out, r, B::adaptive_avg_pool2d_backward)
        }
        M::AdaptiveAvgPool3dBackward(o) => {
            rowwise_pair(&o.x, &o.grad, &o.out, r, B::adaptive_avg_pool3d_backward)
        }
        M::Interpolate(o) => {
            rowwise(&o.x, &o.out, r, |x| B::interpolate(x, o.output_size, o.options.clone().into()))
        }
        M::InterpolateBackward(o) => rowwise_pair(&o.x, &o.grad, &o.out, r, |x, grad| {
            B::interpolate_backward(x, grad, o.output_size, o.options.clone().into())
        }),
        M::Unfold4d(o) => pool::unfold4d(o, r),
    }
}
