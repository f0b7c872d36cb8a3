//! The normal form of events that accountants work on: distinct mechanisms with exact counts.
//!
//! Nesting, order and splitting disappear here, so no accountant's answer can depend on them, not
//! even in its last bit.

use std::collections::BTreeMap;

use super::event::DpEvent;
use super::quantities::RunCount;
use crate::error::{Error, Result};

/// Composed and repeated events may be nested this deep.
const MAX_DEPTH: usize = 64;

/// How often each mechanism runs; counts are never 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Composition(BTreeMap<Mechanism, u64>);

/// A release that is not a composition of others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mechanism {
    /// On all records, of a kind that may also be sampled.
    Plain(Base),
    /// On a Poisson sample; 0 < rate < 1.
    Poisson { rate: Number, base: Base },
    /// On a Poisson sample that is cut to a largest size; 0 < rate.
    TruncatedPoisson { rate: Number, dataset_size: u64, largest_batch: u64, base: Base },
    /// On a sample of fixed size; 0 < batch size < data set size.
    WithoutReplacement { dataset_size: u64, batch_size: u64, base: Base },
    /// One selection by the exponential mechanism, of bounded range ε.
    BoundedRange { epsilon: Number },
    /// ρ-zCDP.
    ZeroConcentrated { rho: Number },
    /// The best of a random number of runs.
    RepeatAndSelect { mean: Number, shape: Number, event: Composition },
}

/// A mechanism without sampling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Base {
    Gaussian { noise_multiplier: Number },
    Laplace { noise_multiplier: Number },
    PureDp { epsilon: Number },
}

/// An `f64` that is at least 0. It is compared by its bits, which have the same order as the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Number(u64);

impl Number {
    pub(super) const fn new(value: f64) -> Self {
        Self(value.to_bits())
    }

    pub(super) const fn value(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl Composition {
    /// `count` runs of `event`.
    ///
    /// # Errors
    /// [`Error::UnsupportedEvent`] for sampling that no accountant here has a bound for, and
    /// [`Error::Setting`] where a count exceeds a `u64`, or a sample is larger than its data set.
    pub(super) fn of(event: &DpEvent, count: u64, accountant: &'static str) -> Result<Self> {
        let mut composition = Self::default();
        Collector { accountant, into: &mut composition }.collect(event, count, 0)?;
        Ok(composition)
    }

    /// Everything in both.
    ///
    /// # Errors
    /// [`Error::Setting`] where a count would exceed a `u64`.
    pub(super) fn plus(&self, other: &Self) -> Result<Self> {
        let mut sum = self.clone();
        for (mechanism, &count) in &other.0 {
            sum.add(mechanism.clone(), count)?;
        }
        Ok(sum)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Mechanism, u64)> {
        self.0.iter().map(|(mechanism, &count)| (mechanism, count))
    }

    fn add(&mut self, mechanism: Mechanism, count: u64) -> Result<()> {
        if count > 0 {
            let total = self.0.entry(mechanism).or_insert(0);
            *total = total.checked_add(count).ok_or_else(too_many)?;
        }
        Ok(())
    }
}

struct Collector<'a> {
    accountant: &'static str,
    into: &'a mut Composition,
}

impl Collector<'_> {
    fn collect(&mut self, event: &DpEvent, count: u64, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(self.unsupported("a composition nested deeper than 64 levels"));
        }
        let mechanism = match event {
            DpEvent::Composed(events) => {
                return events.iter().try_for_each(|event| self.collect(event, count, depth + 1));
            }
            DpEvent::SelfComposed { event, count: repeats } => {
                let count = count.checked_mul(*repeats).ok_or_else(too_many)?;
                return self.collect(event, count, depth + 1);
            }
            DpEvent::ExponentialSelection { epsilon, selections } => {
                let count = count.checked_mul(*selections).ok_or_else(too_many)?;
                let epsilon = Number::new(epsilon.value());
                return self.into.add(Mechanism::BoundedRange { epsilon }, count);
            }
            DpEvent::Gaussian { noise_multiplier }
            | DpEvent::GaussianSelection { noise_multiplier } => {
                let noise_multiplier = Number::new(noise_multiplier.value());
                Mechanism::Plain(Base::Gaussian { noise_multiplier })
            }
            DpEvent::Laplace { noise_multiplier } => {
                let noise_multiplier = Number::new(noise_multiplier.value());
                Mechanism::Plain(Base::Laplace { noise_multiplier })
            }
            DpEvent::PureDp { epsilon } => {
                Mechanism::Plain(Base::PureDp { epsilon: Number::new(epsilon.value()) })
            }
            DpEvent::ZeroConcentrated { rho } => {
                Mechanism::ZeroConcentrated { rho: Number::new(rho.value()) }
            }
            DpEvent::PoissonSampled { rate, event } => {
                let Some(base) = self.sampled(event, depth)? else { return Ok(()) };
                match rate.value() {
                    0.0 => return Ok(()),
                    1.0 => Mechanism::Plain(base),
                    rate => Mechanism::Poisson { rate: Number::new(rate), base },
                }
            }
            DpEvent::TruncatedPoissonSampled { rate, dataset_size, largest_batch, event } => {
                let Some(base) = self.sampled(event, depth)? else { return Ok(()) };
                if rate.value() == 0.0 || *dataset_size == 0 || *largest_batch == 0 {
                    return Ok(());
                }
                Mechanism::TruncatedPoisson {
                    rate: Number::new(rate.value()),
                    dataset_size: *dataset_size,
                    largest_batch: *largest_batch,
                    base,
                }
            }
            DpEvent::SampledWithoutReplacement { dataset_size, batch_size, event } => {
                let Some(base) = self.sampled(event, depth)? else { return Ok(()) };
                if batch_size > dataset_size {
                    return Err(Error::setting(
                        "batch_size",
                        batch_size,
                        "at most the number of records in the data set",
                    ));
                }
                match *batch_size {
                    0 => return Ok(()),
                    all if all == *dataset_size => Mechanism::Plain(base),
                    batch_size => Mechanism::WithoutReplacement {
                        dataset_size: *dataset_size,
                        batch_size,
                        base,
                    },
                }
            }
            DpEvent::RepeatAndSelect { event, runs } => self.selected(event, *runs, depth)?,
        };
        self.into.add(mechanism, count)
    }

    fn selected(&self, event: &DpEvent, runs: RunCount, depth: usize) -> Result<Mechanism> {
        let mut inner = Composition::default();
        Collector { accountant: self.accountant, into: &mut inner }.collect(event, 1, depth + 1)?;
        Ok(Mechanism::RepeatAndSelect {
            mean: Number::new(runs.mean()),
            shape: Number::new(runs.shape()),
            event: inner,
        })
    }

    /// What is released about one sample, as one mechanism; `None` for nothing.
    ///
    /// Several Gaussian sums over the same sample are one Gaussian sum with 1/z² = Σ 1/zᵢ²: once they are
    /// scaled to the same noise, a record's contributions form one longer vector. For several pure
    /// releases, the ε add up.
    fn sampled(&self, event: &DpEvent, depth: usize) -> Result<Option<Base>> {
        const WHAT: &str = "sampling of anything but Gaussian releases, pure releases, or one Laplace \
                            release";
        let mut inner = Composition::default();
        Collector { accountant: self.accountant, into: &mut inner }.collect(event, 1, depth + 1)?;
        let mut together: Option<Base> = None;
        for (mechanism, count) in inner.iter() {
            let base = match mechanism {
                Mechanism::Plain(base) => *base,
                // A selection of bounded range ε is ε-differentially private.
                Mechanism::BoundedRange { epsilon } => Base::PureDp { epsilon: *epsilon },
                _ => return Err(self.unsupported(WHAT)),
            };
            let base = base.repeated(count).ok_or_else(|| self.unsupported(WHAT))?;
            together = Some(match together {
                None => base,
                Some(before) => before.and(base).ok_or_else(|| self.unsupported(WHAT))?,
            });
        }
        Ok(together)
    }

    fn unsupported(&self, event: &str) -> Error {
        Error::unsupported(self.accountant, event)
    }
}

impl Base {
    fn repeated(self, count: u64) -> Option<Self> {
        let times = count as f64;
        match self {
            _ if count == 1 => Some(self),
            Self::Gaussian { noise_multiplier } => {
                Some(Self::gaussian_below(noise_multiplier.value() / times.sqrt()))
            }
            Self::PureDp { epsilon } => Some(Self::pure_above(epsilon.value() * times)),
            Self::Laplace { .. } => None,
        }
    }

    fn and(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Gaussian { noise_multiplier: a }, Self::Gaussian { noise_multiplier: b }) => {
                let (a, b) = (a.value(), b.value());
                let together = a.min(b) / (1.0 + (a.min(b) / a.max(b)).powi(2)).sqrt();
                Some(Self::gaussian_below(if a.min(b) == 0.0 { 0.0 } else { together }))
            }
            (Self::PureDp { epsilon: a }, Self::PureDp { epsilon: b }) => {
                Some(Self::pure_above(a.value() + b.value()))
            }
            _ => None,
        }
    }

    /// Rounded down, by more than the operations before may have rounded up: less noise is the safe side.
    fn gaussian_below(noise_multiplier: f64) -> Self {
        let noise_multiplier = Number::new(noise_multiplier * (1.0 - 8.0 * f64::EPSILON));
        Self::Gaussian { noise_multiplier }
    }

    fn pure_above(epsilon: f64) -> Self {
        Self::PureDp { epsilon: Number::new(epsilon * (1.0 + 8.0 * f64::EPSILON)) }
    }
}

fn too_many() -> Error {
    Error::setting("count", "more than 2^64 - 1 in all", "at most 2^64 - 1 in all")
}
