//! The operations that contract two values of the example over positions.

use burn_ir::{MatmulOpIr, ModuleOperationIr, OperationIr};

use super::factored::{Conv, Layout, Operand, Side, Source, Use};
use super::stacked_matrices::StackedMatrices;

/// A contraction: its factors, and the value that it computes.
pub(super) struct Leaf {
    pub(super) use_: Use,
    pub(super) matrices: StackedMatrices,
}

impl Leaf {
    fn new(left: Source, right: Source, length: usize, matrices: StackedMatrices) -> Self {
        let side = |source| Side { source, then: Vec::new() };
        Self { use_: Use { left: side(left), right: side(right), length, scale: 1.0 }, matrices }
    }

    /// A contraction that is one of burn's own weight gradients.
    pub(super) fn of(op: &OperationIr) -> Option<Self> {
        let OperationIr::Module(op) = op else { return None };
        match op {
            ModuleOperationIr::LinearWeightBackward(o) => {
                let [rows, cols] = *o.out.shape.as_slice() else { return None };
                let [stack @ .., positions, _] = o.x.shape.as_slice() else { return None };
                let side = |tensor: &burn_ir::TensorIr| {
                    Source::Operand(Operand {
                        tensor: tensor.clone(),
                        stack: stack.to_vec(),
                        summed: vec![true; stack.len()],
                        positions_last: false,
                    })
                };
                let length = stack.iter().product::<usize>() * positions;
                let matrices = StackedMatrices::one_matrix(rows, cols);
                Some(Self::new(side(&o.x), side(&o.output_grad), length, matrices))
            }
            ModuleOperationIr::EmbeddingBackward(o) => {
                let [classes, width] = *o.weights.shape.as_slice() else { return None };
                let [stack @ .., _, _] = o.out_grad.shape.as_slice() else { return None };
                let grad = Operand {
                    tensor: o.out_grad.clone(),
                    stack: stack.to_vec(),
                    summed: vec![true; stack.len()],
                    positions_last: false,
                };
                let indices = Source::OneHot { indices: o.indices.clone(), classes };
                let length = o.indices.shape.num_elements();
                let matrices = StackedMatrices::one_matrix(classes, width);
                Some(Self::new(indices, Source::Operand(grad), length, matrices))
            }
            ModuleOperationIr::Conv2dWeightBackward(o) => {
                let [_, _, height, width] = *o.output_grad.shape.as_slice() else { return None };
                let [channels, per_group, kh, kw] = *o.weight.shape.as_slice() else { return None };
                if o.x.shape[0] != 1 {
                    return None;
                }
                let groups = o.options.groups;
                let conv = Conv {
                    kernel: [kh, kw],
                    stride: o.options.stride,
                    padding: o.options.padding,
                    dilation: o.options.dilation,
                    groups,
                    output: [height, width],
                };
                let left = Source::Channels { grad: o.output_grad.clone(), groups };
                let right = Source::Patches { x: o.x.clone(), conv };
                let shape = o.weight.shape.as_slice().to_vec();
                let matrices = StackedMatrices {
                    groups,
                    rows: channels / groups,
                    cols: per_group * kh * kw,
                    layout: vec![Layout::Reshape(shape.clone())],
                    shape,
                };
                Some(Self::new(left, right, height * width, matrices))
            }
            _ => None,
        }
    }

    /// A contraction that is a product of matrices, over its inner axis.
    pub(super) fn product(o: &MatmulOpIr) -> Option<Self> {
        let out = o.out.shape.as_slice();
        let [stack @ .., rows, cols] = out else { return None };
        let operand = |tensor: &burn_ir::TensorIr, positions_last| {
            Source::Operand(Operand {
                tensor: tensor.clone(),
                stack: stack.to_vec(),
                summed: vec![false; stack.len()],
                positions_last,
            })
        };
        let length = *o.lhs.shape.as_slice().last()?;
        let groups = stack.iter().product();
        let (rows, cols) = (*rows, *cols);
        let matrices =
            StackedMatrices { groups, rows, cols, layout: Vec::new(), shape: out.to_vec() };
        Some(Self::new(operand(&o.lhs, true), operand(&o.rhs, false), length, matrices))
    }
}

impl StackedMatrices {
    fn one_matrix(rows: usize, cols: usize) -> Self {
        Self { groups: 1, rows, cols, layout: Vec::new(), shape: vec![rows, cols] }
    }
}
