//! What a run guarantees: the plan it follows, and what the run costs.
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
//! Accounting is a crate of its own, [`burn_dp_accounting`]. All of it is re-exported here.
//! [`PrivacyAccountant`] is the accountant to use: it takes the best of the others' proofs.
//! `docs/accounting.md` explains what an ε covers and when not to trust one.

pub use burn_dp_accounting::{
    Accountant, Adjacency, ApproximateGdpAccountant, ClippingNorm, Delta, DpEvent, Epsilon,
    ExpectedBatchSize, GaussianAccountant, GroupSize, Ledger, NoiseMultiplier, PldAccountant,
    PrivacyAccountant, RdpAccountant, RenyiFilter, RenyiOdometer, RunCount, SamplingRate, Spending,
    Steps, TradeOffCurve, ZcdpAccountant, ZeroConcentration, affordable_sampling_rate,
    affordable_steps, calibrate_noise_multiplier, replace_one_level, user_level,
};

pub use crate::clipping::{
    AdaptiveClipping, AutomaticClipping, Clipping, ClippingState, PerGroupClipping, clip_factor,
};
pub use crate::noise::Noise;
pub use crate::plan::{
    PrivacyPlan, PrivacyPlanBuilder, PrivacyStatement, PrivateSelection, Progress,
};
pub use crate::sampling::Sampling;
