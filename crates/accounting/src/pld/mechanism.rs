//! Which pair dominates which mechanism, by adjacency and group size.

use statrs::distribution::{Binomial, DiscreteCDF};

use super::gaussian::{Replaced, Sampled, WithoutReplacement};
use super::numeric::log_mixture;
use super::pair::{Either, LossPair};
use super::pure::{Laplace, RandomizedResponse, Subsampled};
use crate::adjacency::Adjacency;
use crate::composition::{Base, Composition, Mechanism};
use crate::error::{Error, Result};
use crate::quantities::GroupSize;

/// The name of the accountant, which refusals give.
pub(super) const NAME: &str = "privacy loss distribution";

/// What dominates a composition.
pub(super) enum Dominated {
    /// These pairs, each with its count.
    By(Vec<(Box<dyn LossPair>, u64)>),
    /// No pair: some mechanism has no noise.
    ByNothing,
}

/// # Errors
/// [`Error::UnsupportedEvent`] where a mechanism has no known pair.
pub(super) fn dominating_pairs(
    composition: &Composition,
    adjacency: Adjacency,
    group: GroupSize,
) -> Result<Dominated> {
    let context = Context { adjacency, records: group.value() };
    let mut pairs: Vec<(Box<dyn LossPair>, u64)> = Vec::new();
    // Gaussians without sampling are one Gaussian: 1/z² adds up.
    let mut precision = 0.0;
    let mut private = true;
    for (mechanism, count) in composition.iter() {
        match mechanism {
            // This costs nothing, and a grid needs a loss above 0 for its scale.
            Mechanism::Plain(Base::PureDp { epsilon }) | Mechanism::BoundedRange { epsilon }
                if epsilon.value() == 0.0 => {}
            Mechanism::Plain(Base::Gaussian { noise_multiplier }) => {
                let z = noise_multiplier.value() / context.distance();
                precision += count as f64 / z / z;
            }
            _ => match context.pair(mechanism)? {
                Some(pair) => pairs.push((pair, count)),
                None => private = false,
            },
        }
    }
    private &= precision < f64::INFINITY;
    if !private {
        return Ok(Dominated::ByNothing);
    }
    // Less than this has no effect at any δ that a float can hold.
    if precision > 1e-300 {
        let z = (1.0 - 1e-14) / precision.sqrt();
        pairs.push((Box::new(Sampled::new(1.0, z, 1)), 1));
    }
    Ok(Dominated::By(pairs))
}

/// Whether neighboring data sets exist whose outputs are exactly the dominating pair, so that a lower
/// bound on the pair is one on the mechanism.
pub(super) fn is_attained(mechanism: &Mechanism, adjacency: Adjacency, group: GroupSize) -> bool {
    let replaces = adjacency == Adjacency::ReplaceOne;
    match mechanism {
        Mechanism::Plain(_) => true,
        Mechanism::Poisson { base: Base::Gaussian { .. }, .. } => true,
        Mechanism::Poisson { base: Base::Laplace { .. }, .. } => {
            !replaces && group == GroupSize::ONE
        }
        _ => false,
    }
}

struct Context {
    adjacency: Adjacency,
    records: u32,
}

impl Context {
    /// The pair of one mechanism; `None` for one without noise.
    fn pair(&self, mechanism: &Mechanism) -> Result<Option<Box<dyn LossPair>>> {
        match *mechanism {
            Mechanism::Plain(base) => Ok(self.plain(base)),
            Mechanism::BoundedRange { epsilon } => Ok(randomized(self.group(epsilon.value()))),
            Mechanism::Poisson { rate, base } => self.poisson(rate.value(), base),
            Mechanism::TruncatedPoisson { rate, dataset_size, largest_batch, base } => {
                self.truncated(rate.value(), dataset_size, largest_batch, base)
            }
            Mechanism::WithoutReplacement { dataset_size, batch_size, base } => {
                self.without_replacement(batch_size as f64 / dataset_size as f64, base)
            }
            Mechanism::ZeroConcentrated { .. } => Err(unsupported("zCDP, which names no pair")),
            Mechanism::RepeatAndSelect { .. } => Err(unsupported("the best of several runs")),
        }
    }

    fn plain(&self, base: Base) -> Option<Box<dyn LossPair>> {
        match base {
            Base::Gaussian { noise_multiplier } => {
                let z = noise_multiplier.value() / self.distance();
                (z > 0.0).then(|| boxed(Sampled::new(1.0, z, 1)))
            }
            Base::Laplace { noise_multiplier } => {
                laplace(noise_multiplier.value() / self.distance())
            }
            Base::PureDp { epsilon } => randomized(self.group(epsilon.value())),
        }
    }

    fn poisson(&self, rate: f64, base: Base) -> Result<Option<Box<dyn LossPair>>> {
        let replaces = self.adjacency == Adjacency::ReplaceOne;
        Ok(match base {
            Base::Gaussian { noise_multiplier } => {
                let z = noise_multiplier.value();
                if replaces && self.records > 1 {
                    return Err(unsupported("groups of replaced records under sampling"));
                }
                (z > 0.0).then(|| match replaces {
                    true => boxed(Replaced::new(rate, z)),
                    false => boxed(Sampled::new(rate, z, self.records)),
                })
            }
            Base::Laplace { noise_multiplier } => {
                let z = noise_multiplier.value();
                if replaces || self.records > 1 {
                    randomized(self.group(amplified(rate, self.replaced() / z)))
                } else {
                    (z > 0.0).then(|| boxed(Subsampled { rate, base: Laplace { z } }))
                }
            }
            // A cost that was stated for replacing says nothing about the batch without the record, but
            // amplification compares with that batch.
            Base::PureDp { epsilon } if replaces => randomized(self.group(epsilon.value())),
            Base::PureDp { epsilon } => randomized(self.group(amplified(rate, epsilon.value()))),
        })
    }

    /// Choquette-Choo et al. 2025 (arXiv 2508.15089). Let τ be the probability that the other records
    /// alone fill the batch, which does not depend on the record in question. If they do not, sampling
    /// is plain. If they do, the record takes the place of another one, which moves the sum by up to
    /// 2C in each data set, with the probability that it was drawn and kept.
    fn truncated(
        &self,
        rate: f64,
        dataset_size: u64,
        largest_batch: u64,
        base: Base,
    ) -> Result<Option<Box<dyn LossPair>>> {
        let Base::Gaussian { noise_multiplier } = base else {
            return Err(unsupported("truncated sampling of anything but a Gaussian release"));
        };
        let z = noise_multiplier.value();
        if self.records > 1 {
            return Err(unsupported("groups of records under truncated sampling"));
        }
        if z == 0.0 {
            return Ok(None);
        }
        let plain = match self.adjacency {
            Adjacency::ReplaceOne => boxed(Replaced::new(rate, z)),
            Adjacency::AddRemove | Adjacency::ZeroOut => boxed(Sampled::new(rate, z, 1)),
        };
        // The library's tails are good to about 1e-10; more than that is added.
        let above = |least: u64, records: u64| -> f64 {
            let tail = Binomial::new(rate, records).map_or(1.0, |binomial| binomial.sf(least));
            (tail * (1.0 + 1e-7)).min(1.0)
        };
        let full = above(largest_batch - 1, dataset_size - 1);
        if full <= 0.0 || largest_batch >= dataset_size {
            return Ok(Some(plain));
        }
        let kept = above(largest_batch, dataset_size) / full * largest_batch as f64
            / dataset_size as f64
            * (1.0 + 1e-7);
        let crowded = Replaced::new(kept.min(rate).min(1.0), z / 2.0);
        Ok(Some(boxed(Either { weight: full, first: crowded, second: plain })))
    }

    fn without_replacement(&self, rate: f64, base: Base) -> Result<Option<Box<dyn LossPair>>> {
        if self.adjacency == Adjacency::AddRemove {
            return Err(unsupported(
                "batches of fixed size under add/remove, which changes the data set's size",
            ));
        }
        if self.records > 1 {
            return Err(unsupported("groups of records under sampling without replacement"));
        }
        // A batch without the record has another record in its place. So even zeroing out a record compares
        // batches that differ by a replacement.
        Ok(match base {
            Base::Gaussian { noise_multiplier } => {
                let z = noise_multiplier.value() / 2.0;
                (z > 0.0).then(|| boxed(WithoutReplacement::new(rate, z)))
            }
            Base::Laplace { noise_multiplier } => {
                randomized(amplified(rate, 2.0 / noise_multiplier.value()))
            }
            Base::PureDp { epsilon } if self.adjacency == Adjacency::ReplaceOne => {
                randomized(amplified(rate, epsilon.value()))
            }
            Base::PureDp { epsilon } => randomized(epsilon.value()),
        })
    }

    /// How far the sum moves between neighbors, in units of C.
    fn distance(&self) -> f64 {
        self.replaced() * f64::from(self.records)
    }

    fn replaced(&self) -> f64 {
        self.adjacency.contributions()
    }

    /// Pure differential privacy for a group.
    fn group(&self, epsilon: f64) -> f64 {
        epsilon * f64::from(self.records)
    }
}

/// Amplification of pure differential privacy by sampling: log(1 + q(e^ε − 1)), rounded up.
fn amplified(rate: f64, epsilon: f64) -> f64 {
    (log_mixture(rate, epsilon) * (1.0 + 1e-14)).min(epsilon)
}

fn randomized(epsilon: f64) -> Option<Box<dyn LossPair>> {
    (epsilon < f64::INFINITY).then(|| boxed(RandomizedResponse { epsilon }))
}

fn laplace(z: f64) -> Option<Box<dyn LossPair>> {
    (z > 0.0).then(|| boxed(Laplace { z }))
}

fn boxed(pair: impl LossPair + 'static) -> Box<dyn LossPair> {
    Box::new(pair)
}

fn unsupported(event: &str) -> Error {
    Error::unsupported(NAME, event)
}
