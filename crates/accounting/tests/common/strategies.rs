//! The ranges over which the laws of accounting are tested.

#![allow(dead_code, reason = "each test crate uses a part")]

use burn_dp_accounting::Adjacency;
use proptest::prelude::*;

pub fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![4 => (-14.0..0.0_f64).prop_map(f64::exp), 1 => Just(0.0), 1 => Just(1.0), 1 => 0.9..1.0]
}

/// From 0.1 to 1000.
pub fn multiplier() -> impl Strategy<Value = f64> {
    (-2.3..6.9_f64).prop_map(f64::exp)
}

/// From 1e-15 to 0.5.
pub fn failure() -> impl Strategy<Value = f64> {
    (-34.5..-0.7_f64).prop_map(f64::exp)
}

pub fn any_adjacency() -> impl Strategy<Value = Adjacency> {
    prop_oneof![Just(Adjacency::AddRemove), Just(Adjacency::ZeroOut), Just(Adjacency::ReplaceOne)]
}
