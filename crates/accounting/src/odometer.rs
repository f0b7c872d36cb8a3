//! A privacy odometer: an ε that may be read at any time.

use super::accountant::Accountant;
use super::adjacency::Adjacency;
use super::event::DpEvent;
use super::quantities::{Delta, Epsilon};
use super::rdp::RdpAccountant;
use crate::error::Result;

/// A running ε that stays valid although events are chosen in the light of earlier results, and although it
/// may be read and acted upon at any time (Rogers, Roth, Ullman & Vadhan 2016, arXiv 1605.08294).
///
/// # What is promised
/// Except with probability δ over the *whole* run, the privacy loss log(P/Q) of what was released is
/// never above the ε that the odometer shows at that time. So a run that stops while the odometer shows at
/// most ε is (ε, δ)-differentially private, even if it stops because of what the odometer shows. To see
/// this, let A be the event that the loss stayed below. Then P(E) ≤ P(E ∩ A) + δ ≤ e^ε Q(E) + δ.
///
/// # Why
/// Let Lₜ be the loss and Rₜ the sum of the Rényi divergences at order α after t releases. Given the
/// past, the next release multiplies the expectation under P of Mₜ = e^((α−1)(Lₜ − Rₜ)) by at most 1,
/// because its bound was known before it ran: M is a supermartingale that starts at 1. Ville's
/// inequality bounds its maximum over all time: P(∃t: Mₜ ≥ 1/δ) ≤ δ, that is
///
/// ```text
/// Lₜ < Rₜ(α) + log(1/δ)/(α−1)   for all t at once.
/// ```
///
/// (Whitehouse, Ramdas, Rogers & Wu 2023, arXiv 2203.05481, build odometers in this way.) Each of n orders
/// gets δ/n, and the smallest of the n bounds is shown. Where the ε is known in advance, a
/// [`RenyiFilter`](super::RenyiFilter) costs less: one order, all of δ, and a sharper conversion.
#[derive(Debug, Clone)]
pub struct RenyiOdometer {
    delta: Delta,
    released: RdpAccountant,
}

impl RenyiOdometer {
    /// An odometer at 11 orders, α − 1 from 1/4 to 256, each twice the one before. For Gaussian releases,
    /// the ε of the closest of these orders is at most 6 % above that of the best order in between.
    ///
    /// # Errors
    /// None: these orders are valid.
    pub fn new(adjacency: Adjacency, delta: Delta) -> Result<Self> {
        let orders: Vec<f64> = (-2..=8).map(|power| 1.0 + f64::from(power).exp2()).collect();
        Self::with_orders(adjacency, delta, &orders)
    }

    /// An odometer at these orders. The fewer there are, the larger is the share of δ that each gets.
    ///
    /// # Errors
    /// As [`RdpAccountant::with_orders`].
    pub fn with_orders(adjacency: Adjacency, delta: Delta, orders: &[f64]) -> Result<Self> {
        Ok(Self { delta, released: RdpAccountant::with_orders(adjacency, orders)? })
    }

    /// Adds `count` runs of `event`, whose parameters may depend on everything released before.
    ///
    /// # Errors
    /// As [`Accountant::compose`]; nothing has been added then.
    pub fn record(&mut self, event: &DpEvent, count: u64) -> Result<()> {
        self.released.compose(event, count)
    }

    /// What [`epsilon`](Self::epsilon) would be after [`record`](Self::record). Ask this before releasing,
    /// if ε must not exceed some limit.
    ///
    /// # Errors
    /// As [`Accountant::compose`].
    pub fn epsilon_after(&self, event: &DpEvent, count: u64) -> Result<Epsilon> {
        let mut next = self.clone();
        next.record(event, count)?;
        Ok(next.epsilon())
    }

    /// The bound on the privacy loss so far, rounded up; 0 where nothing was released.
    pub fn epsilon(&self) -> Epsilon {
        let orders = self.released.orders();
        let log_share = (orders.len() as f64).ln() - self.delta.value().ln();
        let bounds = orders.iter().zip(self.released.rdp()).map(|(order, rdp)| {
            // Two distributions of divergence 0 are equal.
            let exact = if rdp == 0.0 { 0.0 } else { rdp + log_share / (order - 1.0) };
            exact * (1.0 + 1e-14)
        });
        Epsilon::answer(bounds.fold(f64::INFINITY, f64::min))
    }

    /// δ: over the whole run, some shown ε is too small with at most this probability.
    pub const fn delta(&self) -> Delta {
        self.delta
    }
}
