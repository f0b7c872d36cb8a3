//! Compares every rule with the same operation run for one example after another, without a batch
//! axis.

pub(in crate::per_example::rules) mod case;

use burn_ir::*;

use self::ModuleOperationIr as M;
use self::case::{Case, id};

#[test]
fn convolutions() {
    let options = [
        // Padding that differs between the sides, stride, dilation, groups.
        ([1, 1], [(1, 1), (1, 1)], [1, 1], 1),
        ([2, 1], [(0, 2), (1, 0)], [1, 2], 1),
        ([2, 2], [(1, 1), (0, 0)], [1, 1], 2),
        ([3, 2], [(0, 0), (1, 1)], [1, 1], 4),
    ];
    for (stride, padding, dilation, groups) in options {
        for rows in [1, 2] {
            let options = Conv2dOptionsIr { stride, padding, dilation, groups };
            let mut c = Case::new();
            let x = c.batched(&[rows, 4, 7, 6]);
            let w = c.shared(&[8, 4 / groups, 3, 2]);
            let b = Some(c.shared(&[8]));
            let o = Conv2dOpIr::create(x.clone(), w.clone(), b, options.clone(), id);
            let out = o.out.shape.to_vec();
            c.check(M::Conv2d(o));

            let (mut c, grad) = c.with_grad(&out);
            let o = Conv2dXBackwardOpIr::create(
                x.clone(),
                w.clone(),
                grad.clone(),
                options.clone(),
                id,
            );
            c.check(M::Conv2dXBackward(o));
            let o = Conv2dWeightBackwardOpIr::create(x.clone(), w, grad.clone(), options, id);
            c.check(M::Conv2dWeightBackward(o));
            let b = c.shared(&[8]);
            c.check(M::Conv2dBiasBackward(Conv2dBiasBackwardOpIr::create(x, b, grad, id)));
        }
    }
}

#[test]
fn convolutions_of_one_and_three_axes() {
    let mut c = Case::new();
    let options = Conv1dOptionsIr { stride: [2], padding: [(2, 1)], dilation: [2], groups: 2 };
    let (x, w) = (c.batched(&[2, 4, 11]), c.shared(&[6, 2, 3]));
    let o = Conv1dOpIr::create(x.clone(), w.clone(), None, options.clone(), id);
    let out = o.out.shape.to_vec();
    c.check(M::Conv1d(o));
    let (c, grad) = c.with_grad(&out);
    let o = Conv1dXBackwardOpIr::create(x.clone(), w.clone(), grad.clone(), options.clone(), id);
    c.check(M::Conv1dXBackward(o));
    c.check(M::Conv1dWeightBackward(Conv1dWeightBackwardOpIr::create(x, w, grad, options, id)));

    let mut c = Case::new();
    let options =
        Conv3dOptionsIr { stride: [1, 2, 1], padding: [1, 0, 1], dilation: [1, 1, 2], groups: 1 };
    let (x, w) = (c.batched(&[2, 2, 4, 5, 6]), c.shared(&[3, 2, 2, 3, 2]));
    let o = Conv3dOpIr::create(x.clone(), w.clone(), None, options.clone(), id);
    let out = o.out.shape.to_vec();
    c.check(M::Conv3d(o));
    let (mut c, grad) = c.with_grad(&out);
    let o = Conv3dXBackwardOpIr::create(x.clone(), w.clone(), grad.clone(), options.clone(), id);
    c.check(M::Conv3dXBackward(o));
    let o = Conv3dWeightBackwardOpIr::create(x.clone(), w, grad.clone(), options, id);
    c.check(M::Conv3dWeightBackward(o));
    let b = c.shared(&[3]);
    c.check(M::Conv3dBiasBackward(Conv3dBiasBackwardOpIr::create(x, b, grad, id)));
}

#[test]
fn transposed_convolutions() {
    for (stride, padding, padding_out, dilation, groups) in
        [([1, 1], [0, 0], [0, 0], [1, 1], 1), ([2, 3], [1, 0], [1, 2], [1, 2], 2)]
    {
        let options = ConvTranspose2dOptionsIr { stride, padding, padding_out, dilation, groups };
        let mut c = Case::new();
        let x = c.batched(&[2, 4, 4, 3]);
        let w = c.shared(&[4, 3, 3, 2]);
        let b = Some(c.shared(&[3 * groups]));
        let o = ConvTranspose2dOpIr::create(x.clone(), w.clone(), b, options.clone(), id);
        let out = o.out.shape.to_vec();
        c.check(M::ConvTranspose2d(o));
        let (c, grad) = c.with_grad(&out);
        let o = ConvTranspose2dWeightBackwardOpIr::create(x, w, grad, options, id);
        c.check(M::ConvTranspose2dWeightBackward(o));
    }
    let mut c = Case::new();
    let options = ConvTranspose1dOptionsIr {
        stride: [2],
        padding: [1],
        padding_out: [1],
        dilation: [1],
        groups: 1,
    };
    let (x, w) = (c.batched(&[1, 2, 5]), c.shared(&[2, 3, 3]));
    let o = ConvTranspose1dOpIr::create(x.clone(), w.clone(), None, options.clone(), id);
    let out = o.out.shape.to_vec();
    c.check(M::ConvTranspose1d(o));
    let (mut c, grad) = c.with_grad(&out);
    let o = ConvTranspose1dWeightBackwardOpIr::create(x.clone(), w, grad.clone(), options, id);
    c.check(M::ConvTranspose1dWeightBackward(o));
    let b = c.shared(&[3]);
    let o = ConvTranspose1dBiasBackwardOpIr::create(x, b, grad, id);
    c.check(M::ConvTranspose1dBiasBackward(o));

    let mut c = Case::new();
    let options = ConvTranspose3dOptionsIr {
        stride: [1, 2, 1],
        padding: [0, 1, 0],
        padding_out: [0, 1, 0],
        dilation: [1, 1, 1],
        groups: 2,
    };
    let (x, w) = (c.batched(&[2, 2, 2, 3, 2]), c.shared(&[2, 2, 2, 3, 1]));
    let o = ConvTranspose3dOpIr::create(x.clone(), w.clone(), None, options.clone(), id);
    let out = o.out.shape.to_vec();
    c.check(M::ConvTranspose3d(o));
    let (c, grad) = c.with_grad(&out);
    let o = ConvTranspose3dWeightBackwardOpIr::create(x, w, grad, options, id);
    c.check(M::ConvTranspose3dWeightBackward(o));
}

#[test]
fn weights_that_depend_on_the_example() {
    let options =
        Conv2dOptionsIr { stride: [1, 1], padding: [(0, 0); 2], dilation: [1, 1], groups: 1 };
    let mut c = Case::new();
    let (x, w) = (c.shared(&[1, 2, 4, 4]), c.batched(&[3, 2, 2, 2]));
    c.check(M::Conv2d(Conv2dOpIr::create(x.clone(), w.clone(), None, options.clone(), id)));
    let (c, grad) = c.with_grad(&[1, 3, 3, 3]);
    c.check(M::Conv2dXBackward(Conv2dXBackwardOpIr::create(x, w, grad, options, id)));

    let mut c = Case::new();
    let (x, w) = (c.shared(&[2, 3]), c.batched(&[3, 4]));
    c.check(M::Linear(LinearOpIr::create(x, w, None, id)));

    let mut c = Case::new();
    let (w, i) = (c.batched(&[5, 2]), c.shared_int(&[2, 3], 5));
    c.check(M::Embedding(EmbeddingOpIr::create(w, i, id)));
}

#[test]
fn deformable_convolution() {
    let options = DeformableConv2dOptionsIr {
        stride: [1, 1],
        padding: [1, 1],
        dilation: [1, 1],
        weight_groups: 1,
        offset_groups: 1,
    };
    let mut c = Case::new();
    let x = c.batched(&[2, 2, 4, 4]);
    let offset = c.batched(&[2, 18, 4, 4]);
    let w = c.shared(&[3, 2, 3, 3]);
    let (mask, b) = (Some(c.batched(&[2, 9, 4, 4])), Some(c.shared(&[3])));
    let o = DeformConv2dOpIr::create(
        x.clone(),
        offset.clone(),
        w.clone(),
        mask.clone(),
        b.clone(),
        options.clone(),
        id,
    );
    c.check(M::DeformableConv2d(Box::new(o)));
    let (c, grad) = c.with_grad(&[2, 3, 4, 4]);
    let o = DeformConv2dBackwardOpIr::create(x, offset, w, mask, b, grad, options, id);
    c.check(M::DeformableConv2dBackward(Box::new(o)));
}

#[test]
fn linear() {
    let mut c = Case::new();
    let (x, w) = (c.batched(&[2, 3, 4]), c.shared(&[4, 5]));
    let b = Some(c.shared(&[5]));
    c.check(M::Linear(LinearOpIr::create(x.clone(), w.clone(), b, id)));
    let (c, grad) = c.with_grad(&[2, 3, 5]);
    c.check(M::LinearXBackward(LinearXBackwardOpIr::create(w, grad.clone(), id)));
    c.check(M::LinearWeightBackward(LinearWeightBackwardOpIr::create(x, grad.clone(), id)));
    c.check(M::LinearBiasBackward(LinearBiasBackwardOpIr::create(grad, id)));
}

#[test]
fn normalization() {
    let mut c = Case::new();
    let x = c.batched(&[2, 3, 4]);
    let [gamma, beta, mean] = [(); 3].map(|()| c.shared(&[3]));
    let variance = c.positive(&[3]);
    let epsilon = ScalarIr::Float(1e-5);
    c.check(M::BatchNorm(BatchNormOpIr::create(x, gamma, beta, mean, variance, epsilon, id)));

    for dims in [vec![4], vec![2, 3, 4]] {
        let mut c = Case::new();
        let (input, gamma, beta) = (c.batched(&dims), c.shared(&[4]), Some(c.shared(&[4])));
        let out = TensorIr::uninit(id(), input.shape.clone(), input.dtype);
        c.check(M::LayerNorm(LayerNormOpIr { input, gamma, beta, epsilon, out }));
    }
}

#[test]
fn embedding() {
    let mut c = Case::new();
    let (w, i) = (c.shared(&[5, 3]), c.batched_int(&[2, 6], 5));
    c.check(M::Embedding(EmbeddingOpIr::create(w.clone(), i.clone(), id)));
    let (c, grad) = c.with_grad(&[2, 6, 3]);
    c.check(M::EmbeddingBackward(EmbeddingBackwardOpIr::create(w, grad, i, id)));
    // The same tokens for every example.
    let mut c = Case::new();
    let (w, i, grad) = (c.shared(&[5, 3]), c.shared_int(&[1, 6], 5), c.batched(&[1, 6, 3]));
    c.check(M::EmbeddingBackward(EmbeddingBackwardOpIr::create(w, grad, i, id)));
}

#[test]
fn a_token_that_does_not_exist_stays_in_its_example() {
    let mut c = Case::new();
    let (w, i) = (c.shared(&[4, 2]), c.batched_int(&[1, 3], 4));
    let grad = c.batched(&[1, 3, 2]);
    let o = M::EmbeddingBackward(EmbeddingBackwardOpIr::create(w, grad, i.clone(), id));
    let before = c.outputs(&o);
    for wrong in [4.0, 7.0, -1.0] {
        // The second of three examples.
        c.set(&i, 3, wrong);
        let after = c.outputs(&o);
        assert_eq!(before[..8], after[..8]);
        assert_eq!(before[16..], after[16..]);
    }
}

#[test]
fn attention() {
    // A mask and a bias for each row, or one shared by all rows.
    for (rows, masks) in [(1, 1), (2, 2), (2, 1)] {
        let mut c = Case::new();
        let query = c.batched(&[rows, 2, 3, 4]);
        let (key, value) = (c.batched(&[rows, 2, 5, 4]), c.shared(&[rows, 2, 5, 4]));
        let mask = Some(c.shared_bool(&[masks, 2, 3, 5]));
        let bias = Some(c.batched(&[masks, 2, 3, 5]));
        let options = AttentionOptionsIr { scale: None, softcap: None, is_causal: false };
        let o = AttentionOpIr::create(query, key, value, mask, bias, options, id);
        c.check(M::Attention(o));
    }
    let mut c = Case::new();
    let [query, key, value] = [(); 3].map(|()| c.batched(&[2, 2, 3, 4]));
    let mask = Some(c.batched_bool(&[2, 2, 3, 3]));
    let options = AttentionOptionsIr {
        scale: Some(ScalarIr::Float(0.3)),
        softcap: Some(ScalarIr::Float(2.0)),
        is_causal: true,
    };
    c.check(M::Attention(AttentionOpIr::create(query, key, value, mask, None, options, id)));
}

#[test]
fn ctc() {
    let mut c = Case::new();
    let log_probs = c.batched(&[4, 2, 3]);
    let targets = c.batched_int(&[2, 2], 2);
    let (input_lengths, target_lengths) = (c.shared_int(&[2], 1), c.shared_int(&[2], 1));
    c.fill(&input_lengths, 4.0);
    c.fill(&target_lengths, 2.0);
    let o = CtcLossOpIr::create(log_probs, targets, input_lengths, target_lengths, 2, id);
    c.check(M::CtcLoss(o));
}

#[test]
fn pools() {
    for ceil in [false, true] {
        let mut c = Case::new();
        let x = c.batched(&[2, 3, 7, 6]);
        let o = AvgPool2dOpIr::create(x.clone(), [3, 2], [2, 2], [1, 0], true, ceil, id);
        let out = o.out.shape.to_vec();
        c.check(M::AvgPool2d(o));
        c.check(M::MaxPool2d(MaxPool2dOpIr::create(
            x.clone(),
            [3, 2],
            [2, 2],
            [1, 0],
            [1, 1],
            ceil,
            id,
        )));
        let (mut c, grad) = c.with_grad(&out);
        c.check(M::AvgPool2dBackward(AvgPool2dBackwardOpIr::create(
            x.clone(),
            grad.clone(),
            [3, 2],
            [2, 2],
            [1, 0],
            true,
            ceil,
            id,
        )));
        let dtype = burn_backend::DType::I64;
        let o = MaxPool2dWithIndicesOpIr::create(
            x.clone(),
            [3, 2],
            [2, 2],
            [1, 0],
            [1, 1],
            ceil,
            dtype,
            id,
        );
        let indices = c.result(&M::MaxPool2dWithIndices(o.clone()), &o.out_indices);
        c.check(M::MaxPool2dWithIndices(o));
        c.check(M::MaxPool2dWithIndicesBackward(MaxPool2dWithIndicesBackwardOpIr::create(
            x,
            grad,
            indices,
            [3, 2],
            [2, 2],
            [1, 0],
            [1, 1],
            ceil,
            id,
        )));
    }
}

#[test]
fn pools_of_one_axis() {
    let mut c = Case::new();
    let x = c.batched(&[2, 3, 8]);
    c.check(M::AvgPool1d(AvgPool1dOpIr::create(x.clone(), 3, 2, 1, false, false, id)));
    c.check(M::MaxPool1d(MaxPool1dOpIr::create(x.clone(), 3, 2, 1, 1, false, id)));
    let (mut c, grad) = c.with_grad(&[2, 3, 4]);
    let o = AvgPool1dBackwardOpIr::create(x.clone(), grad.clone(), 3, 2, 1, false, false, id);
    c.check(M::AvgPool1dBackward(o));
    let dtype = burn_backend::DType::I64;
    let o = MaxPool1dWithIndicesOpIr::create(x.clone(), 3, 2, 1, 1, false, dtype, id);
    let indices = c.result(&M::MaxPool1dWithIndices(o.clone()), &o.out_indices);
    c.check(M::MaxPool1dWithIndices(o));
    let o = MaxPool1dWithIndicesBackwardOpIr::create(x, grad, indices, 3, 2, 1, 1, false, id);
    c.check(M::MaxPool1dWithIndicesBackward(o));
}

#[test]
fn adaptive_pools_interpolation_and_windows() {
    let mut c = Case::new();
    let x = c.batched(&[2, 3, 7]);
    c.check(M::AdaptiveAvgPool1d(AdaptiveAvgPool1dOpIr::create(x.clone(), 3, id)));
    let (c, g) = c.with_grad(&[2, 3, 3]);
    c.check(M::AdaptiveAvgPool1dBackward(AdaptiveAvgPool1dBackwardOpIr::create(x, g, id)));

    let mut c = Case::new();
    let x = c.batched(&[2, 2, 4, 5, 3]);
    c.check(M::AdaptiveAvgPool3d(AdaptiveAvgPool3dOpIr::create(x.clone(), [2, 3, 1], id)));
    let (c, g) = c.with_grad(&[2, 2, 2, 3, 1]);
    c.check(M::AdaptiveAvgPool3dBackward(AdaptiveAvgPool3dBackwardOpIr::create(x, g, id)));

    let mut c = Case::new();
    let x = c.batched(&[2, 3, 5, 6]);
    c.check(M::AdaptiveAvgPool2d(AdaptiveAvgPool2dOpIr::create(x.clone(), [2, 3], id)));
    let options = InterpolateOptionsIr { mode: InterpolateModeIr::Nearest, align_corners: false };
    let o = InterpolateOpIr::create(x.clone(), [7, 9], options.clone(), id);
    c.check(M::Interpolate(o));
    let unfold = Unfold4dOptionsIr { stride: [1, 2], padding: [1, 0], dilation: [1, 2] };
    c.check(M::Unfold4d(Unfold4dOpIr::create(x.clone(), [3, 2], unfold, id)));
    let (mut c, g) = c.with_grad(&[2, 3, 2, 3]);
    let o = AdaptiveAvgPool2dBackwardOpIr::create(x.clone(), g, id);
    c.check(M::AdaptiveAvgPool2dBackward(o));
    let g = c.batched(&[2, 3, 7, 9]);
    let o = InterpolateBackwardOpIr::create(x, g, [7, 9], options, id);
    c.check(M::InterpolateBackward(o));
}
