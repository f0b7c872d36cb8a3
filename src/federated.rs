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
//! # Whom a run protects
//!
//! | [`Unit`] | protects | trusts | noise is drawn by |
//! |---|---|---|---|
//! | [`Client`](Unit::Client) | a client with everything that it holds | the server | the server, once a round |
//! | [`Record`](Unit::Record) | each record of a client | nobody outside of the client | the client's optimizer, in each step |
//! | [`Local`](Unit::Local) | a client with everything that it holds | nobody outside of the client | the client, once a round |
//!
//! What clients send is a [`Kind`]: weights of whatever a model trains, masks, or predictions. How it is written is an
//! [`Encoding`]. All of these go through the same round.
//!
//! # Client-level privacy is DP-SGD whose record is a client
//!
//! The plan's [`PrivacyPlan`](crate::privacy::PrivacyPlan) says everything: its sampling rate is that of clients, its expected
//! batch size the expected cohort, its steps the rounds. A [`Schedule`] of noise, [`Tier`]s of clients and [`Late`] replies make
//! rounds differ from plain steps, and the plan accounts for that.
//!
//! - **T1, sensitivity.** One client more or less moves the sum of a round by at most the plan's sensitivity (McMahan et al.
//!   2018, arXiv 1710.06963). The server clips what it has *decoded*, so neither the encoding nor malice raises it. A client
//!   that is offline, fails or sends nonsense counts as zero; the divisor is the public expected cohort.
//! - **T2, whom it protects from.** The amplification by sampling holds against those who see releases, not against the
//!   server, nor against a client that knows it was asked. The server is trusted.
//! - **T3, how a round ends.** When its deadline has passed, or each client of the cohort has answered or failed, and the first
//!   outcome of a client in a round is final. A round that ended by count ("the first k of n") would let one client push
//!   another out, which doubles the sensitivity. Where late replies count, a round ends by its deadline alone.
//! - **T4, adaptive clipping** spends a part of each round's noise on a count (Andrew et al. 2021, arXiv 1905.03871), as in a
//!   step of [`DpOptimizer`](crate::DpOptimizer).
//! - **T6, encodings.** Rounding and choosing before the server's clip change no guarantee, because of T1; after noise they are
//!   post-processing. Which numbers are the largest of an un-noised contribution is known to the server alone.
//! - **T8, predictions.** Rows of probabilities lie in the simplex, so M of them have an L2 norm of at most √M.
//!
//! # Clients that protect themselves
//!
//! A server proposes ([`Proposal`]); the policy of a node's operator ([`NodePolicy`]) takes the stricter of the two.
//!
//! - **T5, a filter grants each round.** Servers adapt what they ask to what they have seen, so adding up costs proves nothing. A
//!   Rényi filter at one order, over all runs on a data set, does (Feldman & Zrnic 2021, arXiv 2008.11193; Lécuyer 2021,
//!   arXiv 2103.01379). What it does not grant is refused, and a refusal says nothing about data.
//! - **T9, many clients.** A record is at one client, and no other client's messages depend on it before the server has seen a
//!   private one. So what a run costs is the largest of its clients' ε, provided that nobody has records at two.
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
pub mod masks;
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
