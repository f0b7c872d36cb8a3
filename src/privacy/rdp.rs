//! The Rényi accountant: a proven upper bound for Gaussian and Poisson-subsampled Gaussian events.

mod convert;
mod curve;

use std::collections::BTreeMap;

use self::curve::{MAX_ORDER, Orders};
use super::accountant::Accountant;
use super::adjacency::Adjacency;
use super::event::DpEvent;
use super::types::{Delta, Epsilon};
use crate::error::{Error, Result};

/// Composed and repeated events may be nested this deep.
const MAX_DEPTH: usize = 64;

/// Accounts with Rényi differential privacy (Mironov 2017, arXiv 1702.07476).
///
/// - The Poisson-subsampled Gaussian under add/remove is exact at every order (Mironov, Talwar &
///   Zhang 2019, arXiv 1908.10530); zero-out costs the same, because a record that contributes
///   nothing makes the same pair of output distributions as an absent one.
/// - Replace-one is exact without sampling (the Gaussian with multiplier z/2). With sampling it is
///   the smallest of three bounds: at each order and step a triangle inequality over the data set
///   without the record, or the convexity of the divergence; and for the whole composition group
///   privacy over one removal and one addition.
/// - Conversion to (ε, δ): Canonne, Kamath & Steinke 2020, arXiv 2004.00010, Proposition 12.
///
/// Every answer is rounded up: by 1e-12 relative to the terms it is made of, and to the next float.
///
/// Composition is kept as exact counts of distinct events, so that order and splitting cannot
/// change the answer by even one bit.
#[derive(Debug, Clone)]
pub struct RdpAccountant {
    adjacency: Adjacency,
    orders: Orders,
    /// By sampling rate and noise multiplier: as bits, which order like the numbers.
    composed: BTreeMap<(u64, u64), Entry>,
}

/// How often an event was composed, and what once costs at each order.
#[derive(Debug, Clone)]
struct Entry {
    count: u64,
    add_remove: Vec<f64>,
    /// Empty unless the adjacency is replace-one.
    replace_one: Vec<f64>,
}

impl RdpAccountant {
    /// An accountant with nothing composed, at [`default_orders`](Self::default_orders).
    pub fn new(adjacency: Adjacency) -> Self {
        Self::at(adjacency, Self::default_orders())
    }

    /// An accountant at these orders.
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] where there is none, or one is not greater than 1 and at most
    /// 16384.
    pub fn with_orders(adjacency: Adjacency, orders: &[f64]) -> Result<Self> {
        const REQUIREMENT: &str = "greater than 1 and at most 16384, at least one of them";
        if orders.is_empty() {
            return Err(Error::setting("orders", "empty", REQUIREMENT));
        }
        if let Some(bad) = orders.iter().find(|&&order| !(order > 1.0 && order <= MAX_ORDER)) {
            return Err(Error::setting("orders", bad, REQUIREMENT));
        }
        Ok(Self::at(adjacency, orders.to_vec()))
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
        match self.adjacency {
            Adjacency::AddRemove | Adjacency::ZeroOut => self.total(|entry| &entry.add_remove),
            Adjacency::ReplaceOne => self.total(|entry| &entry.replace_one),
        }
    }

    fn at(adjacency: Adjacency, orders: Vec<f64>) -> Self {
        Self { adjacency, orders: Orders::new(orders), composed: BTreeMap::new() }
    }

    fn total(&self, curve: impl Fn(&Entry) -> &Vec<f64>) -> Vec<f64> {
        let mut total = vec![0.0; self.orders.orders.len()];
        for entry in self.composed.values() {
            // Above 2^53 the conversion may round down; one float up covers it. The sum itself may
            // lose half a unit per entry, which a relative 1e-15 per entry covers.
            let count = if entry.count < 1 << 53 {
                entry.count as f64
            } else {
                (entry.count as f64).next_up()
            };
            for (sum, &once) in total.iter_mut().zip(curve(entry)) {
                *sum = (*sum + count * once) * (1.0 + 4.0 * f64::EPSILON);
            }
        }
        total
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
        "Rényi DP"
    }

    fn is_upper_bound(&self) -> bool {
        true
    }

    fn adjacency(&self) -> Adjacency {
        self.adjacency
    }

    fn compose(&mut self, event: &DpEvent, count: u64) -> Result<()> {
        let mut counts = BTreeMap::new();
        collect(event, count, 0, &mut counts)?;
        for (key, count) in &mut counts {
            let before = self.composed.get(key).map_or(0, |entry| entry.count);
            *count = before.checked_add(*count).ok_or_else(too_many)?;
        }
        // Nothing below can fail: the accountant changes as a whole or not at all.
        let (orders, replaces) = (&self.orders, self.adjacency == Adjacency::ReplaceOne);
        for (key, count) in counts {
            let entry = self.composed.entry(key).or_insert_with(|| {
                let (rate, z) = (f64::from_bits(key.0), f64::from_bits(key.1));
                Entry {
                    count: 0,
                    add_remove: orders.add_remove(rate, z),
                    replace_one: if replaces { orders.replace_one(rate, z) } else { Vec::new() },
                }
            });
            entry.count = count;
        }
        Ok(())
    }

    /// Replace-one takes the smaller of two bounds, each for the whole composition.
    ///
    /// 1. The converted sum of the Rényi bounds.
    /// 2. Group privacy: let D″ be D without the record and D′ be D″ with the new one. If the run is
    ///    (ε, δ)-DP under add/remove, then P(D) ≤ e^ε P(D″) + δ ≤ e^ε (e^ε P(D′) + δ) + δ, so it is
    ///    (2ε, (1+e^ε)δ)-DP under replace-one.
    fn epsilon(&self, delta: Delta) -> Epsilon {
        let direct = convert::epsilon(&self.orders.orders, &self.rdp(), delta.value());
        if self.adjacency != Adjacency::ReplaceOne || direct == 0.0 {
            return Epsilon::answer(direct);
        }
        let add_remove = self.total(|entry| &entry.add_remove);
        Epsilon::answer(direct.min(self.group_epsilon(&add_remove, delta.value())))
    }

    fn delta(&self, epsilon: Epsilon) -> f64 {
        let direct = convert::log_delta(&self.orders.orders, &self.rdp(), epsilon.value());
        if self.adjacency != Adjacency::ReplaceOne || !epsilon.is_finite() {
            return convert::delta_from_log(direct);
        }
        let add_remove = self.total(|entry| &entry.add_remove);
        let group = self.log_group_delta(&add_remove, epsilon.value() / 2.0);
        convert::delta_from_log(direct.min(group))
    }
}

/// Adds the leaves of `event`, each `count` times what its nesting says, to `counts`.
fn collect(
    event: &DpEvent,
    count: u64,
    depth: usize,
    counts: &mut BTreeMap<(u64, u64), u64>,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(unsupported("a composition nested deeper than 64 levels"));
    }
    match event {
        DpEvent::Gaussian { noise_multiplier } => add(1.0, noise_multiplier.value(), count, counts),
        DpEvent::PoissonSampled { rate, event } => match &**event {
            DpEvent::Gaussian { noise_multiplier } => {
                add(rate.value(), noise_multiplier.value(), count, counts)
            }
            _ => Err(unsupported("Poisson sampling of anything but one Gaussian release")),
        },
        DpEvent::Composed(events) => {
            events.iter().try_for_each(|event| collect(event, count, depth + 1, counts))
        }
        DpEvent::SelfComposed { event, count: repeats } => {
            let count = count.checked_mul(*repeats).ok_or_else(too_many)?;
            collect(event, count, depth + 1, counts)
        }
    }
}

fn add(rate: f64, z: f64, count: u64, counts: &mut BTreeMap<(u64, u64), u64>) -> Result<()> {
    if count > 0 {
        let total = counts.entry((rate.to_bits(), z.to_bits())).or_insert(0);
        *total = total.checked_add(count).ok_or_else(too_many)?;
    }
    Ok(())
}

fn unsupported(event: &str) -> Error {
    Error::UnsupportedEvent { accountant: "Rényi DP", event: event.to_owned() }
}

fn too_many() -> Error {
    Error::setting("count", "more than 2^64 - 1 in all", "at most 2^64 - 1 in all")
}
