//! From a gradient back through the trace to its factors.
//!
//! The walk starts at the gradient and looks through additions (several uses of one parameter),
//! reshapes, transpositions, scalar factors and products with shared matrices (LoRA). What it does
//! not understand is materialised, which is always right.

use std::collections::{HashMap, HashSet};

use burn_backend::Scalar;
use burn_ir::{
    BaseOperationIr, FloatOperationIr, MatmulOpIr, ModuleOperationIr, NumericOperationIr,
    OperationIr, TensorId, TensorIr,
};

use super::{Conv, Factored, Layout, Operand, Source, Use};

/// Finds factors in a traced graph.
pub(crate) struct Factorizer<'t> {
    pub(crate) operations: &'t [OperationIr],
    pub(crate) producers: &'t HashMap<TensorId, usize>,
    pub(crate) batched: &'t HashSet<TensorId>,
}

impl Factorizer<'_> {
    /// The factors of the gradient `id`; `None` where it must be materialised.
    pub(crate) fn factor(&self, id: TensorId) -> Option<Factored> {
        // Additions are flattened with a list instead of recursion: a recurrent cell adds one use
        // a time step, thousands deep.
        let mut terms = Vec::new();
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            match self.producer(id)? {
                OperationIr::NumericFloat(_, NumericOperationIr::Add(o))
                    if o.lhs.shape == o.out.shape && o.rhs.shape == o.out.shape =>
                {
                    pending.extend([o.lhs.id, o.rhs.id]);
                }
                op => terms.push(self.term(op)?),
            }
        }
        let mut terms = terms.into_iter();
        let mut total = terms.next()?;
        for term in terms {
            let alike = (term.groups, term.rows, term.cols, &term.layout)
                == (total.groups, total.rows, total.cols, &total.layout);
            if !alike {
                return None;
            }
            total.uses.extend(term.uses);
        }
        Some(total)
    }

    fn term(&self, op: &OperationIr) -> Option<Factored> {
        match op {
            OperationIr::BaseFloat(BaseOperationIr::Reshape(o)) => {
                let inner = self.factor(o.input.id)?;
                Some(inner.reshaped(o.out.shape.as_slice()))
            }
            OperationIr::BaseFloat(BaseOperationIr::SwapDims(o)) => {
                let inner = self.factor(o.input.id)?;
                let mut axes: Vec<usize> = (0..inner.shape.len()).collect();
                axes.swap(o.dim1, o.dim2);
                Some(inner.permuted(&axes))
            }
            OperationIr::BaseFloat(BaseOperationIr::Permute(o)) => {
                Some(self.factor(o.input.id)?.permuted(&o.axes))
            }
            OperationIr::NumericFloat(_, NumericOperationIr::Mul(o)) => {
                let batched = |t: &TensorIr| self.batched.contains(&t.id);
                let (inner, shared) = match (batched(&o.lhs), batched(&o.rhs)) {
                    (true, false) => (&o.lhs, &o.rhs),
                    (false, true) => (&o.rhs, &o.lhs),
                    _ => return None,
                };
                let alike = inner.shape == o.out.shape && shared.shape == o.out.shape;
                alike.then(|| self.factor(inner.id))?.map(|inner| inner.masked(shared))
            }
            OperationIr::NumericFloat(_, NumericOperationIr::MulScalar(o)) => {
                Some(self.factor(o.lhs.id)?.scaled(Scalar::from(o.rhs).elem()))
            }
            OperationIr::NumericFloat(_, NumericOperationIr::DivScalar(o)) => {
                let divisor: f64 = Scalar::from(o.rhs).elem();
                Some(self.factor(o.lhs.id)?.scaled(1.0 / divisor))
            }
            OperationIr::NumericFloat(_, NumericOperationIr::Neg(o)) => {
                Some(self.factor(o.input.id)?.scaled(-1.0))
            }
            OperationIr::NumericFloat(_, NumericOperationIr::SumDim(o)) => {
                self.factor(o.input.id)?.summed(&[o.axis])
            }
            OperationIr::NumericFloat(_, NumericOperationIr::SumDims(o)) => {
                let summed = self.factor(o.input.id)?.summed(&o.axes)?;
                Some(summed.reshaped(o.out.shape.as_slice()))
            }
            OperationIr::Float(_, FloatOperationIr::Matmul(o)) => self.product(o),
            OperationIr::Module(ModuleOperationIr::LinearWeightBackward(o)) => {
                let shape = o.out.shape.as_slice();
                let (x, grad) = (&o.x, &o.output_grad);
                let stack = x.shape.as_slice();
                let stack = stack[..stack.len().checked_sub(2)?].to_vec();
                let summed = vec![true; stack.len()];
                let rows = |t: &TensorIr| Operand {
                    tensor: t.clone(),
                    stack: stack.clone(),
                    summed: summed.clone(),
                    positions_last: false,
                };
                let length = stack.iter().product::<usize>() * x.shape[stack.len()];
                let use_ = Use::new(Source::Operand(rows(x)), Source::Operand(rows(grad)), length);
                let (rows, cols) = (shape[0], shape[1]);
                Some(Factored::leaf(use_, 1, rows, cols, shape.to_vec()))
            }
            OperationIr::Module(ModuleOperationIr::EmbeddingBackward(o)) => {
                let [classes, width] = *o.weights.shape.as_slice() else { return None };
                let length = o.indices.shape.num_elements();
                let grad = Operand {
                    tensor: o.out_grad.clone(),
                    stack: o.out_grad.shape.as_slice()[..o.out_grad.shape.num_dims() - 2].to_vec(),
                    summed: vec![true; o.out_grad.shape.num_dims() - 2],
                    positions_last: false,
                };
                let indices = Source::OneHot { indices: o.indices.clone(), classes };
                let use_ = Use::new(indices, Source::Operand(grad), length);
                Some(Factored::leaf(use_, 1, classes, width, vec![classes, width]))
            }
            OperationIr::Module(ModuleOperationIr::Conv2dWeightBackward(o)) => {
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
                let use_ = Use::new(left, right, height * width);
                let (rows, cols) = (channels / groups, per_group * kh * kw);
                let mut leaf = Factored::leaf(use_, groups, rows, cols, vec![groups, rows, cols]);
                let shape = o.weight.shape.as_slice().to_vec();
                leaf.layout.push(Layout::Reshape(shape.clone()));
                leaf.shape = shape;
                Some(leaf)
            }
            _ => None,
        }
    }

    /// A matrix product is a leaf when it contracts two values of the example, and looked through
    /// when one side is a shared matrix and the other factors.
    fn product(&self, o: &MatmulOpIr) -> Option<Factored> {
        let batched = |t: &TensorIr| self.batched.contains(&t.id);
        let looked_through = match (batched(&o.lhs), batched(&o.rhs)) {
            (true, false) => {
                self.factor(o.lhs.id).and_then(|inner| inner.times(&o.rhs, o.out.shape.as_slice()))
            }
            (false, true) => {
                self.factor(o.rhs.id).and_then(|inner| inner.under(&o.lhs, o.out.shape.as_slice()))
            }
            _ => None,
        };
        looked_through.or_else(|| leaf_product(o))
    }

    fn producer(&self, id: TensorId) -> Option<&OperationIr> {
        if !self.batched.contains(&id) {
            return None;
        }
        self.producers.get(&id).map(|index| &self.operations[*index])
    }
}

fn leaf_product(o: &MatmulOpIr) -> Option<Factored> {
    let out = o.out.shape.as_slice();
    let depth = out.len().checked_sub(2)?;
    let stack = out[..depth].to_vec();
    let operand = |tensor: &TensorIr, positions_last| {
        Source::Operand(Operand {
            tensor: tensor.clone(),
            stack: stack.clone(),
            summed: vec![false; depth],
            positions_last,
        })
    };
    let length = o.lhs.shape[depth + 1];
    let use_ = Use::new(operand(&o.lhs, true), operand(&o.rhs, false), length);
    let groups = stack.iter().product();
    Some(Factored::leaf(use_, groups, out[depth], out[depth + 1], out.to_vec()))
}
