//! Clients that may not share their data fine-tune one pretrained model together.
//!
//! `federated simulate` runs all of them in one process, with the same roles and the same bytes as between machines.
//! `federated server` and `federated client` are the worker that a transport such as Flower runs at each end.
//!
//! ```text
//!  settings ──> learner (data, model, what is trained) ──> how a client trains, how weights are tested
//!      │            │
//!      └──> plan <──┘ manifest
//!             │
//!      simulate, or worker ──> report
//! ```

#![forbid(unsafe_code)]

mod average;
pub mod learner;
mod output;
mod partition;
mod plan;
mod report;
mod settings;
mod simulate;
mod worker;

pub use output::Output;
pub use partition::{dirichlet, share_in_words};
pub use plan::{plan, policy};
pub use settings::{Aggregation, Budget, Noise, Optimizer, Sent, Settings, TaskName, Train, Unit};
pub use simulate::{run, simulate};
pub use worker::worker;
