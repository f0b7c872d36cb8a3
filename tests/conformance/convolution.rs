//! Convolutions, and the modules that rearrange or resample images.

use burn::nn::conv::*;
use burn::nn::interpolate::*;
use burn::nn::*;

use crate::harness::{Bench, Case, EXAMPLES as N, Outcome, score};

pub const CASES: &[Case] = &[
    ("Conv1d", |b| conv1d(b, Conv1dConfig::new(2, 3, 3))),
    ("Conv1d of one position", |b| conv1d(b, Conv1dConfig::new(2, 3, 6))),
    ("Conv1d with stride, padding, dilation", |b| {
        conv1d(b, Conv1dConfig::new(2, 3, 2).with_stride(2).with_dilation(2).with_padding(same1(1)))
    }),
    ("Conv1d with uneven padding", |b| {
        conv1d(b, Conv1dConfig::new(2, 3, 2).with_padding(PaddingConfig1d::Explicit(2, 1)))
    }),
    ("Conv1d in groups", |b| conv1d(b, Conv1dConfig::new(2, 4, 3).with_groups(2))),
    ("Conv2d", |b| conv2d(b, Conv2dConfig::new([2, 3], [3, 2]))),
    ("Conv2d without bias", |b| conv2d(b, Conv2dConfig::new([2, 3], [2, 2]).with_bias(false))),
    ("Conv2d with a stride that leaves a rest", |b| {
        conv2d(b, Conv2dConfig::new([2, 3], [2, 2]).with_stride([3, 3]))
    }),
    ("Conv2d with stride, padding, dilation", |b| {
        let config = Conv2dConfig::new([2, 3], [2, 2]).with_stride([2, 1]).with_dilation([1, 2]);
        conv2d(b, config.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)))
    }),
    ("Conv2d with uneven padding", |b| {
        let padding = PaddingConfig2d::Explicit(1, 2, 0, 1);
        conv2d(b, Conv2dConfig::new([2, 3], [2, 2]).with_padding(padding))
    }),
    ("Conv2d with same padding", |b| {
        conv2d(b, Conv2dConfig::new([2, 3], [3, 3]).with_padding(PaddingConfig2d::Same))
    }),
    ("Conv2d in groups", |b| conv2d(b, Conv2dConfig::new([2, 4], [2, 2]).with_groups(2))),
    ("Conv3d", |b| conv3d(b, Conv3dConfig::new([2, 2], [2, 2, 2]))),
    ("Conv3d with stride, padding, dilation, groups", |b| {
        let config = Conv3dConfig::new([2, 4], [2, 1, 2]).with_stride([1, 2, 1]);
        let config = config.with_dilation([2, 1, 1]).with_groups(2);
        conv3d(b, config.with_padding(PaddingConfig3d::Explicit(1, 0, 1)))
    }),
    ("ConvTranspose1d", |b| transposed1d(b, ConvTranspose1dConfig::new([2, 3], 3))),
    ("ConvTranspose1d with stride, padding, dilation, groups", |b| {
        let config = ConvTranspose1dConfig::new([2, 4], 3).with_stride(2).with_padding(1);
        transposed1d(b, config.with_dilation(2).with_padding_out(1).with_groups(2))
    }),
    ("ConvTranspose2d", |b| transposed2d(b, ConvTranspose2dConfig::new([2, 3], [2, 3]))),
    ("ConvTranspose2d with stride, padding, dilation, groups", |b| {
        let config = ConvTranspose2dConfig::new([2, 4], [2, 2]).with_stride([2, 2]);
        let config = config.with_padding([1, 0]).with_dilation([1, 2]).with_groups(2);
        transposed2d(b, config.with_padding_out([1, 0]))
    }),
    ("ConvTranspose3d", |b| transposed3d(b, ConvTranspose3dConfig::new([2, 2], [2, 1, 2]))),
    ("ConvTranspose3d with stride, padding, groups", |b| {
        let config = ConvTranspose3dConfig::new([2, 2], [2, 2, 2]).with_stride([1, 2, 1]);
        transposed3d(b, config.with_padding([1, 0, 0]).with_groups(2))
    }),
    ("DeformConv2d", |b| {
        let model = DeformConv2dConfig::new([2, 3], [2, 2]).init(&b.device);
        let offsets = b.others([N, 8, 3, 3]) * 0.4;
        b.run(model, (b.floats([N, 2, 4, 4]), offsets), |m, (x, offsets)| {
            score(m.forward(x, offsets, None))
        })
    }),
    ("DeformConv2d with learnt offsets and mask", |b| {
        let offsets = Conv2dConfig::new([2, 8], [2, 2]).init(&b.device);
        let mask = Conv2dConfig::new([2, 4], [2, 2]).init(&b.device);
        let conv = DeformConv2dConfig::new([2, 3], [2, 2]).init(&b.device);
        b.run((offsets, mask, conv), b.floats([N, 2, 4, 4]), |(offsets, mask, conv), x| {
            let mask = burn::tensor::activation::sigmoid(mask.forward(x.clone()));
            let offsets = offsets.forward(x.clone()).tanh() * 0.4;
            score(conv.forward(x, offsets, Some(mask)))
        })
    }),
    ("Unfold4d", |b| {
        let config = Unfold4dConfig::new([2, 2]).with_padding([1, 0]).with_stride([1, 2]);
        let model = (b.parameter([1, 2, 4, 4]), config.init());
        b.run(model, b.floats([N, 2, 4, 4]), |(p, m), x| score(m.forward(x * p.val())))
    }),
    ("Fold4d", |b| {
        let model = (b.parameter([1, 8, 9]), Fold4dConfig::new([4, 4], [2, 2]).init());
        b.run(model, b.floats([N, 8, 9]), |(p, m), x| score(m.forward(x * p.val())))
    }),
    ("PixelShuffle", |b| {
        let model = (b.parameter([1, 8, 2, 3]), PixelShuffleConfig::new(2).init());
        b.run(model, b.floats([N, 8, 2, 3]), |(p, m), x| score(m.forward(x * p.val())))
    }),
    ("PixelUnshuffle", |b| {
        let model = (b.parameter([1, 2, 4, 6]), PixelUnshuffleConfig::new(2).init());
        b.run(model, b.floats([N, 2, 4, 6]), |(p, m), x| score(m.forward(x * p.val())))
    }),
    ("Interpolate1d", |b| {
        let config = Interpolate1dConfig::new().with_output_size(Some(7));
        let model = (b.parameter([1, 2, 4]), config.with_mode(InterpolateMode::Linear).init());
        b.run(model, b.floats([N, 2, 4]), |(p, m), x| score(m.forward(x * p.val())))
    }),
    ("Interpolate2d nearest", |b| interpolate(b, InterpolateMode::Nearest)),
    ("Interpolate2d bilinear", |b| interpolate(b, InterpolateMode::Linear)),
    ("Interpolate2d bicubic", |b| interpolate(b, InterpolateMode::Cubic)),
];

fn same1(n: usize) -> PaddingConfig1d {
    PaddingConfig1d::Explicit(n, n)
}

fn conv1d(b: &Bench, config: Conv1dConfig) -> Outcome {
    b.run(config.init(&b.device), b.floats([N, 2, 6]), |m, x| score(m.forward(x)))
}

fn conv2d(b: &Bench, config: Conv2dConfig) -> Outcome {
    b.run(config.init(&b.device), b.floats([N, 2, 4, 5]), |m, x| score(m.forward(x)))
}

fn conv3d(b: &Bench, config: Conv3dConfig) -> Outcome {
    b.run(config.init(&b.device), b.floats([N, 2, 3, 3, 2]), |m, x| score(m.forward(x)))
}

fn transposed1d(b: &Bench, config: ConvTranspose1dConfig) -> Outcome {
    b.run(config.init(&b.device), b.floats([N, 2, 4]), |m, x| score(m.forward(x)))
}

fn transposed2d(b: &Bench, config: ConvTranspose2dConfig) -> Outcome {
    b.run(config.init(&b.device), b.floats([N, 2, 3, 3]), |m, x| score(m.forward(x)))
}

fn transposed3d(b: &Bench, config: ConvTranspose3dConfig) -> Outcome {
    b.run(config.init(&b.device), b.floats([N, 2, 2, 3, 2]), |m, x| score(m.forward(x)))
}

fn interpolate(b: &Bench, mode: InterpolateMode) -> Outcome {
    let config = Interpolate2dConfig::new().with_output_size(Some([5, 3])).with_mode(mode);
    let model = (b.parameter([1, 2, 3, 4]), config.init());
    b.run(model, b.floats([N, 2, 3, 4]), |(p, m), x| score(m.forward(x * p.val())))
}
