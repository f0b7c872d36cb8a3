//! A privacy filter: a budget that may be spent adaptively.

use super::accountant::Accountant;
use super::adjacency::Adjacency;
use super::event::DpEvent;
use super::quantities::{Delta, Epsilon, Steps};
use super::rdp::RdpAccountant;
use crate::error::{Error, Result};

/// Grants releases until an (ε, δ) budget is spent. Each release may be chosen in the light of everything
/// seen so far, including its noise and sampling rate. The run may stop at any time, for any reason
/// (Feldman & Zrnic 2021, arXiv 2008.11193; Lécuyer 2021, arXiv 2103.01379).
///
/// An accountant alone is not enough for that: it composes events whose parameters were fixed in advance.
/// If a run was shortened, or its noise was changed, because of its results, then adding up its costs
/// proves nothing.
///
/// # What is promised
/// Everything granted, taken together, is (ε, δ)-differentially private with the ε and δ of the *budget*,
/// however much of it is left. The amount that was spent is not a guarantee, because it depends on the
/// data. For a guarantee of that kind see [`RenyiOdometer`](super::RenyiOdometer).
///
/// # Why
/// At **one** order α, fixed in advance, the budget is the largest B that converts to (ε, δ). Let Lₜ be
/// the privacy loss and Rₜ the sum of the granted Rényi divergences at α after t releases. Given the
/// past, the next release multiplies the expectation of e^((α−1)(Lₜ − Rₜ)) by at most 1, because its
/// bound was known before it ran. Since Rₜ ≤ B always, E[e^((α−1)L)] ≤ e^((α−1)B) at the end: the whole
/// is (α, B)-Rényi differentially private. This fails if the order is chosen afterward.
///
/// Whether a release is granted depends on nothing but what was asked for, so a refusal reveals
/// nothing, and a cheaper request may follow it.
#[derive(Debug, Clone)]
pub struct RenyiFilter {
    epsilon: Epsilon,
    delta: Delta,
    order: f64,
    budget: f64,
    /// At that order only.
    granted: RdpAccountant,
}

/// The answer of [`RenyiFilter::try_spend`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "what was refused must not be released"]
pub enum Spending {
    /// It is paid for and must be counted as released.
    Granted,
    /// It would exceed the budget. Nothing was spent, and it must not be released.
    Refused,
}

impl RenyiFilter {
    /// A filter at the one of [`RdpAccountant::default_orders`] at which the budget pays for `planned` most
    /// often. The plan is public, and nothing binds the run to it.
    ///
    /// # Errors
    /// [`Error::Setting`] for an infinite ε, or one that is too small for every order at
    /// this δ; [`Error::UnsupportedEvent`] where the Rényi accountant has no bound for `planned`.
    pub fn for_planned(
        adjacency: Adjacency,
        epsilon: Epsilon,
        delta: Delta,
        planned: &DpEvent,
    ) -> Result<Self> {
        let mut accountant = RdpAccountant::new(adjacency);
        accountant.compose(planned, 1)?;
        let (order, _) = accountant
            .orders()
            .iter()
            .zip(accountant.rdp())
            .map(|(&order, cost)| (order, budget(order, epsilon, delta), cost))
            .filter(|(_, budget, _)| *budget > 0.0)
            .map(|(order, budget, cost)| (order, budget / cost))
            .fold((LARGEST, -1.0), |best, next| if next.1 > best.1 { next } else { best });
        Self::at_order(adjacency, epsilon, delta, order)
    }

    /// A filter at this Rényi order α.
    ///
    /// # Errors
    /// [`Error::Setting`] for an infinite ε; for an order that is not greater than 1 or
    /// larger than the Rényi accountant allows; and where no budget remains at this order, because
    /// the conversion alone costs log((α−1)/α) − log(δα)/(α−1).
    pub fn at_order(
        adjacency: Adjacency,
        epsilon: Epsilon,
        delta: Delta,
        order: f64,
    ) -> Result<Self> {
        if !epsilon.is_finite() {
            return Err(Error::setting("budget epsilon", epsilon.value(), "finite"));
        }
        let granted = RdpAccountant::with_orders(adjacency, &[order])?;
        let budget = budget(order, epsilon, delta);
        if budget > 0.0 {
            Ok(Self { epsilon, delta, order, budget, granted })
        } else {
            Err(Error::setting(
                "budget epsilon",
                epsilon.value(),
                "larger at this delta, or the Rényi order of the filter be larger",
            ))
        }
    }

    /// Pays for `count` runs of `event`, if the budget allows all of them. Ask *before* releasing.
    ///
    /// # Errors
    /// As [`Accountant::compose`]; nothing has been spent then.
    pub fn try_spend(&mut self, event: &DpEvent, count: u64) -> Result<Spending> {
        let next = self.with(event, count)?;
        if only(&next) > self.budget {
            return Ok(Spending::Refused);
        }
        self.granted = next;
        Ok(Spending::Granted)
    }

    /// How many runs of `event` the rest of the budget pays for; 2^64 − 1 if they cost nothing.
    ///
    /// # Errors
    /// [`Error::UnsupportedEvent`] where the Rényi accountant has no bound for `event`.
    pub fn affordable(&self, event: &DpEvent) -> Result<Steps> {
        self.granted.supports(event)?;
        // A number of runs that cannot be counted does not fit.
        let fits = |count| self.with(event, count).is_ok_and(|next| only(&next) <= self.budget);
        if fits(u64::MAX) {
            return Ok(Steps::from(u64::MAX));
        }
        let (mut most, mut too_many) = (0, u64::MAX);
        let once = only(&self.with(event, 1)?) - self.spent();
        let near = (self.budget - self.spent()) / once;
        for guess in [near * (1.0 - 1e-9), near * (1.0 + 1e-9) + 1.0].map(|guess| guess as u64) {
            if most < guess && guess < too_many {
                if fits(guess) { most = guess } else { too_many = guess }
            }
        }
        while too_many - most > 1 {
            let middle = most + (too_many - most) / 2;
            if fits(middle) { most = middle } else { too_many = middle }
        }
        Ok(Steps::from(most))
    }

    /// The guarantee of everything that this filter ever grants.
    pub const fn guarantee(&self) -> (Epsilon, Delta) {
        (self.epsilon, self.delta)
    }

    /// α.
    pub const fn order(&self) -> f64 {
        self.order
    }

    /// The Rényi divergence that may be spent at [`order`](Self::order), in nats.
    pub const fn budget(&self) -> f64 {
        self.budget
    }

    /// The Rényi divergence spent so far, in nats: at most [`budget`](Self::budget).
    pub fn spent(&self) -> f64 {
        only(&self.granted)
    }

    fn with(&self, event: &DpEvent, count: u64) -> Result<RdpAccountant> {
        let mut next = self.granted.clone();
        next.compose(event, count)?;
        Ok(next)
    }
}

/// The order that needs the least ε. It is used if no order has a budget.
const LARGEST: f64 = 1024.0;

/// The divergence at the filter's one order. If it is missing or NaN, it exceeds every budget.
fn only(accountant: &RdpAccountant) -> f64 {
    match accountant.rdp().as_slice() {
        [rdp] if !rdp.is_nan() => *rdp,
        _ => f64::INFINITY,
    }
}

/// The largest r for which (α, r)-Rényi DP gives (ε, δ), rounded down: the conversion of Canonne, Kamath
/// & Steinke 2020 (arXiv 2004.00010, Proposition 12) solved for r,
///
/// ```text
/// r = ε − log((α−1)/α) + (log δ + log α)/(α−1)
/// ```
fn budget(order: f64, epsilon: Epsilon, delta: Delta) -> f64 {
    let less = order - 1.0;
    let log_delta = delta.value().ln();
    let exact = epsilon.value() - (less / order).ln() + (log_delta + order.ln()) / less;
    let sizes = epsilon.value() + 1.0 + (1.0 + log_delta.abs() + order.ln()) / less;
    exact - 1e-12 * sizes
}
