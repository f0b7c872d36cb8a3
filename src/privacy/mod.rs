//! Accounting: what a run releases and what that costs, as pure mathematics on plain data.
//!
//! ```text
//! PrivacyPlan ──event()──> DpEvent ──compose──> Accountant ──epsilon(delta)──> Epsilon
//!      └── sampling rate, clipping, noise, divisor: everything the training step needs
//! ```
//!
//! A [`PrivacyPlan`] is the one value from which sampling, clipping, noise and accounting come, so
//! they cannot disagree. A [`DpEvent`] says what was released; an [`Accountant`] bounds what it
//! costs. Nothing here touches a tensor.

mod accountant;
mod adjacency;
mod calibrate;
mod clipping;
mod event;
mod ledger;
mod plan;
mod rdp;
mod types;

pub use accountant::Accountant;
pub use adjacency::Adjacency;
pub use calibrate::calibrate_noise_multiplier;
pub use clipping::{
    AdaptiveClipping, AutomaticClipping, Clipping, ClippingState, PerGroupClipping, clip_factor,
};
pub use event::DpEvent;
pub use ledger::Ledger;
pub use plan::{PrivacyPlan, PrivacyPlanBuilder, PrivacyStatement};
pub use rdp::RdpAccountant;
pub use types::{
    ClippingNorm, Delta, Epsilon, ExpectedBatchSize, NoiseMultiplier, SamplingRate, Steps,
};
