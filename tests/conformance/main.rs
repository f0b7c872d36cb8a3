//! The traced engine gives the gradients of batch-of-one autodiff, for every module and loss of
//! burn and for models written by hand.
//!
//! The table is the `CASES` of each family below. A case is a name, a model, a batch and a loss. It
//! must satisfy two laws. First, the results are those of the batch-of-one engine, for every way of
//! holding gradients and for batches of 0, 1, 2 and 7. Second, no example's results depend on
//! another's data. What is refused, and why, is in [`refused`]; random operations are in
//! [`random`], random graphs in [`graphs`], and gradients that stay in factors in [`plans`].
//!
//! `BURN_DP_TEST_DEVICE` chooses the device (see [`harness::device`]).

mod batches;
#[path = "../common/mod.rs"]
mod common;
mod convolution;
mod graphs;
mod harness;
mod indices;
mod keys;
mod laws;
mod layers;
mod losses;
mod masks;
mod models;
mod operations;
mod out_of_range;
mod plans;
mod pooling;
mod precision;
mod random;
mod refused;
mod sequences;
mod walks;

/// The table: one test per family and law, so that a run can be limited to it.
macro_rules! table {
    ($($family:ident),* $(,)?) => {
        mod traced_equals_batch_of_one {
            $(#[test]
            fn $family() {
                crate::harness::hold(crate::harness::Law::Equality, crate::$family::CASES);
            })*
        }
        mod no_example_reaches_another {
            $(#[test]
            fn $family() {
                crate::harness::hold(crate::harness::Law::Separation, crate::$family::CASES);
            })*
        }
    };
}
table!(batches, convolution, layers, losses, masks, models, operations, pooling, sequences, walks);
