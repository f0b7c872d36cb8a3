//! Pooling and windows: every row by itself, no weights.

use burn_backend::Backend;
use burn_backend::ops::UnfoldOptions;
use burn_backend::tensor::IntTensor;
use burn_ir::{
    AvgPool1dBackwardOpIr, AvgPool1dOpIr, AvgPool2dBackwardOpIr, AvgPool2dOpIr, MaxPool1dOpIr,
    MaxPool1dWithIndicesBackwardOpIr, MaxPool1dWithIndicesOpIr, MaxPool2dOpIr,
    MaxPool2dWithIndicesBackwardOpIr, MaxPool2dWithIndicesOpIr, TensorIr, Unfold4dOpIr,
};

use super::rows::{fold, rowwise, rowwise_pair, unfold};
use crate::error::Result;
use crate::per_example::replay::{Applied, Replay};
use crate::per_example::rules::flex::{self, Windows};
use crate::per_example::value::Value;

/// The pooling rules of one and of two dimensions differ only in the backend's function.
macro_rules! avg_pool {
    ($forward:ident($op:ty), $backward:ident($op_backward:ty) = $grad:ident) => {
        pub(super) fn $forward<B: Backend>(o: &$op, r: &mut Replay<'_, B>) -> Result<Applied> {
            rowwise(&o.x, &o.out, r, |x| {
                let (kernel, stride, padding) = (o.kernel_size, o.stride, o.padding);
                B::$forward(x, kernel, stride, padding, o.count_include_pad, o.ceil_mode)
            })
        }

        pub(super) fn $grad<B: Backend>(
            o: &$op_backward,
            r: &mut Replay<'_, B>,
        ) -> Result<Applied> {
            rowwise_pair(&o.x, &o.grad, &o.out, r, |x, grad| {
                let (kernel, stride, padding) = (o.kernel_size, o.stride, o.padding);
                B::$backward(x, grad, kernel, stride, padding, o.count_include_pad, o.ceil_mode)
            })
        }
    };
}

macro_rules! max_pool {
    (
        $forward:ident($op:ty),
        $with_indices:ident($op_indices:ty),
        $backward:ident($op_backward:ty) = $grad:ident
    ) => {
        pub(super) fn $forward<B: Backend>(o: &$op, r: &mut Replay<'_, B>) -> Result<Applied> {
            rowwise(&o.x, &o.out, r, |x| {
                B::$forward(x, o.kernel_size, o.stride, o.padding, o.dilation, o.ceil_mode)
            })
        }

        pub(super) fn $with_indices<B: Backend>(
            o: &$op_indices,
            r: &mut Replay<'_, B>,
        ) -> Result<Applied> {
            let x = fold(&o.x, r)?.float()?;
            let dtype = o.out_indices.dtype.into();
            let (kernel, stride, padding) = (o.kernel_size, o.stride, o.padding);
            let pooled =
                B::$with_indices(x, kernel, stride, padding, o.dilation, o.ceil_mode, dtype);
            unfold_int(&o.out_indices, pooled.indices, r)?;
            unfold(&o.out, pooled.output, r)
        }

        pub(super) fn $grad<B: Backend>(
            o: &$op_backward,
            r: &mut Replay<'_, B>,
        ) -> Result<Applied> {
            // An index counts positions of its own row and channel, so folding keeps it.
            let indices = fold(&o.indices, r)?.int()?;
            rowwise_pair(&o.x, &o.grad, &o.out, r, |x, grad| {
                let (kernel, stride, padding) = (o.kernel_size, o.stride, o.padding);
                let (dilation, ceil) = (o.dilation, o.ceil_mode);
                B::$backward(x, kernel, stride, padding, dilation, ceil, grad, indices).x_grad
            })
        }
    };
}

avg_pool!(avg_pool1d(AvgPool1dOpIr), avg_pool1d_backward(AvgPool1dBackwardOpIr) = avg_pool1d_grad);
avg_pool!(avg_pool2d(AvgPool2dOpIr), avg_pool2d_backward(AvgPool2dBackwardOpIr) = avg_pool2d_grad);
max_pool!(
    max_pool1d(MaxPool1dOpIr),
    max_pool1d_with_indices(MaxPool1dWithIndicesOpIr),
    max_pool1d_with_indices_backward(MaxPool1dWithIndicesBackwardOpIr) = max_pool1d_grad
);
max_pool!(
    max_pool2d(MaxPool2dOpIr),
    max_pool2d_with_indices(MaxPool2dWithIndicesOpIr),
    max_pool2d_with_indices_backward(MaxPool2dWithIndicesBackwardOpIr) = max_pool2d_grad
);

/// As `max_pool2d_with_indices`, where the engine's own kernel is faster.
pub(super) fn max_pool2d_on_flex<B: Backend>(
    o: &MaxPool2dWithIndicesOpIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    let windows = Windows {
        kernel: o.kernel_size,
        stride: o.stride,
        padding: o.padding,
        dilation: o.dilation,
        output: [o.out.shape[2], o.out.shape[3]],
    };
    let x = fold(&o.x, r)?.float()?;
    let (numbers, places) = flex::max_pool::<B>(x, &windows, o.out_indices.dtype)?;
    unfold_int(&o.out_indices, places, r)?;
    unfold(&o.out, numbers, r)
}

pub(super) fn unfold4d<B: Backend>(o: &Unfold4dOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    let options = UnfoldOptions::new(o.options.stride, o.options.padding, o.options.dilation);
    rowwise(&o.x, &o.out, r, |x| B::unfold4d(x, o.kernel_size, options))
}

fn unfold_int<B: Backend>(
    out: &TensorIr,
    value: IntTensor<B>,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    let shape = r.shape(out);
    r.put(out, Value::Int(value).reshape(shape))
}
