//! A gradient in factors: what they are computed from, and whether they are worth it.

use burn_ir::{TensorId, TensorIr};

/// A gradient in factors. The sum over `uses` is a stack of matrices `[groups, rows, cols]`, and
/// `layout` brings it to the parameter's shape.
#[derive(Clone, Debug)]
pub(crate) struct Factored {
    pub(crate) uses: Vec<Use>,
    pub(crate) groups: usize,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) layout: Vec<Layout>,
    /// The cost of computing the gradient as the trace does.
    pub(super) unfactored: Work,
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

/// One factor. At replay it is brought to `[batch, groups, length, width]`, then multiplied by the
/// shared matrices `then`.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) source: Source,
    pub(crate) then: Vec<Shared>,
}

/// The source of a factor's rows.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// An operand of a matrix product.
    Operand(Operand),
    /// Rows of the identity of size `classes`: the `indices` of an embedding.
    OneHot { indices: TensorIr, classes: usize },
    /// The patches that a convolution's kernel sees.
    Patches { x: TensorIr, conv: Conv },
    /// A convolution's output gradient. In the trace its positions come last.
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

/// A change of layout, on traced shapes, or a product with a shared value of the same shape (such
/// as the scores of a mask over frozen weights).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Layout {
    Reshape(Vec<usize>),
    Permute(Vec<usize>),
    Times(TensorIr),
}

impl Factored {
    /// Whether everything that a norm needs besides the factors is no larger than the gradient. For
    /// Gram matrices this is the space rule of mixed ghost clipping (Bu et al. 2022, section 4),
    /// `2 T² <= rows · cols`. Under a mask there are no Gram matrices, and the factors themselves
    /// must be the smaller.
    pub(crate) fn ghost_is_smaller(&self) -> bool {
        let positions: usize = self.uses.iter().map(|u| u.length).sum();
        let gradient = self.rows.saturating_mul(self.cols);
        if self.layout.iter().any(|step| matches!(step, Layout::Times(_))) {
            return positions.saturating_mul(self.rows + self.cols) <= gradient;
        }
        2 * positions.saturating_mul(positions) <= gradient
    }

    /// Whether a gradient that is not kept in factors should still be contracted from them. If the
    /// walk went through products with shared matrices, the trace itself computes a value of
    /// another size on the way. (A kernel of more than one pixel is left to the trace: its patches
    /// are larger than any gradient.)
    pub(crate) fn contraction_is_smaller(&self) -> bool {
        let patches = |side: &Side| match &side.source {
            Source::Patches { conv, .. } => conv.kernel != [1, 1],
            _ => false,
        };
        self.passes_matrices() && !self.sides().any(patches) && self.is_less_work()
    }

    /// Whether shared matrices cost less as part of the factors than in the trace. Each use
    /// multiplies by all of its own matrices, whereas the trace computes once what several uses
    /// share.
    pub(crate) fn is_less_work(&self) -> bool {
        if !self.passes_matrices() {
            return true;
        }
        let matrices = |u: &Use| {
            let shared = u.left.then.iter().chain(&u.right.then);
            shared.map(|shared| Work::product(u.length, shared.matrix.shape.num_elements())).sum()
        };
        let positions: usize = self.uses.iter().map(|u| u.length).sum();
        let contraction =
            Work::product(positions, self.groups.saturating_mul(self.rows * self.cols));
        let factored: Work = self.uses.iter().map(matrices).chain([contraction]).sum();
        factored < self.unfactored
    }

    fn passes_matrices(&self) -> bool {
        self.sides().any(|side| !side.then.is_empty())
    }

    fn sides(&self) -> impl Iterator<Item = &Side> {
        self.uses.iter().flat_map(|u| [&u.left, &u.right])
    }

    /// The values of the trace from which the factors are computed.
    pub(crate) fn sources(&self) -> impl Iterator<Item = TensorId> {
        let sides = self.sides().flat_map(|side| {
            let source = match &side.source {
                Source::Operand(operand) => operand.tensor.id,
                Source::OneHot { indices, .. } => indices.id,
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

/// The cost of matrix products, in scalar multiplications per example.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(super) struct Work(f64);

impl Work {
    /// The minimum cost of a product, however small it is.
    const START: f64 = 512.0;

    /// The cost of multiplying `rows` rows by a matrix of so many `entries`.
    pub(super) fn product(rows: usize, entries: usize) -> Self {
        Self(Self::START + rows as f64 * entries as f64)
    }
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Self>>(works: I) -> Self {
        Self(works.map(|work| work.0).sum())
    }
}
