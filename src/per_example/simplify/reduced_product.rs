//! Row and column sums of a weight's gradient times a shared factor, without the gradient.
//!
//! A score for each row or column of a frozen weight W has the gradient `Σ (LR) ⊙ W` over one axis.
//! LR is the weight's gradient, the product of the example's inputs and output gradients. Sums
//! commute:
//!
//! ```text
//! Σ_c (LR)_rc W_rc = Σ_t L_rt (R Wᵀ)_tr        Σ_r (LR)_rc W_rc = Σ_t R_tc (Lᵀ W)_tc
//! ```
//!
//! This takes `[positions, rows]` or `[positions, columns]` per example instead of
//! `[rows, columns]`.

use std::collections::{HashMap, HashSet};

use burn_backend::Shape;
use burn_ir::{
    BaseOperationIr, BinaryOpIr, FloatOperationIr, MatmulOpIr, NumericOperationIr, OperationIr,
    ReduceDimOpIr, ShapeOpIr, SwapDimsOpIr, TensorId, TensorIr,
};

use super::replace::{Fresh, replace};

/// Replaces each such sum over one of the `shared` values, if the replacement is smaller.
pub(super) fn shorten(operations: &mut Vec<OperationIr>, shared: &[TensorId]) {
    let found: HashMap<usize, Reduced> = {
        let finder = Finder::new(operations, shared);
        let matches = operations.iter().enumerate();
        matches.filter_map(|(index, op)| Some((index, finder.reduced(op)?))).collect()
    };
    replace(operations, found, |reduced, fresh| reduced.operations(fresh));
}

/// One such sum.
struct Reduced {
    /// LR
    product: MatmulOpIr,
    /// W, `[rows, columns]`
    weight: TensorIr,
    sum: ReduceDimOpIr,
}

impl Reduced {
    /// Whether the replacement of the gradient is smaller.
    fn is_smaller(&self) -> bool {
        let positions = self.product.lhs.shape[self.product.lhs.shape.num_dims() - 1];
        positions < self.weight.shape[self.sum.axis]
    }

    fn operations(&self, fresh: &mut Fresh) -> Vec<OperationIr> {
        let mut list = List { operations: Vec::new(), fresh };
        let (left, right) = (&self.product.lhs, &self.product.rhs);
        let left = list.transposed(left);
        let weight = list.reshaped(&self.weight, self.product.out.shape.clone());
        let (factor, other) = if self.sum.axis == 1 {
            let weight = list.transposed(&weight);
            (left, list.product(right, &weight))
        } else {
            (right.clone(), list.product(&left, &weight))
        };
        let sum = list.sum_of_positions(&factor, &other);
        let Self { sum: ReduceDimOpIr { out, .. }, .. } = self;
        let shape = ShapeOpIr { input: sum, out: out.clone() };
        list.operations.push(OperationIr::BaseFloat(BaseOperationIr::Reshape(shape)));
        list.operations
    }
}

/// New operations while they are made.
struct List<'f> {
    operations: Vec<OperationIr>,
    fresh: &'f mut Fresh,
}

impl List<'_> {
    fn transposed(&mut self, input: &TensorIr) -> TensorIr {
        let rank = input.shape.num_dims();
        let mut dims = input.shape.as_slice().to_vec();
        dims.swap(rank - 2, rank - 1);
        let out = self.fresh.value(Shape::from(dims), input.dtype);
        let (dim1, dim2) = (rank - 2, rank - 1);
        let swap = SwapDimsOpIr { input: input.clone(), out: out.clone(), dim1, dim2 };
        self.operations.push(OperationIr::BaseFloat(BaseOperationIr::SwapDims(swap)));
        out
    }

    fn reshaped(&mut self, input: &TensorIr, shape: Shape) -> TensorIr {
        let out = self.fresh.value(shape, input.dtype);
        let reshape = ShapeOpIr { input: input.clone(), out: out.clone() };
        self.operations.push(OperationIr::BaseFloat(BaseOperationIr::Reshape(reshape)));
        out
    }

    fn product(&mut self, lhs: &TensorIr, rhs: &TensorIr) -> TensorIr {
        let rank = lhs.shape.num_dims();
        let mut dims = lhs.shape.as_slice().to_vec();
        dims[rank - 1] = rhs.shape[rank - 1];
        let out = self.fresh.value(Shape::from(dims), lhs.dtype);
        let product = MatmulOpIr { lhs: lhs.clone(), rhs: rhs.clone(), out: out.clone() };
        self.operations.push(OperationIr::Float(out.dtype, FloatOperationIr::Matmul(product)));
        out
    }

    /// `Σ_t a_t b_t`
    fn sum_of_positions(&mut self, a: &TensorIr, b: &TensorIr) -> TensorIr {
        let (axis, dtype) = (a.shape.num_dims() - 2, a.dtype);
        let out = self.fresh.value(a.shape.clone(), dtype);
        let both = BinaryOpIr { lhs: a.clone(), rhs: b.clone(), out: out.clone() };
        let mut dims = out.shape.as_slice().to_vec();
        dims[axis] = 1;
        let total = self.fresh.value(Shape::from(dims), dtype);
        let sum = ReduceDimOpIr { input: out, out: total.clone(), axis, accumulator_len: 1 };
        for op in [NumericOperationIr::Mul(both), NumericOperationIr::SumDim(sum)] {
            self.operations.push(OperationIr::NumericFloat(dtype, op));
        }
        total
    }
}

/// Looks for the pattern.
struct Finder<'o> {
    producers: HashMap<TensorId, &'o OperationIr>,
    /// Products of matrices, also after changes of shape.
    products: HashMap<TensorId, &'o MatmulOpIr>,
    shared: HashSet<TensorId>,
}

impl<'o> Finder<'o> {
    fn new(operations: &'o [OperationIr], shared: &[TensorId]) -> Self {
        let outputs = operations.iter().flat_map(|op| op.outputs().map(move |out| (out.id, op)));
        let mut products: HashMap<TensorId, &MatmulOpIr> = HashMap::new();
        for op in operations {
            match op {
                OperationIr::Float(_, FloatOperationIr::Matmul(o)) => {
                    products.insert(o.out.id, o);
                }
                OperationIr::BaseFloat(BaseOperationIr::Reshape(o)) => {
                    let product = products.get(&o.input.id).copied();
                    products.extend(product.map(|product| (o.out.id, product)));
                }
                _ => {}
            }
        }
        let shared = shared.iter().copied().collect();
        Self { producers: outputs.collect(), products, shared }
    }

    fn reduced(&self, op: &OperationIr) -> Option<Reduced> {
        let OperationIr::NumericFloat(_, NumericOperationIr::SumDim(sum)) = op else { return None };
        let OperationIr::NumericFloat(_, NumericOperationIr::Mul(both)) =
            self.producers.get(&sum.input.id)?
        else {
            return None;
        };
        let (gradient, weight) =
            match (self.shared.contains(&both.lhs.id), self.shared.contains(&both.rhs.id)) {
                (false, true) => (&both.lhs, &both.rhs),
                (true, false) => (&both.rhs, &both.lhs),
                _ => return None,
            };
        let product = *self.products.get(&gradient.id)?;
        let fits = weight.shape.num_dims() == 2
            && weight.shape == gradient.shape
            && product.out.shape.as_slice().ends_with(weight.shape.as_slice())
            && product.out.shape.num_elements() == weight.shape.num_elements()
            && product.lhs.shape.num_dims() == product.out.shape.num_dims()
            && product.rhs.shape.num_dims() == product.out.shape.num_dims();
        let reduced =
            Reduced { product: product.clone(), weight: weight.clone(), sum: sum.clone() };
        (fits && reduced.is_smaller()).then_some(reduced)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use burn::module::Module;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::{Device, Distribution, Tensor};

    use super::super::simplify;
    use crate::mask::{MaskKind, Structure, SuperMaskConfig};
    use crate::model::ModuleTensors;
    use crate::per_example::graph::{Graph, depends_on_example};
    use crate::per_example::trace::trace;
    use crate::per_example::verify;

    const INPUTS: usize = 8;
    const OUTPUTS: usize = 6;

    fn masked(structure: Structure) -> Linear {
        let device = Device::default().autodiff();
        let model = LinearConfig::new(INPUTS, OUTPUTS).init(&device);
        let config = SuperMaskConfig::new(MaskKind::Multiplier).unwrap().with_structure(structure);
        config.apply(model).unwrap()
    }

    fn batch(positions: usize) -> Tensor<3> {
        let device = Device::default().autodiff();
        Tensor::random([4, positions, INPUTS], Distribution::Default, &device)
    }

    fn loss(model: &Linear, x: Tensor<3>) -> Tensor<1> {
        model.forward(x).tanh().powi_scalar(2).sum()
    }

    /// The size of the largest value of an example that a replay holds.
    fn largest<M: Module>(model: &M, x: Tensor<3>, loss: fn(&M, Tensor<3>) -> Tensor<1>) -> usize {
        let mut trace = trace(model, &ModuleTensors::of(model).unwrap(), &x, &loss).unwrap();
        let inputs: HashSet<_> = trace.module.iter().chain(&trace.batch).copied().collect();
        simplify(&mut trace, &inputs);
        let examples: HashSet<_> = trace.batch.iter().copied().collect();
        let wanted: HashSet<_> = trace.gradients.iter().flatten().copied().collect();
        let batched = depends_on_example(&trace.operations, &examples);
        let (_, graph) = Graph::stages(trace.operations, &inputs, batched.clone(), &wanted);
        let outputs = graph.operations.iter().flat_map(|op| op.outputs());
        let sizes = outputs.filter(|out| batched.contains(&out.id)).map(|o| o.shape.num_elements());
        sizes.max().unwrap()
    }

    const ROWS: Structure = Structure::Axis(0);
    const COLUMNS: Structure = Structure::Axis(1);

    #[test]
    fn few_positions_need_no_gradient_of_the_weight() {
        for structure in [ROWS, COLUMNS, Structure::Heads { axis: 1, heads: 3 }] {
            assert_eq!(largest(&masked(structure), batch(2), loss), 2 * INPUTS, "{structure:?}");
        }
        // With as many positions as rows or columns there is no gain.
        assert_eq!(largest(&masked(ROWS), batch(OUTPUTS), loss), INPUTS * OUTPUTS);
    }

    #[test]
    fn the_short_form_is_exact() {
        for positions in [1, 2, 7] {
            for structure in [ROWS, COLUMNS, Structure::Heads { axis: 0, heads: 2 }] {
                verify(&masked(structure), batch(positions), loss, 1e-4)
                    .unwrap_or_else(|error| panic!("{structure:?}, {positions}: {error}"));
            }
        }
    }
}
