//! Pooling, behind a parameter that scales the input.

use burn::module::Module;
use burn::nn::pool::*;
use burn::nn::*;
use burn::tensor::Tensor;

use crate::harness::{Bench, Case, EXAMPLES as N, Outcome, score};

pub const CASES: &[Case] = &[
    ("MaxPool1d", |b| pool1d(b, MaxPool1dConfig::new(2).init(), |m, x| m.forward(x))),
    ("MaxPool1d with stride, padding, dilation", |b| {
        let config = MaxPool1dConfig::new(3).with_stride(2).with_dilation(2);
        let config = config.with_padding(PaddingConfig1d::Explicit(1, 1));
        pool1d(b, config.init(), |m, x| m.forward(x))
    }),
    ("MaxPool2d", |b| pool2d(b, MaxPool2dConfig::new([2, 2]).init(), |m, x| m.forward(x))),
    ("MaxPool2d with stride, padding, dilation, ceiling", |b| {
        let config = MaxPool2dConfig::new([2, 3]).with_strides([2, 1]).with_dilation([2, 1]);
        let config = config.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        pool2d(b, config.with_ceil_mode(true).init(), |m, x| m.forward(x))
    }),
    ("AvgPool1d", |b| pool1d(b, AvgPool1dConfig::new(2).init(), |m, x| m.forward(x))),
    ("AvgPool1d with stride and uncounted padding", |b| {
        let config = AvgPool1dConfig::new(3).with_stride(2).with_count_include_pad(false);
        let config = config.with_padding(PaddingConfig1d::Explicit(1, 1));
        pool1d(b, config.init(), |m, x| m.forward(x))
    }),
    ("AvgPool2d", |b| pool2d(b, AvgPool2dConfig::new([2, 2]).init(), |m, x| m.forward(x))),
    ("AvgPool2d with stride, uncounted padding, ceiling", |b| {
        let config = AvgPool2dConfig::new([2, 3]).with_strides([2, 1]).with_ceil_mode(true);
        let config = config.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        pool2d(b, config.with_count_include_pad(false).init(), |m, x| m.forward(x))
    }),
    ("AdaptiveAvgPool1d", |b| {
        pool1d(b, AdaptiveAvgPool1dConfig::new(4).init(), |m, x| m.forward(x))
    }),
    ("AdaptiveAvgPool2d", |b| {
        pool2d(b, AdaptiveAvgPool2dConfig::new([2, 3]).init(), |m, x| m.forward(x))
    }),
    ("AdaptiveAvgPool3d", |b| {
        let model = (b.parameter([1, 2, 3, 2, 3]), AdaptiveAvgPool3dConfig::new([2, 2, 1]).init());
        b.run(model, b.floats([N, 2, 3, 2, 3]), |(p, m), x| score(m.forward(x * p.val())))
    }),
];

fn pool1d<M: Module>(b: &Bench, pool: M, forward: fn(&M, Tensor<3>) -> Tensor<3>) -> Outcome {
    b.run((b.parameter([1, 2, 7]), pool), b.floats([N, 2, 7]), move |(p, pool), x| {
        score(forward(pool, x * p.val()))
    })
}

fn pool2d<M: Module>(b: &Bench, pool: M, forward: fn(&M, Tensor<4>) -> Tensor<4>) -> Outcome {
    b.run((b.parameter([1, 2, 4, 5]), pool), b.floats([N, 2, 4, 5]), move |(p, pool), x| {
        score(forward(pool, x * p.val()))
    })
}
