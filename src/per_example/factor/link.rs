//! The operations that the walk understands, and their effect.

use burn_backend::Scalar;
use burn_ir::{
    BaseOperationIr, BinaryOpIr, FloatOperationIr, MatmulOpIr, NumericOperationIr, OperationIr,
    TensorId, TensorIr,
};

use super::change::Change;
use super::leaf::Leaf;

/// An operation as the walk sees it.
pub(super) enum Link<'t> {
    /// Several uses of one parameter: tied weights, recurrent cells.
    Sum([TensorId; 2]),
    /// A linear step from one value. If the result does not factor, a product is itself a
    /// contraction.
    Step {
        input: TensorId,
        change: Change<'t>,
        product: Option<&'t MatmulOpIr>,
    },
    Leaf(Box<Leaf>),
}

impl<'t> Link<'t> {
    /// `None` for an operation that is not understood. `batched` tells whether a value depends on
    /// the example.
    pub(super) fn of(op: &'t OperationIr, batched: impl Fn(&TensorIr) -> bool) -> Option<Self> {
        match op {
            OperationIr::BaseFloat(op) => Self::of_view(op),
            OperationIr::NumericFloat(_, op) => Self::of_numeric(op, batched),
            OperationIr::Float(_, FloatOperationIr::Matmul(o)) => Self::of_product(o, batched),
            op => Leaf::of(op).map(|leaf| Self::Leaf(Box::new(leaf))),
        }
    }

    fn of_view(op: &'t BaseOperationIr) -> Option<Self> {
        match op {
            BaseOperationIr::Reshape(o) => {
                Some(Self::step(&o.input, Change::Reshape(o.out.shape.as_slice())))
            }
            BaseOperationIr::SwapDims(o) => {
                let mut axes: Vec<usize> = (0..o.input.shape.num_dims()).collect();
                axes.swap(o.dim1, o.dim2);
                Some(Self::step(&o.input, Change::Permute(axes)))
            }
            BaseOperationIr::Permute(o) => {
                Some(Self::step(&o.input, Change::Permute(o.axes.clone())))
            }
            _ => None,
        }
    }

    fn of_numeric(op: &'t NumericOperationIr, batched: impl Fn(&TensorIr) -> bool) -> Option<Self> {
        let alike = |o: &BinaryOpIr| o.lhs.shape == o.out.shape && o.rhs.shape == o.out.shape;
        match op {
            NumericOperationIr::Add(o) => alike(o).then_some(Self::Sum([o.lhs.id, o.rhs.id])),
            NumericOperationIr::Mul(o) => match (batched(&o.lhs), batched(&o.rhs)) {
                (true, false) => alike(o).then(|| Self::step(&o.lhs, Change::Mask(&o.rhs))),
                (false, true) => alike(o).then(|| Self::step(&o.rhs, Change::Mask(&o.lhs))),
                _ => None,
            },
            NumericOperationIr::MulScalar(o) => {
                Some(Self::step(&o.lhs, Change::Scale(Scalar::from(o.rhs).elem())))
            }
            NumericOperationIr::DivScalar(o) => {
                let divisor: f64 = Scalar::from(o.rhs).elem();
                Some(Self::step(&o.lhs, Change::Scale(1.0 / divisor)))
            }
            NumericOperationIr::Neg(o) => Some(Self::step(&o.input, Change::Scale(-1.0))),
            NumericOperationIr::SumDim(o) => {
                let axes = std::slice::from_ref(&o.axis);
                Some(Self::step(&o.input, Change::Sum { axes, shape: o.out.shape.as_slice() }))
            }
            NumericOperationIr::SumDims(o) => {
                let (axes, shape) = (&o.axes[..], o.out.shape.as_slice());
                Some(Self::step(&o.input, Change::Sum { axes, shape }))
            }
            _ => None,
        }
    }

    /// A product is a contraction if both sides depend on the example. If one side is a shared
    /// matrix (an adapter, LoRA), the walk looks through it.
    fn of_product(o: &'t MatmulOpIr, batched: impl Fn(&TensorIr) -> bool) -> Option<Self> {
        let out = o.out.shape.as_slice();
        let (input, change) = match (batched(&o.lhs), batched(&o.rhs)) {
            (true, false) => (o.lhs.id, Change::Times { matrix: &o.rhs, out }),
            (false, true) => (o.rhs.id, Change::Under { matrix: &o.lhs, out }),
            _ => return Leaf::product(o).map(|leaf| Self::Leaf(Box::new(leaf))),
        };
        Some(Self::Step { input, change, product: Some(o) })
    }

    fn step(input: &TensorIr, change: Change<'t>) -> Self {
        Self::Step { input: input.id, change, product: None }
    }

    /// The values from which this one is computed.
    pub(super) fn inputs(&self) -> impl Iterator<Item = TensorId> {
        let inputs = match self {
            Self::Sum([one, other]) => [Some(*one), Some(*other)],
            Self::Step { input, .. } => [Some(*input), None],
            Self::Leaf(_) => [None, None],
        };
        inputs.into_iter().flatten()
    }
}
