//! Gradients in factors, at replay: ghost norms, book-keeping sums, and the gradients themselves.
//!
//! Notation: `b` examples, `g` groups, `t` positions, `d` rows, `p` columns of one matrix.

mod norms;
mod one_hot;
mod rounding;
mod rows;

use burn_backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn_backend::{Backend, DType, Scalar, Shape, TensorMetadata};

pub(crate) use norms::SquaredNorms;
use one_hot::{scatter_rows, scatter_rows_each};

use super::factor::{Factored, Layout};
use super::indices::of_one_type;
use super::replay::Replay;
use crate::error::Result;

/// A factored gradient of every example of a batch.
pub(crate) struct Contraction<B: Backend> {
    uses: Vec<Factors<B>>,
    device: B::Device,
    batch: usize,
    groups: usize,
    rows: usize,
    cols: usize,
    layout: Vec<Step<B>>,
}

/// A [`Layout`] together with the values that it needs.
enum Step<B: Backend> {
    Reshape(Vec<usize>),
    Permute(Vec<usize>),
    Times(FloatTensor<B>),
}

impl<B: Backend> Clone for Step<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Reshape(dims) => Self::Reshape(dims.clone()),
            Self::Permute(axes) => Self::Permute(axes.clone()),
            Self::Times(shared) => Self::Times(shared.clone()),
        }
    }
}

/// One sum `Σ_t left[t]ᵀ right[t]` per example.
struct Factors<B: Backend> {
    left: Factor<B>,
    right: Factor<B>,
}

/// The rows of one factor.
enum Factor<B: Backend> {
    /// `[b, g, t, width]`.
    Dense(FloatTensor<B>),
    /// Rows of the identity, given by their indices `[b, t]`; one group.
    OneHot(IntTensor<B>),
}

/// Indices of several uses, and the dense rows that belong to them.
type OneHotUses<B> = (Vec<IntTensor<B>>, Vec<FloatTensor<B>>);

impl<B: Backend> Contraction<B> {
    /// Brings the factors of a replay to their common form. Uses of one kind are joined along `t`.
    pub(crate) fn new(factored: &Factored, replay: &mut Replay<'_, B>) -> Result<Self> {
        let mut dense: Vec<(FloatTensor<B>, FloatTensor<B>)> = Vec::new();
        // The indices and rows of uses with one one-hot factor: first the left factor, then the
        // right.
        let mut one_hot: [OneHotUses<B>; 2] = Default::default();
        let mut uses = Vec::new();
        for u in &factored.uses {
            match Factors::new(u, replay)? {
                Factors { left: Factor::Dense(left), right: Factor::Dense(right) } => {
                    dense.push((left, right));
                }
                Factors { left: Factor::OneHot(indices), right: Factor::Dense(rows) } => {
                    one_hot[0].0.push(indices);
                    one_hot[0].1.push(rows);
                }
                Factors { left: Factor::Dense(rows), right: Factor::OneHot(indices) } => {
                    one_hot[1].0.push(indices);
                    one_hot[1].1.push(rows);
                }
                other => uses.push(other),
            }
        }
        for (side, (indices, rows)) in one_hot.into_iter().enumerate() {
            if indices.is_empty() {
                continue;
            }
            let (indices, rows) = (Factor::OneHot(join_indices::<B>(indices)), join::<B>(rows));
            let rows = Factor::Dense(rows);
            let (left, right) = if side == 0 { (indices, rows) } else { (rows, indices) };
            uses.push(Factors { left, right });
        }
        if !dense.is_empty() {
            let (left, right): (Vec<_>, Vec<_>) = dense.into_iter().unzip();
            let (left, right) = (join::<B>(left), join::<B>(right));
            uses.push(Factors { left: Factor::Dense(left), right: Factor::Dense(right) });
        }
        let Factored { groups, rows, cols, .. } = *factored;
        let step = |step: &Layout| {
            Ok(match step {
                Layout::Reshape(dims) => Step::Reshape(dims.clone()),
                Layout::Permute(axes) => Step::Permute(axes.clone()),
                Layout::Times(shared) => Step::Times(in_f32::<B>(replay.shared(shared)?.float()?)),
            })
        };
        let layout = factored.layout.iter().map(step).collect::<Result<_>>()?;
        let device = replay.device().clone();
        Ok(Self { uses, device, batch: replay.batch(), groups, rows, cols, layout })
    }

    /// `onto + Σ_b c_b · gradient_b` in the parameter's shape, as one ordinary weight-gradient
    /// product.
    pub(crate) fn weighted_sum(
        &self,
        weights: &FloatTensor<B>,
        onto: Option<FloatTensor<B>>,
    ) -> FloatTensor<B> {
        let c = B::float_reshape(weights.clone(), Shape::from(vec![self.batch, 1, 1, 1]));
        let shape = Shape::from(vec![self.groups, self.rows, self.cols]);
        // Without a layout to apply in between, rows can be added directly to the existing sum.
        let (mut total, onto) = match onto {
            Some(onto) if self.layout.is_empty() => {
                (Some(B::float_reshape(onto, shape.clone())), None)
            }
            onto => (None, onto),
        };
        for u in &self.uses {
            total = Some(match (&u.left, &u.right) {
                (Factor::Dense(l), Factor::Dense(r)) => {
                    let (mut l, mut r) = (l.clone(), r.clone());
                    // The weights may multiply either factor: take the smaller one.
                    let weighted = if self.rows < self.cols { &mut l } else { &mut r };
                    *weighted = B::float_mul(weighted.clone(), c.clone());
                    let (l, r) = (all_examples::<B>(l), all_examples::<B>(r));
                    let product = B::float_matmul(B::float_swap_dims(l, 1, 2), r);
                    match total {
                        None => product,
                        Some(total) => B::float_add(total, product),
                    }
                }
                (Factor::OneHot(indices), Factor::Dense(dense)) => {
                    let dense = B::float_mul(dense.clone(), c.clone());
                    scatter_rows::<B>(indices.clone(), dense, self.rows, total)
                }
                (Factor::Dense(dense), Factor::OneHot(indices)) => {
                    let dense = B::float_mul(dense.clone(), c.clone());
                    let total = total.map(|total| B::float_swap_dims(total, 1, 2));
                    let sum = scatter_rows::<B>(indices.clone(), dense, self.cols, total);
                    B::float_swap_dims(sum, 1, 2)
                }
                (Factor::OneHot(_), Factor::OneHot(_)) => continue,
            });
        }
        let zeros = || B::float_zeros(shape, &weights.device(), DType::F32.into());
        let sum = lay_out::<B>(total.unwrap_or_else(zeros), &self.layout, None);
        match onto {
            None => sum,
            Some(onto) => {
                let shape = onto.shape();
                B::float_add(onto, B::float_reshape(sum, shape))
            }
        }
    }

    /// The gradients themselves, `[b, ...parameter]`.
    pub(crate) fn materialize(&self) -> FloatTensor<B> {
        let mut total: Option<FloatTensor<B>> = None;
        for u in &self.uses {
            let product = match (&u.left, &u.right) {
                (Factor::Dense(l), Factor::Dense(r)) => {
                    B::float_matmul(B::float_swap_dims(l.clone(), 2, 3), r.clone())
                }
                (Factor::OneHot(indices), Factor::Dense(dense)) => {
                    scatter_rows_each::<B>(indices.clone(), dense.clone(), self.rows)
                }
                (Factor::Dense(dense), Factor::OneHot(indices)) => {
                    let rows = scatter_rows_each::<B>(indices.clone(), dense.clone(), self.cols);
                    B::float_swap_dims(rows, 2, 3)
                }
                (Factor::OneHot(_), Factor::OneHot(_)) => continue,
            };
            total = Some(match total {
                None => product,
                Some(total) => B::float_add(total, product),
            });
        }
        let total = total.unwrap_or_else(|| self.no_norms());
        lay_out::<B>(total, &self.layout, Some(self.batch))
    }

    /// Sets examples where `bad` (`[b]` bool) is true to zero. A weight of zero would not do: it
    /// leaves NaN a NaN.
    pub(crate) fn without(self, bad: &BoolTensor<B>) -> Self {
        let clean = |factor: Factor<B>| match factor {
            Factor::Dense(x) => {
                let mask = B::bool_reshape(bad.clone(), Shape::from(vec![self.batch, 1, 1, 1]));
                let mask = B::bool_expand(mask, x.shape());
                Factor::Dense(B::float_mask_fill(x, mask, Scalar::Float(0.0)))
            }
            one_hot => one_hot,
        };
        let uses = self
            .uses
            .into_iter()
            .map(|u| Factors { left: clean(u.left), right: clean(u.right) })
            .collect();
        Self { uses, ..self }
    }

    fn no_norms(&self) -> FloatTensor<B> {
        // Only a factored gradient without uses gets here, and the planner never makes one.
        B::float_zeros(Shape::from(vec![self.batch]), &self.device, burn_backend::DType::F32.into())
    }
}

/// `[b, g, t, w]` as `[g, b·t, w]`.
fn all_examples<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let (b, g, t, w) = (shape[0], shape[1], shape[2], shape[3]);
    let x = if g == 1 { x } else { B::float_permute(x, &[1, 0, 2, 3]) };
    B::float_reshape(x, Shape::from(vec![g, b * t, w]))
}

fn join<B: Backend>(mut parts: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    if parts.len() == 1 { parts.remove(0) } else { B::float_cat(parts, 2) }
}

/// Joins indices. Uses of one table may have tokens of different types.
fn join_indices<B: Backend>(mut parts: Vec<IntTensor<B>>) -> IntTensor<B> {
    if parts.len() == 1 { parts.remove(0) } else { B::int_cat(of_one_type::<B>(parts), 1) }
}

/// Converts to single precision. Norms, sums and noise use it, whatever the model computes in.
pub(crate) fn in_f32<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    match x.dtype() {
        DType::F32 => x,
        _ => B::float_cast(x, DType::F32.into()),
    }
}

/// Applies the layouts of a factored gradient. A batch axis, if there is one, stays in front.
fn lay_out<B: Backend>(
    x: FloatTensor<B>,
    layout: &[Step<B>],
    batch: Option<usize>,
) -> FloatTensor<B> {
    let lead = usize::from(batch.is_some());
    layout.iter().fold(x, |x, step| match step {
        Step::Reshape(dims) => {
            let dims: Vec<usize> = batch.into_iter().chain(dims.iter().copied()).collect();
            B::float_reshape(x, Shape::from(dims))
        }
        Step::Permute(axes) => {
            let axes: Vec<usize> = (0..lead).chain(axes.iter().map(|axis| axis + lead)).collect();
            B::float_permute(x, &axes)
        }
        Step::Times(shared) => {
            let shape = shared.shape();
            let dims = std::iter::repeat_n(1, lead).chain(shape.iter().copied());
            let shared = B::float_reshape(shared.clone(), Shape::from(dims.collect::<Vec<_>>()));
            B::float_mul(x, shared)
        }
    })
}
