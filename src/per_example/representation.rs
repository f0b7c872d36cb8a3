//! The representation of a parameter's per-example gradients.

use burn::tensor::{DType, Device, Shape};
use burn_backend::ops::{BoolTensorOps, FloatTensorOps};
use burn_backend::tensor::{BoolTensor, FloatTensor};
use burn_backend::{Scalar, Slice, TensorMetadata};
use burn_dispatch::Dispatch;

use super::contraction::{Contraction, SquaredNorms};
use super::sums::per_example_sum;

/// The gradient of one parameter for every example.
pub(crate) enum Representation {
    /// The loss does not depend on the parameter.
    Zero,
    /// `[examples, ...parameter]`.
    Materialized(FloatTensor<Dispatch>),
    /// The two factors of a contraction.
    Factored(Contraction<Dispatch>),
    /// One part of the batch after another.
    Parts(Vec<Part>),
}

/// Consecutive examples.
pub(crate) struct Part {
    examples: usize,
    form: Representation,
}

/// The properties of the parameter that a form does not hold itself.
#[derive(Clone, Copy)]
pub(crate) struct Place<'p> {
    pub(crate) shape: &'p Shape,
    pub(crate) device: &'p Device,
}

impl Representation {
    /// Joins the forms of all parts into one form per parameter. `forms` are the parameters' forms
    /// of each part, and `sizes` the parts' numbers of examples.
    pub(crate) fn join(sizes: Vec<usize>, forms: Vec<Vec<Self>>) -> Vec<Self> {
        let parameters = forms.first().map_or(0, Vec::len);
        let mut joined: Vec<Vec<Part>> = (0..parameters).map(|_| Vec::new()).collect();
        for (examples, forms) in sizes.into_iter().zip(forms) {
            for (parts, form) in joined.iter_mut().zip(forms) {
                parts.push(Part { examples, form });
            }
        }
        let unused = |parts: &[Part]| parts.iter().all(|part| matches!(part.form, Self::Zero));
        let form = |parts: Vec<Part>| if unused(&parts) { Self::Zero } else { Self::Parts(parts) };
        joined.into_iter().map(form).collect()
    }

    /// Squared norms, `[examples]`.
    pub(crate) fn norms(&self, place: &Place<'_>, examples: usize) -> SquaredNorms<Dispatch> {
        match self {
            Self::Zero => SquaredNorms::of_squares(zeros(&[examples], place), 0),
            Self::Factored(contraction) => contraction.squared_norms(),
            Self::Materialized(x) => {
                let squares = Dispatch::float_mul(x.clone(), x.clone());
                let value = per_example_sum::<Dispatch>(squares);
                SquaredNorms::<Dispatch>::of_squares(value, place.shape.num_elements())
                    .with_rounded_operands(&x.device(), |norms| norms.value.clone())
            }
            Self::Parts(parts) => {
                let norms = parts.iter().map(|part| part.form.norms(place, part.examples));
                let norms = norms.map(|norms| (norms.value, norms.slack));
                let (value, slack): (Vec<_>, Vec<_>) = norms.unzip();
                SquaredNorms {
                    value: Dispatch::float_cat(value, 0),
                    slack: Dispatch::float_cat(slack, 0),
                }
            }
        }
    }

    /// `onto + Σ_i weights[i] · gradient_i`, in the parameter's shape.
    pub(crate) fn weighted_sum(
        &self,
        place: &Place<'_>,
        weights: &FloatTensor<Dispatch>,
        onto: Option<FloatTensor<Dispatch>>,
    ) -> FloatTensor<Dispatch> {
        let sum = match self {
            Self::Zero => onto.unwrap_or_else(|| zeros(place.shape.as_slice(), place)),
            Self::Factored(contraction) => contraction.weighted_sum(weights, onto),
            Self::Materialized(x) => {
                let examples = weights.shape().num_elements();
                let row = Shape::from(vec![1, examples]);
                let weights = Dispatch::float_reshape(weights.clone(), row);
                let sum = Dispatch::float_matmul(weights, rows(x.clone(), examples));
                let sum = Dispatch::float_reshape(sum, place.shape.clone());
                match onto {
                    None => sum,
                    Some(onto) => Dispatch::float_add(onto, sum),
                }
            }
            Self::Parts(parts) => {
                let total = offsets(parts).fold(onto, |onto, (first, part)| {
                    let range = [Slice::from(first..first + part.examples)];
                    let weights = Dispatch::float_slice(weights.clone(), &range);
                    Some(part.form.weighted_sum(place, &weights, onto))
                });
                total.unwrap_or_else(|| zeros(place.shape.as_slice(), place))
            }
        };
        Dispatch::float_reshape(sum, place.shape.clone())
    }

    /// `[examples, ...parameter]`.
    pub(crate) fn materialize(&self, place: &Place<'_>, examples: usize) -> FloatTensor<Dispatch> {
        let dims: Vec<usize> = [examples].into_iter().chain(place.shape.iter().copied()).collect();
        let full = match self {
            Self::Zero => zeros(&dims, place),
            Self::Factored(contraction) => contraction.materialize(),
            Self::Materialized(x) => x.clone(),
            Self::Parts(parts) => {
                let parts = parts.iter().map(|part| part.form.materialize(place, part.examples));
                Dispatch::float_cat(parts.collect(), 0)
            }
        };
        Dispatch::float_reshape(full, Shape::from(dims))
    }

    /// Replaces the examples where `bad` (`[examples]`) is true by zeros.
    pub(crate) fn without(self, bad: &BoolTensor<Dispatch>) -> Self {
        match self {
            Self::Zero => Self::Zero,
            Self::Factored(contraction) => Self::Factored(contraction.without(bad)),
            Self::Materialized(x) => {
                let mut dims = vec![1; x.shape().num_dims()];
                dims[0] = bad.shape()[0];
                let mask = Dispatch::bool_reshape(bad.clone(), Shape::from(dims));
                let mask = Dispatch::bool_expand(mask, x.shape());
                Self::Materialized(Dispatch::float_mask_fill(x, mask, Scalar::Float(0.0)))
            }
            Self::Parts(parts) => {
                let mut first = 0;
                let clean = |Part { examples, form }: Part| {
                    let range = [Slice::from(first..first + examples)];
                    first += examples;
                    let bad = Dispatch::bool_slice(bad.clone(), &range);
                    Part { examples, form: form.without(&bad) }
                };
                Self::Parts(parts.into_iter().map(clean).collect())
            }
        }
    }
}

/// Each part with the number of examples before it.
fn offsets(parts: &[Part]) -> impl Iterator<Item = (usize, &Part)> {
    parts.iter().scan(0, |next, part| {
        let first = *next;
        *next += part.examples;
        Some((first, part))
    })
}

/// `[examples, everything else]`.
fn rows(x: FloatTensor<Dispatch>, examples: usize) -> FloatTensor<Dispatch> {
    let rest = x.shape().num_elements().checked_div(examples).unwrap_or(0);
    Dispatch::float_reshape(x, Shape::from(vec![examples, rest]))
}

fn zeros(dims: &[usize], place: &Place<'_>) -> FloatTensor<Dispatch> {
    let shape = Shape::from(dims.to_vec());
    Dispatch::float_zeros(shape, place.device.as_dispatch(), DType::F32.into())
}
