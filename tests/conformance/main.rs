//! The traced engine gives the gradients of batch-of-one autodiff, for every module and loss of burn
//! and for models written by hand.
//!
//! [`TABLE`] lists all cases; each file of this folder holds a family. What is refused, and how, is
//! in [`refused`]; random operations are in [`random`]; random graphs in [`graphs`].

mod batches;
mod convolution;
mod harness;
mod layers;
mod losses;
mod models;
mod operations;
mod pooling;
mod sequences;

use harness::{Case, Law, hold};

/// Every case, family by family.
const TABLE: &[(&str, &[Case])] = &[("convolution", convolution::CASES)];

/// One test a family and law, so that a run can be narrowed to it.
macro_rules! laws {
    ($($family:ident),* $(,)?) => {
        mod traced_equals_batch_of_one {
            $(#[test]
            fn $family() {
                crate::hold(crate::Law::Equality, crate::$family::CASES);
            })*
        }
        mod no_example_reaches_another {
            $(#[test]
            fn $family() {
                crate::hold(crate::Law::Separation, crate::$family::CASES);
            })*
        }
    };
}
laws!(batches, convolution, layers, losses, models, operations, pooling, sequences);
