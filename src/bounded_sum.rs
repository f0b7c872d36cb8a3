//! The sum that is released: each contribution is bounded, noise is added once, the divisor is
//! public.
//!
//! Everything that is released about records is such a sum. There are two implementations, because
//! the numbers are in different places: [`BoundedSum`] adds vectors on the host; [`ClippedSum`]
//! adds the per-example gradients of a step, on any device, and never writes them out. Both follow
//! the same rules:
//!
//! - A contribution is multiplied by a factor computed from an *upper bound* of its norm, so that
//!   rounding never makes it longer than its bound.
//! - A contribution that is not finite counts as zero.
//! - Noise is drawn once, for the sum, after the last contribution. Only then is the sum divided,
//!   by a number that does not depend on the data.

mod count;
mod gradients;
mod limit;
mod vectors;

pub(crate) use count::next_clipping;
pub(crate) use gradients::ClippedSum;
pub use vectors::BoundedSum;
