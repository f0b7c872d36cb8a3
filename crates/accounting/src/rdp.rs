//! The Rényi accountant: a proven upper bound for every event but truncated sampling.

mod bounded_range;
mod convert;
mod curve;
mod mechanism;
mod numeric;
mod pure;
mod selection;
mod without_replacement;

use std::collections::BTreeMap;

use self::curve::{MAX_ORDER, Orders};
use self::mechanism::{Bounds, Cost, NAME};
use super::accountant::Accountant;
use super::adjacency::Adjacency;
use super::composed::Composed;
use super::composition::Mechanism;
use super::event::DpEvent;
use super::quantities::{Delta, Epsilon};
use crate::error::{Error, Result};

/// Accounts with Rényi differential privacy (Mironov 2017, arXiv 1702.07476).
///
/// Each mechanism has an upper bound at every order:
///
/// | Mechanism | Bound |
/// |---|---|
/// | Gaussian | exact; under replace-one with multiplier z/2 |
/// | Poisson-sampled Gaussian, add/remove | exact (Mironov, Talwar & Zhang 2019, arXiv 1908.10530) |
/// | the same, replace-one | smallest of three, see below |
/// | Gaussian on a batch of fixed size | Wang, Balle & Kasiviswanathan 2019 (arXiv 1808.00087), with exact moments; replace-one and zero-out only |
/// | Laplace | exact (Mironov 2017) |
/// | pure DP | exact for randomized response, which is the worst case |
/// | sampled Laplace and pure DP | integral over the amplified privacy profile (Balle, Barthe & Gaboardi 2018, arXiv 1807.01647) |
/// | exponential mechanism | exact for bounded range (Dong, Durfee & Rogers 2020, arXiv 1909.13830) |
/// | zCDP | its definition |
/// | best of several runs | Papernot & Steinke 2022, arXiv 2110.03620, Theorems 2 and 6 |
///
/// - Zero-out costs the same as add/remove under Poisson sampling, because a record that contributes
///   nothing makes the same pair of output distributions as an absent one. A batch of fixed size holds
///   another record instead, which costs more.
/// - The Poisson-sampled Gaussian under replace-one has three bounds. Two hold at each order and step: a
///   triangle inequality over the data set without the record, and the convexity of the divergence. The
///   third holds for the whole composition: group privacy over one removal and one addition. It is left out
///   as soon as the cost of one mechanism under add/remove is not known: pure DP, zCDP and selections are
///   stated by their cost under replace-one, and a batch of fixed size needs a data set of fixed size.
/// - Conversion to (ε, δ): Canonne, Kamath & Steinke 2020, arXiv 2004.00010, Proposition 12.
///
/// Every answer is rounded up: by 1e-12 relative to the terms it is made of, and to the next float.
///
/// The composition is kept as exact counts of distinct mechanisms, so order and splitting cannot change the
/// answer by even one bit.
#[derive(Debug, Clone)]
pub struct RdpAccountant {
    adjacency: Adjacency,
    orders: Orders,
    composed: Composed,
    /// The cost of every mechanism in the composition.
    costs: BTreeMap<Mechanism, Cost>,
}

impl RdpAccountant {
    /// An accountant with nothing composed, at [`default_orders`](Self::default_orders).
    pub fn new(adjacency: Adjacency) -> Self {
        Self::at(adjacency, Orders::new(Self::default_orders()))
    }

    /// An accountant at these orders.
    ///
    /// # Errors
    /// [`Error::Setting`] where there is no order, or one is not greater than 1 and at most 16384.
    pub fn with_orders(adjacency: Adjacency, orders: &[f64]) -> Result<Self> {
        const REQUIREMENT: &str = "greater than 1 and at most 16384, at least one of them";
        if orders.is_empty() {
            return Err(Error::setting("orders", "empty", REQUIREMENT));
        }
        if let Some(bad) = orders.iter().find(|&&order| !(order > 1.0 && order <= MAX_ORDER)) {
            return Err(Error::setting("orders", bad, REQUIREMENT));
        }
        Ok(Self::at(adjacency, Orders::new(orders.to_vec())))
    }

    /// The default orders: dense near 1 for large ε, up to 1024 for small ε.
    ///
    /// 1.01 to 1.09 in hundredths, 1.1 to 10.9 in tenths, the integers from 11 to 64, then about
    /// six per doubling: a superset of the default of Google's dp-accounting.
    pub fn default_orders() -> Vec<f64> {
        let hundredths = (101..110).map(|n| f64::from(n) / 100.0);
        let tenths = (11..110).map(|n| f64::from(n) / 10.0);
        let integers = (11..64).map(f64::from);
        let sparse = (0..=24).map(|n| (64.0 * (f64::from(n) / 6.0).exp2()).round());
        hundredths.chain(tenths).chain(integers).chain(sparse).collect()
    }

    /// The orders at which this accountant works.
    pub fn orders(&self) -> &[f64] {
        &self.orders.orders
    }

    /// The composed Rényi divergence bound at each of [`orders`](Self::orders), in nats.
    ///
    /// Under replace-one this leaves out group privacy, which has no Rényi form here.
    pub fn rdp(&self) -> Vec<f64> {
        let parts = self.parts().map(|(cost, count)| (cost.direct.as_slice(), count));
        mechanism::total(&self.orders, parts)
    }

    /// The Rényi divergence bound of one run of `event` at each of [`orders`](Self::orders), in nats;
    /// nothing is composed.
    ///
    /// # Errors
    /// Those of [`compose`](Accountant::compose).
    pub fn rdp_of(&self, event: &DpEvent) -> Result<Vec<f64>> {
        let mut one = Self::at(self.adjacency, self.orders.clone());
        one.compose(event, 1)?;
        Ok(one.rdp())
    }

    fn at(adjacency: Adjacency, orders: Orders) -> Self {
        Self { adjacency, orders, composed: Composed::new(NAME), costs: BTreeMap::new() }
    }

    fn parts(&self) -> impl Iterator<Item = (&Cost, u64)> {
        // `compose` stores a cost for every mechanism, so both maps have the same keys in the same order.
        self.costs.values().zip(self.composed.total().iter().map(|(_, count)| count))
    }

    /// The composed add/remove bound, from which group privacy for replace-one follows; `None` where
    /// replace-one is not accounted for, or where it does not follow.
    fn add_remove(&self) -> Option<Vec<f64>> {
        let parts = self.parts().map(|(cost, count)| Some((cost.add_remove.as_deref()?, count)));
        let parts: Vec<(&[f64], u64)> = parts.collect::<Option<_>>()?;
        Some(mechanism::total(&self.orders, parts.into_iter()))
    }

    /// log δ of the group-privacy bound for replace-one at 2·`half` (see [`Self::epsilon`]).
    fn log_group_delta(&self, add_remove: &[f64], half: f64) -> f64 {
        let log_delta = convert::log_delta(&self.orders.orders, add_remove, half);
        // log(1 + e^half) = half + log(1 + e^−half), which cannot overflow.
        log_delta + half + (-half).exp().ln_1p()
    }

    /// The smallest 2·half that bisection finds with group δ at most `delta`; +∞ if none.
    fn group_epsilon(&self, add_remove: &[f64], delta: f64) -> f64 {
        // Room for the last float operations, so that δ(ε(δ)) ≤ δ.
        let log_target = delta.ln() - 1e-12 * (1.0 + delta.ln().abs());
        let holds = |half: f64| self.log_group_delta(add_remove, half) <= log_target;
        let mut high = 1.0;
        while !holds(high) {
            high *= 2.0;
            if high > 1e9 {
                return f64::INFINITY;
            }
        }
        // Every `high` was itself found to hold, so the result is sound even where the bound is
        // not monotone.
        let mut low = 0.0;
        for _ in 0..50 {
            let middle = (low + high) / 2.0;
            if holds(middle) { high = middle } else { low = middle }
        }
        2.0 * high
    }
}

impl Accountant for RdpAccountant {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_upper_bound(&self) -> bool {
        true
    }

    fn adjacency(&self) -> Adjacency {
        self.adjacency
    }

    fn supports(&self, event: &DpEvent) -> Result<()> {
        self.composed.supports(event, |added| mechanism::check(added, self.adjacency))
    }

    fn compose(&mut self, event: &DpEvent, count: u64) -> Result<()> {
        let check = |added: &_| mechanism::check(added, self.adjacency);
        let added = self.composed.compose(event, count, check)?;
        // Nothing below can fail: the accountant changes as a whole or not at all.
        let bounds = Bounds { orders: &self.orders, adjacency: self.adjacency };
        for (mechanism, _) in added.iter() {
            if !self.costs.contains_key(mechanism) {
                self.costs.insert(mechanism.clone(), bounds.cost(mechanism));
            }
        }
        Ok(())
    }

    /// Replace-one takes the smaller of two bounds, each for the whole composition, where both are known.
    ///
    /// 1. The converted sum of the Rényi bounds.
    /// 2. Group privacy: let D″ be D without the record and D′ be D″ with the new one. If the run is
    ///    (ε, δ)-DP under add/remove, then P(D) ≤ e^ε P(D″) + δ ≤ e^ε (e^ε P(D′) + δ) + δ, so it is
    ///    (2ε, (1+e^ε)δ)-DP under replace-one.
    fn epsilon(&self, delta: Delta) -> Epsilon {
        let direct = convert::epsilon(&self.orders.orders, &self.rdp(), delta.value());
        if direct == 0.0 {
            return Epsilon::answer(0.0);
        }
        let group = self.add_remove().map(|rdp| self.group_epsilon(&rdp, delta.value()));
        Epsilon::answer(group.map_or(direct, |group| direct.min(group)))
    }

    fn delta(&self, epsilon: Epsilon) -> f64 {
        let direct = convert::log_delta(&self.orders.orders, &self.rdp(), epsilon.value());
        if !epsilon.is_finite() {
            return convert::delta_from_log(direct);
        }
        let group = self.add_remove().map(|rdp| self.log_group_delta(&rdp, epsilon.value() / 2.0));
        convert::delta_from_log(group.map_or(direct, |group| direct.min(group)))
    }
}
