//! Norms of gradients in factors, computed without the gradients (ghost norms).

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Scalar, Shape, Slice, TensorMetadata};

use super::one_hot::{columns_at, equal_indices};
use super::{Contraction, Factor, Factors, Step};
use crate::per_example::sums::per_example_sum;

/// The number of scalars of masked gradients that exist at a time.
const MASKED_AT_ONCE: usize = 1 << 22;

/// Squared norms of each example's gradient, and a bound on how much rounding may have lowered
/// them.
pub(crate) struct SquaredNorms<B: Backend> {
    /// `[b]`
    pub(crate) value: FloatTensor<B>,
    /// `[b]`
    pub(crate) slack: FloatTensor<B>,
}

impl<B: Backend> SquaredNorms<B> {
    /// Norms that are sums of squares. Nothing cancels, so the allowance is relative to the norm.
    /// It is a bound for [`per_example_sum`].
    pub(crate) fn of_squares(value: FloatTensor<B>, terms: usize) -> Self {
        let relative = f64::from(f32::EPSILON) * (terms as f64).sqrt();
        Self { slack: B::float_mul_scalar(value.clone(), Scalar::Float(relative)), value }
    }
}

impl<B: Backend> Contraction<B> {
    /// `Σ_{t,s} (left_t · left_s)(right_t · right_s)` over all pairs of uses.
    pub(crate) fn squared_norms(&self) -> SquaredNorms<B> {
        if self.layout.iter().any(|step| matches!(step, Step::Times(_))) {
            return self.masked_norms();
        }
        if let [Factors { left: Factor::Dense(left), right: Factor::Dense(right) }] = &self.uses[..]
            && left.shape()[2] == 1
        {
            // With one position, the norm of an outer product is the product of the norms.
            let terms = self.rows + self.cols + self.groups;
            let norms = SquaredNorms::<B>::of_squares(self.outer_norms(left, right), terms);
            return norms.with_rounded_operands(&self.device, |norms| norms.value.clone());
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
        // Rounding cannot make a sum of squares negative, but it can make a Gram sum negative.
        let value = B::float_clamp_min(value, Scalar::Float(0.0));
        let bounds = self.bounds(lengths);
        SquaredNorms { slack: self.slack(&bounds), value }
            .with_rounded_operands(&self.device, |_| square::<B>(&bounds.products))
    }

    /// Norms of `gradient ⊙ shared`. No Gram product helps here, so the gradient is computed for a
    /// few examples at a time. The sum over all examples is still one product.
    fn masked_norms(&self) -> SquaredNorms<B> {
        let each = self.groups * self.rows * self.cols;
        if let Some(value) = self.masked_outer_norms() {
            return SquaredNorms::<B>::of_squares(value, each)
                .with_rounded_operands(&self.device, |norms| norms.value.clone());
        }
        SquaredNorms::of_squares(self.materialized_norms(), each)
            .with_rounded_operands(&self.device, |_| self.absolute().materialized_norms())
    }

    fn materialized_norms(&self) -> FloatTensor<B> {
        let each = self.groups * self.rows * self.cols;
        let together = (MASKED_AT_ONCE / each.max(1)).max(1);
        let mut norms = Vec::new();
        for first in (0..self.batch).step_by(together) {
            let some = self.some(first, together.min(self.batch - first));
            norms.push(per_example_sum::<B>(square::<B>(&some.materialize())));
        }
        if norms.is_empty() { self.no_norms() } else { B::float_cat(norms, 0) }
    }

    /// The same sums of products, with absolute values.
    fn absolute(&self) -> Self {
        let of = |factor: &Factor<B>| match factor {
            Factor::Dense(x) => Factor::Dense(B::float_abs(x.clone())),
            Factor::OneHot(x) => Factor::OneHot(x.clone()),
        };
        let uses = self.uses.iter();
        let uses = uses.map(|u| Factors { left: of(&u.left), right: of(&u.right) }).collect();
        let layout = self.layout.iter().map(|step| match step {
            Step::Times(shared) => Step::Times(B::float_abs(shared.clone())),
            other => other.clone(),
        });
        Self { uses, device: self.device.clone(), layout: layout.collect(), ..*self }
    }

    /// With one position under a mask C, the squared norm of (l rᵀ) ⊙ C is (l²)ᵀ C² r².
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

    /// The same for `count` examples, starting at `first`.
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

    /// Upper bounds, computed from the lengths of every use's rows.
    fn bounds(&self, lengths: Vec<[FloatTensor<B>; 2]>) -> Bounds<B> {
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
        let [products, left, right] = bounds.unwrap_or_else(|| [(); 3].map(|()| self.no_norms()));
        Bounds { products, left, right, terms }
    }

    /// A first-order allowance for rounding in the Gram sums. They may cancel, so the error is
    /// relative to `(Σ_t |left_t||right_t|)²`, which also bounds the squared norm itself. Each
    /// entry of a Gram matrix is an inner product of `width` terms. Its rounding error grows as the
    /// square root of their number.
    fn slack(&self, bounds: &Bounds<B>) -> FloatTensor<B> {
        let relative = f64::from(f32::EPSILON) * (bounds.terms as f64).sqrt();
        // An entry of either Gram matrix may lack squares that underflowed.
        let lost = [(&bounds.left, self.cols), (&bounds.right, self.rows)]
            .map(|(bound, width)| (bound, lost_squares(width)));
        let mut slack = self.no_norms();
        for (bound, factor) in [(&bounds.products, relative)].into_iter().chain(lost) {
            let allowed = B::float_mul_scalar(square::<B>(bound), Scalar::Float(factor));
            slack = B::float_add(slack, allowed);
        }
        slack
    }
}

/// Sums over the positions of an example, each `[b]`.
struct Bounds<B: Backend> {
    /// Σ_t |left_t||right_t|, which is at least the norm.
    products: FloatTensor<B>,
    /// Σ_t |left_t|
    left: FloatTensor<B>,
    /// Σ_t |right_t|
    right: FloatTensor<B>,
    /// The number of terms that were added.
    terms: usize,
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

/// The length of every row, `[b, g, t]`, from the Gram matrix of the rows. (It also holds for
/// OneHot rows, which have length one.)
fn root_of_diagonal<B: Backend>(gram: &FloatTensor<B>) -> FloatTensor<B> {
    let shape = gram.shape();
    let (b, g, t) = (shape[0], shape[1], shape[2]);
    let flat = B::float_reshape(gram.clone(), Shape::from(vec![b, g, t * t]));
    let entries = Slice::new(0, Some((t * t) as isize), t as isize + 1);
    B::float_sqrt(B::float_slice(flat, &[Slice::full(), Slice::full(), entries]))
}

/// The most that a sum of `terms` squares may lose to underflow, also where subnormal numbers are
/// flushed to zero.
fn lost_squares(terms: usize) -> f64 {
    terms as f64 * f64::from(f32::MIN_POSITIVE)
}

fn square<B: Backend>(x: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul(x.clone(), x.clone())
}

fn double<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_mul_scalar(x, Scalar::Float(2.0))
}
