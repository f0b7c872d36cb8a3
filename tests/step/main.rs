//! The private step, law by law. `docs/invariants.md` says which test checks which law.

#[path = "../common/mod.rs"]
mod common;

mod isolation;
mod noise;
mod nonfinite;
mod optimizer_state;
mod out_of_range;
mod secrecy;
mod sensitivity;
mod transaction;
