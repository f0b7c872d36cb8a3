//! Gradients in factors, at replay: ghost norms, book-keeping sums, and the gradient itself.
//!
//! Notation: `b` examples, `g` groups, `t` positions, `d` rows, `p` columns of one matrix.

use burn_backend::ops::UnfoldOptions;
use burn_backend::tensor::IndexingUpdateOp;
use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_backend::{Backend, Scalar, Shape, Slice, TensorMetadata};

use super::factor::{Conv, Factored, Layout, Operand, Side, Source, Use};
use super::replay::Replay;
use super::sums::per_example_sum;
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

/// A [`Layout`] with the values it needs.
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

/// Scalars of gradients under a mask that exist at a time.
const MASKED_AT_ONCE: usize = 1 << 22;

/// One sum `Σ_t left[t]ᵀ right[t]` an example.
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

/// Squared norms of each example's gradient, and how far rounding may have put them too low.
pub(crate) struct SquaredNorms<B: Backend> {
    /// `[b]`
    pub(crate) value: FloatTensor<B>,
    /// `[b]`
    pub(crate) slack: FloatTensor<B>,
}

impl<B: Backend> SquaredNorms<B> {
    /// Norms that are sums of squares: nothing cancels, so the allowance is relative to the norm, and a
    /// bound for [`per_example_sum`].
    pub(crate) fn of_squares(value: FloatTensor<B>, terms: usize) -> Self {
        let relative = f64::from(f32::EPSILON) * (terms as f64).sqrt();
        Self { slack: B::float_mul_scalar(value.clone(), Scalar::Float(relative)), value }
    }
}

impl<B: Backend> Contraction<B> {
    /// Brings the factors of a replay to their common form. Uses of one kind are joined along `t`.
    pub(crate) fn new(factored: &Factored, replay: &mut Replay<'_, B>) -> Result<Self> {
        let mut dense: Vec<(FloatTensor<B>, FloatTensor<B>)> = Vec::new();
        let mut uses = Vec::new();
        for u in &factored.uses {
            match Factors::new(u, replay)? {
                Factors { left: Factor::Dense(left), right: Factor::Dense(right) } => {
                    dense.push((left, right));
                }
                other => uses.push(other),
            }
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

    /// `Σ_{t,s} (left_t · left_s)(right_t · right_s)` over all pairs of uses.
    pub(crate) fn squared_norms(&self) -> SquaredNorms<B> {
        if self.layout.iter().any(|step| matches!(step, Step::Times(_))) {
            return self.masked_norms();
        }
        if let [Factors { left: Factor::Dense(left), right: Factor::Dense(right) }] = &self.uses[..]
            && left.shape()[2] == 1
        {
            // One position: the norm of an outer product is the product of the norms.
            let terms = self.rows + self.cols + self.groups;
            return SquaredNorms::of_squares(self.outer_norms(left, right), terms);
        }
        let mut total = None;
        let mut lengths = Vec::new();
        for (i, a) in self.uses.iter().enumerate() {
            for (j, b) in self.uses.iter().enumerate().skip(i) {
                let left = gram(&a.left, &b.left);
                let right = gram(&a.right, &b.right);
                if i == j {
                    lengths.push([root_of_diagonal::<B>(&left), root_of_diagonal::<B>(&right)]);
                }
                let pair = per_example_sum::<B>(B::float_mul(left, right));
                let pair = if i == j { pair } else { double::<B>(pair) };
                total = Some(match total {
                    None => pair,
                    Some(sum) => B::float_add(sum, pair),
                });
            }
        }
        let value = total.unwrap_or_else(|| self.no_norms());
        // Rounding cannot make a sum of squares negative, but it can a Gram sum.
        let value = B::float_clamp_min(value, Scalar::Float(0.0));
        SquaredNorms { slack: self.slack(lengths), value }
    }

    /// `onto + Σ_b c_b · gradient_b` in the parameter's shape: one ordinary weight-gradient product.
    pub(crate) fn weighted_sum(
        &self,
        weights: &FloatTensor<B>,
        onto: Option<FloatTensor<B>>,
    ) -> FloatTensor<B> {
        let c = B::float_reshape(weights.clone(), Shape::from(vec![self.batch, 1, 1, 1]));
        let shape = Shape::from(vec![self.groups, self.rows, self.cols]);
        // Where there is no layout to apply in between, rows can be added where the sum already is.
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
                    // The weight may go to either: to the smaller.
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
        let zeros = || B::float_zeros(shape, &weights.device(), burn_backend::DType::F32.into());
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
    pub(crate) fn materialise(&self) -> FloatTensor<B> {
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

    /// Puts zeros where `bad` (`[b]` bool) says so: a weight of zero would leave NaN a NaN.
    pub(crate) fn without(self, bad: &burn_backend::tensor::BoolTensor<B>) -> Self {
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

    /// Norms of `gradient ⊙ shared`: no Gram product helps, so the gradient is made for a few examples at a
    /// time, and the sum of all examples still is one product.
    fn masked_norms(&self) -> SquaredNorms<B> {
        let each = self.groups * self.rows * self.cols;
        if let Some(value) = self.masked_outer_norms() {
            return SquaredNorms::of_squares(value, each);
        }
        let together = (MASKED_AT_ONCE / each.max(1)).max(1);
        let mut norms = Vec::new();
        for first in (0..self.batch).step_by(together) {
            let some = self.some(first, together.min(self.batch - first));
            let gradients = some.materialise();
            norms.push(per_example_sum::<B>(B::float_mul(gradients.clone(), gradients)));
        }
        let value = if norms.is_empty() { self.no_norms() } else { B::float_cat(norms, 0) };
        SquaredNorms::of_squares(value, each)
    }

    /// One position under a mask C: the norm of (l rᵀ) ⊙ C is (l²)ᵀ C² r².
    fn masked_outer_norms(&self) -> Option<FloatTensor<B>> {
        let [Factors { left: Factor::Dense(left), right: Factor::Dense(right) }] = &self.uses[..]
        else {
            return None;
        };
        if left.shape()[2] != 1 || self.groups != 1 {
            return None;
        }
        let mut mask: Option<FloatTensor<B>> = None;
        for step in &self.layout {
            match step {
                Step::Reshape(_) => {}
                Step::Permute(_) => return None,
                Step::Times(shared) => {
                    let shape = Shape::from(vec![self.rows, self.cols]);
                    let shared = B::float_reshape(shared.clone(), shape);
                    mask = Some(match mask {
                        None => shared,
                        Some(mask) => B::float_mul(mask, shared),
                    });
                }
            }
        }
        // A square that underflows must not hide the other factors.
        let squares = |x: FloatTensor<B>| {
            let lost = Scalar::Float(f64::from(f32::MIN_POSITIVE));
            B::float_add_scalar(B::float_mul(x.clone(), x), lost)
        };
        let rows = |x: &FloatTensor<B>, width: usize| {
            squares(B::float_reshape(x.clone(), Shape::from(vec![self.batch, width])))
        };
        let seen = B::float_matmul(rows(left, self.rows), squares(mask?));
        Some(per_example_sum::<B>(B::float_mul(seen, rows(right, self.cols))))
    }

    /// The same for `count` examples from `first` on.
    fn some(&self, first: usize, count: usize) -> Self {
        let rows = |dims: usize| {
            let mut ranges = vec![Slice::full(); dims];
            ranges[0] = Slice::from(first..first + count);
            ranges
        };
        let part = |factor: &Factor<B>| match factor {
            Factor::Dense(x) => Factor::Dense(B::float_slice(x.clone(), &rows(4))),
            Factor::OneHot(x) => Factor::OneHot(B::int_slice(x.clone(), &rows(2))),
        };
        let uses = self.uses.iter();
        let uses = uses.map(|u| Factors { left: part(&u.left), right: part(&u.right) }).collect();
        Self {
            uses,
            batch: count,
            device: self.device.clone(),
            layout: self.layout.clone(),
            ..*self
        }
    }

    fn outer_norms(&self, left: &FloatTensor<B>, right: &FloatTensor<B>) -> FloatTensor<B> {
        // A square that underflows must not hide the other factor.
        let square = |x: &FloatTensor<B>| {
            let squares = B::float_sum_dim(B::float_mul(x.clone(), x.clone()), 3);
            B::float_add_scalar(squares, Scalar::Float(lost_squares(x.shape()[3])))
        };
        per_example_sum::<B>(B::float_mul(square(left), square(right)))
    }

    /// A first-order allowance for rounding in the Gram sums: they may cancel, so the error is
    /// relative to `(Σ_t |left_t||right_t|)²`, which also bounds the squared norm itself. Each entry
    /// of a Gram matrix is an inner product of `width` terms, whose rounding error grows as the root
    /// of their number. `lengths` are those of every use's rows.
    fn slack(&self, lengths: Vec<[FloatTensor<B>; 2]>) -> FloatTensor<B> {
        let mut bounds: Option<[FloatTensor<B>; 3]> = None;
        let mut terms = 0;
        for [left, right] in lengths {
            terms += left.shape()[2] + self.rows.min(4096) + self.cols.min(4096);
            let products = B::float_mul(left.clone(), right.clone());
            let sums = [products, left, right].map(per_example_sum::<B>);
            bounds = Some(match bounds {
                None => sums,
                Some([p, l, r]) => {
                    let [products, left, right] = sums;
                    [B::float_add(p, products), B::float_add(l, left), B::float_add(r, right)]
                }
            });
        }
        let bounds = bounds.unwrap_or_else(|| [(); 3].map(|()| self.no_norms()));
        let relative = f64::from(f32::EPSILON) * (terms as f64).sqrt();
        // An entry of either Gram matrix may have lost squares that underflow.
        let factors = [relative, lost_squares(self.cols), lost_squares(self.rows)];
        let mut slack = self.no_norms();
        for (bound, factor) in bounds.into_iter().zip(factors) {
            let square = B::float_mul(bound.clone(), bound);
            slack = B::float_add(slack, B::float_mul_scalar(square, Scalar::Float(factor)));
        }
        slack
    }

    fn no_norms(&self) -> FloatTensor<B> {
        // Reached only by a factored gradient without uses, which the planner never makes.
        B::float_zeros(Shape::from(vec![self.batch]), &self.device, burn_backend::DType::F32.into())
    }
}

impl<B: Backend> Factors<B> {
    fn new(u: &Use, replay: &mut Replay<'_, B>) -> Result<Self> {
        let left = Factor::new(&u.left, u.length, replay)?;
        let right = Factor::new(&u.right, u.length, replay)?;
        // The scale goes into whichever factor has entries.
        let scale = Scalar::Float(u.scale);
        Ok(match (left, right) {
            (left, Factor::Dense(right)) if u.scale != 1.0 => {
                Self { left, right: Factor::Dense(B::float_mul_scalar(right, scale)) }
            }
            (Factor::Dense(left), right) if u.scale != 1.0 => {
                Self { left: Factor::Dense(B::float_mul_scalar(left, scale)), right }
            }
            (left, right) => Self { left, right },
        })
    }
}

impl<B: Backend> Factor<B> {
    fn new(side: &Side, length: usize, replay: &mut Replay<'_, B>) -> Result<Self> {
        let batch = replay.batch();
        if let Source::OneHot { indices } = &side.source {
            let indices = replay.repeated(indices)?;
            let indices = indices.reshape(Shape::from(vec![batch, length])).int()?;
            let mut matrices = side.then.iter();
            let Some(first) = matrices.next() else {
                return Ok(Self::OneHot(indices));
            };
            // A one-hot row times a matrix is one of the matrix's rows.
            let matrix = shared_matrix(first, replay)?;
            let width = matrix.shape()[1];
            let indices = B::int_reshape(indices, Shape::from(vec![batch * length]));
            let rows = B::float_select(matrix, 0, indices);
            let rows = B::float_reshape(rows, Shape::from(vec![batch, 1, length, width]));
            return matrices.try_fold(rows, |x, m| times(x, m, replay)).map(Self::Dense);
        }
        let rows = match &side.source {
            Source::Operand(operand) => operand_rows(operand, length, replay)?,
            Source::Patches { x, conv } => patches::<B>(replay.repeated(x)?.float()?, conv, batch),
            Source::Channels { grad, groups } => {
                let grad = replay.repeated(grad)?;
                let width = grad.shape().num_elements() / (batch * groups * length).max(1);
                let shape = Shape::from(vec![batch, *groups, width, length]);
                B::float_swap_dims(grad.reshape(shape).float()?, 2, 3)
            }
            Source::OneHot { .. } => return Err(broken()),
        };
        let rows = in_f32::<B>(rows);
        side.then.iter().try_fold(rows, |x, m| times(x, m, replay)).map(Self::Dense)
    }
}

/// `[b, ...stack, a, w]` (or `[..., w, a]`) as `[b, groups, positions, w]`.
fn operand_rows<B: Backend>(
    operand: &Operand,
    length: usize,
    replay: &mut Replay<'_, B>,
) -> Result<FloatTensor<B>> {
    let batch = replay.batch();
    let x = replay.stored(&operand.tensor)?.float()?;
    // Before anything else: mostly it undoes a transposition, and then nothing below copies.
    let x = if operand.positions_last {
        let last = x.shape().num_dims() - 1;
        B::float_swap_dims(x, last - 1, last)
    } else {
        x
    };
    let have = x.shape();
    let rank = operand.stack.len() + 3;
    // Operands of one product may have fewer stack axes, or axes of size one to broadcast.
    let mut dims = vec![1; rank];
    dims[0] = have[0];
    let own = have.as_slice();
    for (to, from) in (1..rank).rev().zip((1..own.len()).rev()) {
        dims[to] = own[from];
    }
    let mut full = dims.clone();
    full[0] = batch;
    full[1..rank - 2].copy_from_slice(&operand.stack);
    let x = B::float_reshape(x, Shape::from(dims.clone()));
    let x = if dims == full { x } else { B::float_expand(x, Shape::from(full)) };

    let stack_axes = || operand.summed.iter().enumerate().map(|(axis, summed)| (axis + 1, *summed));
    let groups: Vec<usize> = stack_axes().filter(|(_, s)| !s).map(|(axis, _)| axis).collect();
    let summed: Vec<usize> = stack_axes().filter(|(_, s)| *s).map(|(axis, _)| axis).collect();
    let group_count: usize = groups.iter().map(|axis| operand.stack[axis - 1]).product();
    let width = x.shape()[rank - 1];
    let mut axes = vec![0];
    axes.extend(groups);
    axes.extend(summed);
    axes.extend([rank - 2, rank - 1]);
    let x = B::float_permute(x, &axes);
    Ok(B::float_reshape(x, Shape::from(vec![batch, group_count, length, width])))
}

/// The patches a kernel sees: `[b, 1, channels, h, w]` as `[b, groups, positions, patch]`.
fn patches<B: Backend>(x: FloatTensor<B>, conv: &Conv, batch: usize) -> FloatTensor<B> {
    let shape = x.shape();
    let rank = shape.num_dims();
    let (channels, height, width) = (shape[rank - 3], shape[rank - 2], shape[rank - 1]);
    let mut x = B::float_reshape(x, Shape::from(vec![batch, channels, height, width]));
    let [(top, bottom), (left, right)] = conv.padding;
    let symmetric = top == bottom && left == right;
    if !symmetric {
        let padding = [(0, 0), (0, 0), (top, bottom), (left, right)];
        let zero = burn_backend::ops::PadMode::Constant(0.0);
        x = B::float_pad(x, &padding, zero);
    }
    let padding = if symmetric { [top, left] } else { [0, 0] };
    // A kernel of one pixel sees each pixel: nothing to copy.
    let pixels = conv.kernel == [1, 1] && conv.stride == [1, 1] && symmetric && padding == [0, 0];
    let columns = if pixels {
        x
    } else {
        let options = UnfoldOptions::new(conv.stride, padding, conv.dilation);
        B::unfold4d(x, conv.kernel, options)
    };
    // Rows of the last, incomplete stride may add positions that the output does not have.
    let positions = conv.output[0] * conv.output[1];
    let patch = channels / conv.groups * conv.kernel[0] * conv.kernel[1];
    let columns =
        B::float_reshape(columns, Shape::from(vec![batch, conv.groups, patch, positions]));
    B::float_swap_dims(columns, 2, 3)
}

fn shared_matrix<B: Backend>(
    shared: &super::factor::Shared,
    replay: &mut Replay<'_, B>,
) -> Result<FloatTensor<B>> {
    let shape = shared.matrix.shape.as_slice();
    let (rows, cols) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    let matrix = replay.shared(&shared.matrix)?.reshape(Shape::from(vec![rows, cols])).float()?;
    let matrix = in_f32::<B>(matrix);
    Ok(if shared.transposed { B::float_swap_dims(matrix, 0, 1) } else { matrix })
}

fn times<B: Backend>(
    x: FloatTensor<B>,
    shared: &super::factor::Shared,
    replay: &mut Replay<'_, B>,
) -> Result<FloatTensor<B>> {
    let matrix = shared_matrix(shared, replay)?;
    let shape = x.shape();
    let [b, g, t, width] = *shape.as_slice() else { return Err(broken()) };
    let out = matrix.shape()[1];
    let x = B::float_reshape(x, Shape::from(vec![b * g * t, width]));
    let product = B::float_matmul(x, matrix);
    Ok(B::float_reshape(product, Shape::from(vec![b, g, t, out])))
}

/// Inner products of all pairs of rows, `[b, g, t, s]`.
fn gram<B: Backend>(a: &Factor<B>, b: &Factor<B>) -> FloatTensor<B> {
    match (a, b) {
        (Factor::Dense(a), Factor::Dense(b)) => {
            B::float_matmul(a.clone(), B::float_swap_dims(b.clone(), 2, 3))
        }
        (Factor::OneHot(a), Factor::OneHot(b)) => equal_indices::<B>(a, b),
        (Factor::OneHot(indices), Factor::Dense(x)) => {
            B::float_swap_dims(columns_at::<B>(x, indices), 2, 3)
        }
        (Factor::Dense(x), Factor::OneHot(indices)) => columns_at::<B>(x, indices),
    }
}

fn equal_indices<B: Backend>(a: &IntTensor<B>, b: &IntTensor<B>) -> FloatTensor<B> {
    let (batch, t, s) = (a.shape()[0], a.shape()[1], b.shape()[1]);
    let full = Shape::from(vec![batch, 1, t, s]);
    let a = B::int_reshape(a.clone(), Shape::from(vec![batch, 1, t, 1]));
    let b = B::int_reshape(b.clone(), Shape::from(vec![batch, 1, 1, s]));
    let settings = burn_backend::get_device_settings::<B>(&a.device());
    let (a, b) = (B::int_expand(a, full.clone()), B::int_expand(b, full));
    let equal = B::int_equal(a, b, settings.bool_dtype);
    B::bool_into_float(equal, burn_backend::DType::F32.into())
}

/// Inner products of dense rows `[b, 1, t, v]` with identity rows `[b, s]`: entries, `[b, 1, t, s]`.
fn columns_at<B: Backend>(x: &FloatTensor<B>, indices: &IntTensor<B>) -> FloatTensor<B> {
    let (batch, t, s) = (x.shape()[0], x.shape()[2], indices.shape()[1]);
    let indices = B::int_reshape(indices.clone(), Shape::from(vec![batch, 1, 1, s]));
    let indices = B::int_expand(indices, Shape::from(vec![batch, 1, t, s]));
    B::float_gather(3, x.clone(), indices)
}

/// How much a sum of `terms` squares may lose to underflow, also where numbers below the normal ones are
/// flushed to zero.
fn lost_squares(terms: usize) -> f64 {
    terms as f64 * f64::from(f32::MIN_POSITIVE)
}

/// The length of every row, `[b, g, t]`, from the Gram matrix of the rows. (The same for OneHot rows, which
/// have length one.)
fn root_of_diagonal<B: Backend>(gram: &FloatTensor<B>) -> FloatTensor<B> {
    let shape = gram.shape();
    let (b, g, t) = (shape[0], shape[1], shape[2]);
    let flat = B::float_reshape(gram.clone(), Shape::from(vec![b, g, t * t]));
    let entries = Slice::new(0, Some((t * t) as isize), t as isize + 1);
    B::float_sqrt(B::float_slice(flat, &[Slice::full(), Slice::full(), entries]))
}

/// `[b, g, t, w]` as `[g, b·t, w]`.
fn all_examples<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let (b, g, t, w) = (shape[0], shape[1], shape[2], shape[3]);
    let x = if g == 1 { x } else { B::float_permute(x, &[1, 0, 2, 3]) };
    B::float_reshape(x, Shape::from(vec![g, b * t, w]))
}

/// Adds rows `[b, 1, t, w]` at `indices` `[b, t]` of a matrix `[1, classes, w]`, of zeros if there is none.
fn scatter_rows<B: Backend>(
    indices: IntTensor<B>,
    rows: FloatTensor<B>,
    classes: usize,
    onto: Option<FloatTensor<B>>,
) -> FloatTensor<B> {
    let shape = rows.shape();
    let (count, width) = (shape[0] * shape[2], shape[3]);
    let matrix = Shape::from(vec![classes, width]);
    let onto = match onto {
        Some(onto) => B::float_reshape(onto, matrix),
        None => B::float_zeros(matrix, &rows.device(), burn_backend::DType::F32.into()),
    };
    let indices = B::int_reshape(indices, Shape::from(vec![count]));
    let rows = B::float_reshape(rows, Shape::from(vec![count, width]));
    let sum = B::float_select_assign(onto, 0, indices, rows, IndexingUpdateOp::Add);
    B::float_reshape(sum, Shape::from(vec![1, classes, width]))
}

/// As [`scatter_rows`], into one matrix an example: `[b, 1, classes, w]`.
fn scatter_rows_each<B: Backend>(
    indices: IntTensor<B>,
    rows: FloatTensor<B>,
    classes: usize,
) -> FloatTensor<B> {
    let shape = rows.shape();
    let (batch, width) = (shape[0], shape[3]);
    let dtype = indices.dtype();
    let offsets = B::int_arange(0..batch as i64, &rows.device(), dtype.into());
    let offsets = B::int_mul_scalar(offsets, Scalar::Int(classes as i64));
    let offsets = B::int_reshape(offsets, Shape::from(vec![batch, 1]));
    let indices = B::int_add(indices, offsets);
    let sum = scatter_rows::<B>(indices, rows, batch * classes, None);
    B::float_reshape(sum, Shape::from(vec![batch, 1, classes, width]))
}

fn join<B: Backend>(mut parts: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    if parts.len() == 1 { parts.remove(0) } else { B::float_cat(parts, 2) }
}

fn double<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul_scalar(x, Scalar::Float(2.0))
}

/// Norms, sums and noise are in single precision, whatever the model computes in.
pub(crate) fn in_f32<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    use burn_backend::DType;
    match x.dtype() {
        DType::F32 => x,
        _ => B::float_cast(x, DType::F32.into()),
    }
}

/// Applies the layouts of a factored gradient, behind the batch axis if there is one.
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

fn broken() -> crate::error::Error {
    crate::error::Error::BrokenTrace { tensor: 0 }
}
