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
//!
//! [`PrivacyAccountant`] is the accountant to use: it takes the best of the others' proofs. `docs/accounting.md`
//! explains what an ε covers and when not to trust one.

mod accountant;
mod adjacency;
mod best;
mod calibrate;
mod clipping;
mod composition;
mod conversion;
mod event;
mod filter;
mod gaussian;
mod gdp;
mod ledger;
mod odometer;
mod plan;
mod pld;
mod rdp;
mod special;
mod trade_off;
mod types;
mod zcdp;

pub use accountant::Accountant;
pub use adjacency::Adjacency;
pub use best::PrivacyAccountant;
pub use calibrate::{affordable_sampling_rate, affordable_steps, calibrate_noise_multiplier};
pub use clipping::{
    AdaptiveClipping, AutomaticClipping, Clipping, ClippingState, PerGroupClipping, clip_factor,
};
pub use conversion::{replace_one_level, user_level};
pub use event::DpEvent;
pub use filter::{RenyiFilter, Spending};
pub use gaussian::GaussianAccountant;
pub use gdp::ApproximateGdpAccountant;
pub use ledger::Ledger;
pub use odometer::RenyiOdometer;
pub use plan::{PrivacyPlan, PrivacyPlanBuilder, PrivacyStatement, PrivateSelection};
pub use pld::PldAccountant;
pub use rdp::RdpAccountant;
pub use trade_off::TradeOffCurve;
pub use types::{
    ClippingNorm, Delta, Epsilon, ExpectedBatchSize, GroupSize, NoiseMultiplier, RunCount,
    SamplingRate, Steps, ZeroConcentration,
};
pub use zcdp::ZcdpAccountant;
