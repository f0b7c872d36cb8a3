//! A check of the whole: a sum of n vectors of norm at most C has norm at most n·C.
//!
//! The engine bounds each record by itself, and the guarantee rests on that. This second check
//! shares nothing with it. It detects a fault that puts records into each other's rows, or norms
//! that do not belong to the sums, where the result is longer than it can be.

use burn::tensor::Tensor;

use crate::error::{Error, GradientError, Result};
use crate::noise::SquaredLength;
use crate::per_example::read;

/// The bound on a group's sum.
pub(super) struct Bound {
    pub(super) group: usize,
    /// Examples in the sum.
    pub(super) examples: usize,
    pub(super) clipping_norm: f64,
}

impl Bound {
    /// The factor that converts the sum to units of the bound.
    pub(super) fn scale(&self) -> f64 {
        (1.0 / (self.examples.max(1) as f64 * self.clipping_norm)).min(f64::MAX)
    }

    /// # Errors
    /// [`GradientError::SumBeyondBound`], also where `squares` is NaN.
    pub(super) fn check(&self, squares: f64) -> Result<()> {
        let Self { group, examples, clipping_norm } = *self;
        // Rounding of a sum of so many numbers in single precision, and of its length if that is in
        // single precision too.
        let allowed = 1.0 + 1e-3 + examples as f64 * f64::from(f32::EPSILON);
        if squares.sqrt() <= allowed {
            return Ok(());
        }
        let bound = examples as f64 * clipping_norm;
        let norm = squares.sqrt() / self.scale();
        Err(Error::Gradient(GradientError::SumBeyondBound {
            group,
            norm,
            examples,
            clipping_norm,
            bound,
        }))
    }
}

/// The sum of all parts. Parts on a device are read at once.
pub(super) fn total(parts: Vec<SquaredLength>) -> Result<f64> {
    let mut total = 0.0;
    let mut waiting = Vec::new();
    for part in parts {
        match part {
            SquaredLength::Known(squares) => total += squares,
            SquaredLength::OnDevice(squares) => waiting.push(*squares),
        }
    }
    if !waiting.is_empty() {
        total += read(Tensor::cat(waiting, 0))?.into_iter().sum::<f64>();
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_at_most_as_long_as_its_examples_make_it() {
        let bound = Bound { group: 1, examples: 8, clipping_norm: 2.0 };
        let squares = |norm: f64| (norm * bound.scale()).powi(2);
        assert!(bound.check(squares(0.0)).is_ok());
        assert!(bound.check(squares(16.0)).is_ok());
        for norm in [16.1, 364.8, f64::INFINITY, f64::NAN] {
            let refused = bound.check(squares(norm));
            assert!(matches!(
                refused,
                Err(Error::Gradient(GradientError::SumBeyondBound { group: 1, examples: 8, .. }))
            ));
        }
    }

    #[test]
    fn an_empty_sum_must_be_zero_and_extreme_norms_are_never_refused_wrongly() {
        let empty = Bound { group: 0, examples: 0, clipping_norm: 1.0 };
        assert!(empty.check(0.0).is_ok());
        for clipping_norm in [5e-324, 1e-300, 1e-39, 1e38, 1e300, f64::MAX] {
            let bound = Bound { group: 0, examples: 3, clipping_norm };
            let longest = (3.0 * clipping_norm).min(f64::from(f32::MAX));
            let scaled = longest * bound.scale();
            assert!(bound.check(scaled * scaled).is_ok(), "{clipping_norm}");
        }
    }
}
