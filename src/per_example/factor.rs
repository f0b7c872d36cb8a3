//! Reads off the trace how a parameter's gradient factors.
//!
//! A weight gradient is nearly always a contraction over positions `t` of the example,
//! `Σ_t left[t]ᵀ right[t]`: the layer's input and its output's gradient for a linear layer, unfolded
//! patches for a convolution, one-hot tokens for an embedding. Kept in factors, its norm costs a Gram
//! product (ghost norm: Goodfellow 2015; Bu et al. 2022, arXiv 2205.10683) and its clipped sum one
//! ordinary weight-gradient product (book-keeping: Bu et al. 2023, arXiv 2210.00038), and
//! `[batch, ...parameter]` is never held.
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

/// A gradient in factors: the sum over `uses` is a stack of matrices `[groups, rows, cols]`, and
/// `layout` brings it to the parameter's shape.
#[derive(Clone, Debug)]
pub(crate) struct Factored {
    pub(crate) uses: Vec<Use>,
    pub(crate) groups: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) layout: Vec<Layout>,
    /// The traced shape after `layout`.
    shape: Vec<usize>,
}

/// One use of the parameter: `scale · Σ_t left[t]ᵀ right[t]`.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    pub(crate) left: Side,
    pub(crate) right: Side,
    /// Positions summed over.
    pub(crate) length: usize,
    pub(crate) scale: f64,
}

/// One factor, brought to `[batch, groups, length, width]` at replay, then multiplied by the shared
/// matrices `then`.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) source: Source,
    pub(crate) then: Vec<Shared>,
}

/// Where a factor's rows come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// An operand of a matrix product.
    Operand(Operand),
    /// Rows of the identity: the `indices` of an embedding.
    OneHot { indices: TensorIr },
    /// The patches that a convolution's kernel sees.
    Patches { x: TensorIr, conv: Conv },
    /// A convolution's output gradient, positions last in the trace.
    Channels { grad: TensorIr, groups: usize },
}

/// How an operand `[...stack, a, b]` becomes rows.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    pub(crate) tensor: TensorIr,
    /// The stack axes of the product, after broadcasting.
    pub(crate) stack: Vec<usize>,
    /// Which stack axes are summed over (the others are groups).
    pub(crate) summed: Vec<bool>,
    /// Whether positions are the last axis.
    pub(crate) positions_last: bool,
}

/// A shared matrix that multiplies a factor from the right.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) matrix: TensorIr,
    pub(crate) transposed: bool,
}

/// A two-dimensional convolution's geometry.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [(usize, usize); 2],
    pub(crate) dilation: [usize; 2],
    pub(crate) groups: usize,
    /// Height and width of the output.
    pub(crate) output: [usize; 2],
}

/// A change of layout, on traced shapes, or a product with a shared value of the same shape (the scores
/// of a mask over frozen weights).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Layout {
    Reshape(Vec<usize>),
    Permute(Vec<usize>),
    Times(TensorIr),
}

impl Factored {
    /// Whether what a norm needs beside the factors is no larger than the gradient. For Gram matrices this is
    /// the space rule of mixed ghost clipping (Bu et al. 2022, section 4), `2 T² <= rows · cols`; under a
    /// mask there are none, and the factors themselves must be the smaller.
    pub(crate) fn ghost_is_smaller(&self) -> bool {
        let positions: usize = self.uses.iter().map(|u| u.length).sum();
        let gradient = self.rows.saturating_mul(self.cols);
        if self.layout.iter().any(|step| matches!(step, Layout::Times(_))) {
            return positions.saturating_mul(self.rows + self.cols) <= gradient;
        }
        2 * positions.saturating_mul(positions) <= gradient
    }

    /// Whether the walk went through products with shared matrices, so that the trace's own way to the
    /// gradient leads over a value of another size. (A kernel of more than one pixel is left to the trace:
    /// its patches are larger than any gradient.)
    pub(crate) fn passes_matrices(&self) -> bool {
        let passes = |side: &Side| !side.then.is_empty();
        let patches = |side: &Side| match &side.source {
            Source::Patches { conv, .. } => conv.kernel != [1, 1],
            _ => false,
        };
        let any = |what: &dyn Fn(&Side) -> bool| {
            self.uses.iter().flat_map(|u| [&u.left, &u.right]).any(what)
        };
        any(&passes) && !any(&patches)
    }

    /// The values of the trace that the factors are made from.
    pub(crate) fn sources(&self) -> impl Iterator<Item = TensorId> {
        let sides = self.uses.iter().flat_map(|u| [&u.left, &u.right]).flat_map(|side| {
            let source = match &side.source {
                Source::Operand(operand) => operand.tensor.id,
                Source::OneHot { indices } => indices.id,
                Source::Patches { x, .. } => x.id,
                Source::Channels { grad, .. } => grad.id,
            };
            std::iter::once(source).chain(side.then.iter().map(|shared| shared.matrix.id))
        });
        sides.chain(self.layout.iter().filter_map(|step| match step {
            Layout::Times(shared) => Some(shared.id),
            _ => None,
        }))
    }
}

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
                let indices = Source::OneHot { indices: o.indices.clone() };
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

impl Use {
    fn new(left: Source, right: Source, length: usize) -> Self {
        let side = |source| Side { source, then: Vec::new() };
        Self { left: side(left), right: side(right), length, scale: 1.0 }
    }
}

impl Factored {
    fn leaf(use_: Use, groups: usize, rows: usize, cols: usize, shape: Vec<usize>) -> Self {
        Self { uses: vec![use_], groups, rows, cols, layout: Vec::new(), shape }
    }

    /// Whether the traced value still is the stack of matrices, up to axes of size one in front.
    fn is_matrix(&self) -> bool {
        self.layout.is_empty()
    }

    fn scaled(mut self, factor: f64) -> Self {
        for u in &mut self.uses {
            u.scale *= factor;
        }
        self
    }

    /// Times a shared value, entry by entry.
    fn masked(mut self, shared: &TensorIr) -> Self {
        self.begin_layout();
        self.layout.push(Layout::Times(shared.clone()));
        self
    }

    fn reshaped(mut self, shape: &[usize]) -> Self {
        let depth = shape.len().saturating_sub(2);
        let same_matrices = self.is_matrix()
            && shape.len() >= 2
            && shape[depth..] == [self.rows, self.cols]
            // An operand's stack axes are named by position, so they may only change where that
            // no longer matters: when there is one matrix.
            && self.groups == 1;
        // Reshapes that lead back to the one matrix cancel: an adapter of a convolution's kernel.
        let back_to_matrix = self.groups == 1
            && shape == [self.rows, self.cols]
            && self.layout.iter().all(|layout| matches!(layout, Layout::Reshape(_)));
        if back_to_matrix {
            self.layout.clear();
        } else if !same_matrices {
            self.begin_layout();
            self.layout.push(Layout::Reshape(shape.to_vec()));
        }
        self.shape = shape.to_vec();
        self
    }

    fn permuted(mut self, axes: &[usize]) -> Self {
        let rank = axes.len();
        let transposes = rank >= 2
            && axes[..rank - 2].iter().enumerate().all(|(i, axis)| i == *axis)
            && axes[rank - 2..] == [rank - 1, rank - 2];
        if self.is_matrix() && transposes {
            for u in &mut self.uses {
                std::mem::swap(&mut u.left, &mut u.right);
            }
            std::mem::swap(&mut self.rows, &mut self.cols);
        } else {
            self.begin_layout();
            self.layout.push(Layout::Permute(axes.to_vec()));
        }
        self.shape = axes.iter().map(|axis| self.shape[*axis]).collect();
        self
    }

    /// From here on the value is no stack of matrices: layouts apply to its traced shape.
    fn begin_layout(&mut self) {
        if self.layout.is_empty() {
            self.layout.push(Layout::Reshape(self.shape.clone()));
        }
    }

    /// A sum over stack axes of the product moves them from groups to positions.
    fn summed(mut self, axes: &[usize]) -> Option<Self> {
        let depth = self.shape.len().checked_sub(2)?;
        if !self.is_matrix() || axes.iter().any(|axis| *axis >= depth) {
            return None;
        }
        for axis in axes {
            let size = self.shape[*axis];
            if size == 1 {
                continue;
            }
            for u in &mut self.uses {
                for side in [&mut u.left, &mut u.right] {
                    let Source::Operand(operand) = &mut side.source else { return None };
                    if operand.stack.get(*axis) != Some(&size) || operand.summed[*axis] {
                        return None;
                    }
                    operand.summed[*axis] = true;
                }
                u.length *= size;
            }
            self.groups /= size;
            self.shape[*axis] = 1;
        }
        Some(self)
    }

    /// `self · matrix`: the shared matrix moves into the right factor.
    fn times(mut self, matrix: &TensorIr, out: &[usize]) -> Option<Self> {
        if !self.is_matrix() || self.groups != 1 || !is_one_matrix(matrix) {
            return None;
        }
        for u in &mut self.uses {
            u.right.then.push(Shared { matrix: matrix.clone(), transposed: false });
        }
        self.cols = *out.last()?;
        self.shape = out.to_vec();
        Some(self)
    }

    /// `matrix · self`: the shared matrix moves, transposed, into the left factor.
    fn under(mut self, matrix: &TensorIr, out: &[usize]) -> Option<Self> {
        if !self.is_matrix() || self.groups != 1 || !is_one_matrix(matrix) {
            return None;
        }
        for u in &mut self.uses {
            u.left.then.push(Shared { matrix: matrix.clone(), transposed: true });
        }
        self.rows = out[out.len().checked_sub(2)?];
        self.shape = out.to_vec();
        Some(self)
    }
}

fn is_one_matrix(tensor: &TensorIr) -> bool {
    let shape = tensor.shape.as_slice();
    shape.len() >= 2 && shape[..shape.len() - 2].iter().all(|n| *n == 1)
}
