//! Institutions that may not share data fine-tune one model together.
//!
//! ```text
//!            FederatedPlan
//!                  │
//!  Server::step ───┴── Request(round, weights) ──> Client::answer ── trains on its own data
//!       ^                                                │
//!       └───────────── Reply(encoded update) <───────────┘
//!       │
//!   one round (src/federated/round.rs): sample -> decode -> clip -> sum -> noise -> divide -> account -> optimizer
//! ```
//!
//! # Client-level privacy is DP-SGD whose record is a client
//!
//! The plan's [`PrivacyPlan`](crate::privacy::PrivacyPlan) says everything: its sampling rate is that of clients, its expected
//! batch size the expected cohort, its steps the rounds. Nothing new is needed to account for it.
//!
//! - **T1, sensitivity.** One client more or less moves the sum of a round by at most the plan's sensitivity (McMahan et al.
//!   2018, arXiv 1710.06963). The server clips what it has *decoded*, so neither the encoding nor malice raises it. A client
//!   that is offline, fails or sends nonsense counts as zero; the divisor is the public expected cohort.
//! - **T2, whom it protects from.** The amplification by sampling holds against those who see releases, not against the
//!   server, nor against a client that knows it was asked. The server is trusted.
//! - **T3, how a round ends.** When its deadline has passed, or each client of the cohort has answered or failed, and the first
//!   outcome of a client in a round is final. A round that ended by count ("the first k of n") would let one client push
//!   another out, which doubles the sensitivity.
//! - **T4, adaptive clipping** spends a part of each round's noise on a count (Andrew et al. 2021, arXiv 1905.03871), as in a
//!   step of [`DpOptimizer`](crate::DpOptimizer).
//!
//! # Roles are state machines
//!
//! [`Server`] and [`Client`] know neither network nor files nor clocks: time, messages and storage are arguments and results.
//! What they return as `state` must be durable *before* anything that they return is sent. Then a process may be
//! killed at any point: before, nothing was released, and the next attempt draws fresh noise; after, the release is
//! repeated, never computed again.

mod central;
mod client;
mod encoding;
mod ids;
mod kind;
mod manifest;
mod message;
mod plan;
mod policy;
mod round;
mod server;
mod server_optimizer;
mod simulator;
mod statement;
mod training;
mod unit;
pub mod weights;
pub mod worker;

pub use central::{AdaptiveNoise, Late, Schedule, Tier};
pub use client::{Answer, Client};
pub use encoding::Encoding;
pub use ids::{ClientId, DataSetId, RunId};
pub use kind::{Kind, MaskAggregation};
pub use manifest::Manifest;
pub use message::{Reply, Request};
pub use plan::{FederatedPlan, FederatedPlanBuilder, Terms, Weighting};
pub use policy::{NodePolicy, PolicyAdjacency};
pub use server::{Inbox, Server, ServerStep};
pub use server_optimizer::ServerOptimizer;
pub use simulator::{RoundReport, Simulation, simulate, simulate_nodes};
pub use training::{Trained, Training};
pub use unit::{Proposal, Unit};
