//! What a private release of data costs: differential privacy accounting as pure mathematics on plain data.
//!
//! A [`DpEvent`] says what is released, an [`Accountant`] bounds what that costs, and every bound is proven and rounded
//! up. [`PrivacyAccountant`] is the one to use: it takes the best of the others' proofs.
//!
//! ```
//! use burn_dp_accounting::{
//!     Accountant, Adjacency, Delta, DpEvent, NoiseMultiplier, PrivacyAccountant, SamplingRate,
//! };
//!
//! # fn main() -> burn_dp_accounting::Result<()> {
//! // A thousand steps of DP-SGD, each on a hundredth of the records.
//! let (rate, noise) = (SamplingRate::new(0.01)?, NoiseMultiplier::new(1.0)?);
//! let step = DpEvent::poisson_sampled_gaussian(rate, noise);
//! let mut accountant = PrivacyAccountant::new(Adjacency::AddRemove);
//! accountant.compose(&step, 1000)?;
//! let epsilon = accountant.epsilon(Delta::new(1e-5)?);
//! assert!(epsilon.value() < 1.85);
//! # Ok(())
//! # }
//! ```
//!
//! | To | use |
//! |---|---|
//! | find the noise, rate or number of steps that a budget allows | [`calibrate_noise_multiplier`], [`affordable_sampling_rate`], [`affordable_steps`] |
//! | keep a record of what was released, and price it later | [`Ledger`] |
//! | choose each release in the light of the last | [`RenyiFilter`], [`RenyiOdometer`] |
//! | see the whole trade-off between error rates, not one ε | [`TradeOffCurve`] |
//! | bound what all records of one person show | [`user_level`], [`replace_one_level`], [`GroupSize`] |
//!
//! The crate `burn-dp` trains models with such guarantees.

#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

mod accountant;
mod adjacency;
mod calibrate;
mod composed;
mod composition;
mod conversion;
mod error;
mod event;
mod filter;
mod gaussian;
mod gdp;
mod ledger;
mod normal_tail;
mod odometer;
mod pld;
mod privacy_accountant;
mod quantities;
mod rdp;
mod trade_off;
mod zcdp;

pub use accountant::Accountant;
pub use adjacency::Adjacency;
pub use calibrate::{affordable_sampling_rate, affordable_steps, calibrate_noise_multiplier};
pub use conversion::{replace_one_level, user_level};
pub use error::{Error, Result, SettingError};
pub use event::DpEvent;
pub use filter::{RenyiFilter, Spending};
pub use gaussian::GaussianAccountant;
pub use gdp::ApproximateGdpAccountant;
pub use ledger::Ledger;
pub use odometer::RenyiOdometer;
pub use pld::PldAccountant;
pub use privacy_accountant::PrivacyAccountant;
pub use quantities::{
    ClippingNorm, Delta, Epsilon, ExpectedBatchSize, GroupSize, NoiseMultiplier, RunCount,
    SamplingRate, Steps, ZeroConcentration,
};
pub use rdp::RdpAccountant;
pub use trade_off::TradeOffCurve;
pub use zcdp::ZcdpAccountant;

/// The examples of README.md are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
