//! Private values cannot be logged.
//!
//! The compiler makes the assertions: if a type gains the trait, the choice of implementation
//! becomes ambiguous.

use std::fmt::{Debug, Display};

use burn_dp::DpOptimizer;
use burn_dp::optimizer::{LogicalBatch, Sample};
use burn_dp::per_example::{GradientSum, PerExample, Traced};
use burn_dp::seed::Seed;

macro_rules! has_no {
    ($trait:path: $($type:ty),+ $(,)?) => {$({
        trait Ambiguous<A> {
            fn chosen() {}
        }
        struct Implements;
        impl<T: ?Sized> Ambiguous<()> for T {}
        impl<T: ?Sized + $trait> Ambiguous<Implements> for T {}
        <$type as Ambiguous<_>>::chosen();
    })+};
}

#[test]
fn private_values_have_neither_debug_nor_display() {
    type Optimizer = DpOptimizer<Traced<fn()>>;
    has_no!(Debug: PerExample, GradientSum, Sample, LogicalBatch<Vec<u8>>, Optimizer);
    has_no!(Display: PerExample, GradientSum, Sample, LogicalBatch<Vec<u8>>, Optimizer);
}

#[test]
fn a_batch_cannot_be_used_for_two_steps_nor_a_key_for_two_runs() {
    has_no!(Clone: Sample, LogicalBatch<Vec<u8>>, Seed, DpOptimizer<Traced<fn()>>);
}

#[test]
fn a_key_cannot_be_printed() {
    let seed = Seed::reproducible(123_456_789);
    assert!(!format!("{seed:?}").contains("123456789"));
}
