//! Which bound belongs to which mechanism, by adjacency.

use super::bounded_range::bounded_range;
use super::curve::Orders;
use super::numeric::{by_convexity, round_up};
use super::pure::{amplified, laplace, pure, sampled};
use super::selection::{Runs, best_of};
use super::without_replacement;
use crate::adjacency::Adjacency;
use crate::composition::{Base, Composition, Mechanism};
use crate::error::{Error, Result};

/// The name of the accountant, which refusals give.
pub(super) const NAME: &str = "Rényi DP";

/// What one run of a mechanism costs at each order.
#[derive(Debug, Clone)]
pub(super) struct Cost {
    /// The cost under the adjacency that is accounted for.
    pub(super) direct: Vec<f64>,
    /// The cost under add/remove, if replace-one is accounted for and this cost is known too. Then group
    /// privacy applies, over one removal and one addition. The cost is not known for a mechanism that is
    /// stated by its cost under replace-one, or whose sampling needs a data set of fixed size.
    pub(super) add_remove: Option<Vec<f64>>,
}

/// Refuses mechanisms that have no bound.
///
/// # Errors
/// [`Error::UnsupportedEvent`].
pub(super) fn check(composition: &Composition, adjacency: Adjacency) -> Result<()> {
    composition.iter().try_for_each(|(mechanism, _)| match mechanism {
        Mechanism::TruncatedPoisson { .. } => Err(unsupported(
            "Poisson sampling that cuts batches to a largest size, which the privacy loss distribution \
             accountant has a bound for",
        )),
        Mechanism::WithoutReplacement { .. } if adjacency == Adjacency::AddRemove => {
            Err(unsupported(
                "batches of fixed size under add/remove, which changes the data set's size; account for \
                 replace-one or zero-out",
            ))
        }
        Mechanism::RepeatAndSelect { event, .. } => check(event, adjacency),
        Mechanism::Plain(_)
        | Mechanism::Poisson { .. }
        | Mechanism::WithoutReplacement { .. }
        | Mechanism::BoundedRange { .. }
        | Mechanism::ZeroConcentrated { .. } => Ok(()),
    })
}

/// The sum of the costs of all runs.
pub(super) fn total<'a>(
    orders: &Orders,
    parts: impl Iterator<Item = (&'a [f64], u64)>,
) -> Vec<f64> {
    let mut total = vec![0.0; orders.orders.len()];
    for (curve, count) in parts {
        // Above 2^53 the conversion may round down; one float up covers it. The sum itself may lose
        // half a unit per part, which a relative 1e-15 per part covers.
        let times = if count < 1 << 53 { count as f64 } else { (count as f64).next_up() };
        for (sum, &once) in total.iter_mut().zip(curve) {
            *sum = (*sum + times * once) * (1.0 + 4.0 * f64::EPSILON);
        }
    }
    total
}

/// The bounds at these orders for mechanisms that [`check`] accepts.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    pub(super) orders: &'a Orders,
    pub(super) adjacency: Adjacency,
}

impl Bounds<'_> {
    pub(super) fn cost(self, mechanism: &Mechanism) -> Cost {
        Cost {
            direct: self.direct(mechanism),
            add_remove: (self.replaces() && has_add_remove(mechanism))
                .then(|| Bounds { adjacency: Adjacency::AddRemove, ..self }.direct(mechanism)),
        }
    }

    fn direct(self, mechanism: &Mechanism) -> Vec<f64> {
        match *mechanism {
            Mechanism::Plain(base) => self.plain(base),
            Mechanism::Poisson { rate, base } => self.poisson(rate.value(), base),
            Mechanism::WithoutReplacement { dataset_size, batch_size, base } => {
                let rate = (batch_size as f64 / dataset_size as f64).next_up().min(1.0);
                self.without_replacement(rate, base)
            }
            Mechanism::BoundedRange { epsilon } => {
                self.at_each(|order| bounded_range(order, epsilon.value()))
            }
            Mechanism::ZeroConcentrated { rho } => {
                let rho = rho.value();
                self.at_each(|order| if rho == 0.0 { 0.0 } else { round_up(rho * order) })
            }
            Mechanism::RepeatAndSelect { mean, shape, ref event } => {
                let runs = Runs { mean: mean.value(), shape: shape.value() };
                best_of(&self.orders.orders, &self.composed(event), runs)
            }
            // Refused by `check`.
            Mechanism::TruncatedPoisson { .. } => self.at_each(|_| f64::INFINITY),
        }
    }

    fn composed(self, composition: &Composition) -> Vec<f64> {
        let parts: Vec<(Vec<f64>, u64)> =
            composition.iter().map(|(mechanism, count)| (self.direct(mechanism), count)).collect();
        total(self.orders, parts.iter().map(|(curve, count)| (curve.as_slice(), *count)))
    }

    fn plain(self, base: Base) -> Vec<f64> {
        match base {
            Base::Gaussian { noise_multiplier } => self.gaussian(1.0, noise_multiplier.value()),
            Base::Laplace { noise_multiplier } => {
                let epsilon = self.laplace_epsilon(noise_multiplier.value());
                self.at_each(|order| laplace(order, epsilon))
            }
            Base::PureDp { epsilon } => self.at_each(|order| pure(order, epsilon.value())),
        }
    }

    /// - **Laplace**: the batch without the record is within 1/z of the other two batches. These are within
    ///   1/z of each other, or within 2/z under replace-one.
    /// - **Pure DP** under add/remove and zero-out: the batch without the record is one of the other two
    ///   batches, or releases the same as one of them. Under replace-one, pure DP says nothing about the
    ///   batch that lacks the record, which may have another size. That leaves only [`by_convexity`].
    fn poisson(self, rate: f64, base: Base) -> Vec<f64> {
        match base {
            Base::Gaussian { noise_multiplier } => self.gaussian(rate, noise_multiplier.value()),
            Base::Laplace { noise_multiplier } => {
                let epsilon = self.laplace_epsilon(noise_multiplier.value());
                self.at_each(|order| {
                    let convexity = by_convexity(order, rate, laplace(order, epsilon));
                    sampled(order, rate, epsilon).min(round_up(convexity))
                })
            }
            Base::PureDp { epsilon } => {
                let epsilon = epsilon.value();
                self.at_each(|order| {
                    let convexity = by_convexity(order, rate, pure(order, epsilon));
                    let amplified = match self.adjacency {
                        Adjacency::ReplaceOne => pure(order, epsilon),
                        Adjacency::AddRemove | Adjacency::ZeroOut => sampled(order, rate, epsilon),
                    };
                    amplified.min(round_up(convexity))
                })
            }
        }
    }

    /// A batch without the record has another record in its place. Under replace-one, the three batches are
    /// all neighbors of each other. Under zero-out, the batch with the other record is a neighbor only of
    /// the batch in which the record is zeroed out; it is twice as far from the third.
    fn without_replacement(self, rate: f64, base: Base) -> Vec<f64> {
        let (epsilon, is_laplace) = match base {
            Base::Gaussian { noise_multiplier } => {
                let z = noise_multiplier.value();
                return without_replacement::gaussian(self.orders, self.adjacency, rate, z);
            }
            Base::Laplace { noise_multiplier } => {
                (self.laplace_epsilon(noise_multiplier.value()), true)
            }
            Base::PureDp { epsilon } => (epsilon.value(), false),
        };
        self.at_each(|order| {
            let whole = if is_laplace { laplace(order, epsilon) } else { pure(order, epsilon) };
            let amplified = if self.replaces() {
                sampled(order, rate, epsilon)
            } else {
                let twice = sampled(order, rate, 2.0 * epsilon);
                twice.min(pure(order, amplified_in_line(rate, epsilon)))
            };
            amplified.min(round_up(by_convexity(order, rate, whole)))
        })
    }

    fn gaussian(self, rate: f64, noise_multiplier: f64) -> Vec<f64> {
        if self.replaces() {
            self.orders.replace_one(rate, noise_multiplier)
        } else {
            self.orders.add_remove(rate, noise_multiplier)
        }
    }

    /// The distance of the sums in units of the noise scale, rounded up.
    fn laplace_epsilon(self, noise_multiplier: f64) -> f64 {
        (self.adjacency.contributions() / noise_multiplier).next_up()
    }

    fn replaces(self) -> bool {
        self.adjacency == Adjacency::ReplaceOne
    }

    fn at_each(self, bound: impl Fn(f64) -> f64) -> Vec<f64> {
        self.orders.orders.iter().map(|&order| bound(order)).collect()
    }
}

/// An upper bound on the largest log-ratio of (1−q)·r + q·p and (1−q)·r + q·p′, where r and p are both
/// within ε of p′, but within 2ε of each other: at p = e^ε p′ and r = e^(−ε) p′ it is
/// log(1 + q (e^ε − 1) / (q + (1−q) e^(−ε))), and the opposite ratio is nowhere larger.
fn amplified_in_line(rate: f64, epsilon: f64) -> f64 {
    amplified(rate / (rate + (1.0 - rate) * (-epsilon).exp()), epsilon)
}

/// Whether the mechanism's cost under add/remove is known too, where replace-one is accounted for.
fn has_add_remove(mechanism: &Mechanism) -> bool {
    match mechanism {
        Mechanism::Plain(base) | Mechanism::Poisson { base, .. } => match base {
            Base::Gaussian { .. } | Base::Laplace { .. } => true,
            Base::PureDp { .. } => false,
        },
        Mechanism::RepeatAndSelect { event, .. } => {
            event.iter().all(|(mechanism, _)| has_add_remove(mechanism))
        }
        Mechanism::TruncatedPoisson { .. }
        | Mechanism::WithoutReplacement { .. }
        | Mechanism::BoundedRange { .. }
        | Mechanism::ZeroConcentrated { .. } => false,
    }
}

fn unsupported(event: &str) -> Error {
    Error::unsupported(NAME, event)
}
