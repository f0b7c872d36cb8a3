//! The sum that is released: each contribution is bounded, noise goes on once, the divisor is public.
//!
//! Whatever is released about records is such a sum, and it is written down twice only because of where its numbers are:
//! [`BoundedSum`] adds vectors on the host, [`ClippedSum`] the per-example gradients of a step, on any device and never
//! written out. Both keep to the same rules:
//!
//! - A contribution is multiplied by a factor made of an *upper bound* of its norm, so that rounding never makes it longer
//!   than its bound.
//! - What is not finite counts as zero.
//! - Noise is drawn once, for the sum, after the last contribution; only then is it divided, by a number that does not depend
//!   on the data.

mod gradients;
mod limit;
mod vectors;

pub(crate) use gradients::ClippedSum;
pub use vectors::BoundedSum;
