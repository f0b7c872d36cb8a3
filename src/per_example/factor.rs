//! Reads from the trace how a parameter's gradient factors.
//!
//! A weight gradient is nearly always a contraction over positions `t` of the example,
//! `Σ_t left[t]ᵀ right[t]`. The factors are the layer's input and its output's gradient for a
//! linear layer, unfolded patches for a convolution, and one-hot tokens for an embedding. If the
//! gradient is kept in factors, its norm costs a Gram product (ghost norm: Goodfellow 2015; Bu et
//! al. 2022, arXiv 2205.10683) and its clipped sum one ordinary weight-gradient product
//! (book-keeping: Bu et al. 2023, arXiv 2210.00038). `[batch, ...parameter]` is then never held.

mod change;
mod factored;
mod leaf;
mod link;
mod stacked_matrices;
mod walk;
mod ways;

pub(crate) use factored::{Conv, Factored, Layout, Operand, Shared, Side, Source, Use};
pub(crate) use walk::Factorizer;
