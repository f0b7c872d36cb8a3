//! What a run trains: rules on differently built models, the algebra of rules, and what they save
//! and cost.

#[path = "../common/mod.rs"]
mod common;

mod algebra;
mod identities;
mod models;
mod names;
mod on_models;
mod runs;
mod top;
