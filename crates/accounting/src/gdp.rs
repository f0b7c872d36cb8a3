//! An approximation that is *not* an upper bound: the central limit of DP-SGD.

use super::accountant::Accountant;
use super::adjacency::Adjacency;
use super::composed::Composed;
use super::composition::{Base, Composition, Mechanism};
use super::event::DpEvent;
use super::gaussian::{self, GaussianDp, root_of_sum};
use super::quantities::{Delta, Epsilon};
use crate::error::{Error, Result};

const NAME: &str = "approximate Gaussian DP (central limit)";

/// Estimates the cost of many Poisson-sampled Gaussian releases by their central limit (Dong, Roth &
/// Su 2019, arXiv 1905.02383; Bu et al. 2019, arXiv 1911.11607): T of them at sampling rate q and
/// noise multiplier z cost about as much as one Gaussian release that moves by
///
/// ```text
/// μ = q √(T (e^(1/z²) − 1))
/// ```
///
/// standard deviations, and the squares of several μ add up.
///
/// **This under-reports.** At q = 1e-4, z = 0.5, T = 1e5 and δ = 1e-8 it says ε = 1.19 where the truth
/// is 4.47. It is here to compare with what others report. [`is_upper_bound`](Accountant::is_upper_bound)
/// is `false`, and none of its answers is a guarantee.
///
/// Gaussian releases without sampling are accounted for exactly. Everything else is refused, and so is
/// sampling under replace-one.
#[derive(Debug, Clone)]
pub struct ApproximateGdpAccountant {
    adjacency: Adjacency,
    composed: Composed,
}

impl ApproximateGdpAccountant {
    /// An accountant with nothing composed.
    pub fn new(adjacency: Adjacency) -> Self {
        Self { adjacency, composed: Composed::new(NAME) }
    }

    /// μ of everything so far: about by how many standard deviations what was released differs between
    /// neighboring data sets.
    pub fn mu(&self) -> f64 {
        root_of_sum(self.composed.total().iter().map(|(mechanism, count)| {
            squared_mu(mechanism, self.adjacency).unwrap_or(f64::INFINITY) * count as f64
        }))
    }
}

impl Accountant for ApproximateGdpAccountant {
    fn name(&self) -> &'static str {
        NAME
    }

    fn is_upper_bound(&self) -> bool {
        false
    }

    fn adjacency(&self) -> Adjacency {
        self.adjacency
    }

    fn supports(&self, event: &DpEvent) -> Result<()> {
        self.composed.supports(event, |added| check(added, self.adjacency))
    }

    fn compose(&mut self, event: &DpEvent, count: u64) -> Result<()> {
        self.composed.compose(event, count, |added| check(added, self.adjacency)).map(|_| ())
    }

    fn epsilon(&self, delta: Delta) -> Epsilon {
        Epsilon::answer(GaussianDp { mu: self.mu() }.epsilon(delta.value()))
    }

    fn delta(&self, epsilon: Epsilon) -> f64 {
        GaussianDp { mu: self.mu() }.delta(epsilon.value())
    }
}

fn check(composition: &Composition, adjacency: Adjacency) -> Result<()> {
    if composition.iter().all(|(mechanism, _)| squared_mu(mechanism, adjacency).is_some()) {
        Ok(())
    } else {
        Err(Error::unsupported(
            NAME,
            "anything but Gaussian releases on all records or, unless one record is replaced by \
             another, on Poisson samples",
        ))
    }
}

/// μ² of one mechanism; `None` where there is no such limit.
fn squared_mu(mechanism: &Mechanism, adjacency: Adjacency) -> Option<f64> {
    match mechanism {
        Mechanism::Poisson { rate, base: Base::Gaussian { noise_multiplier } }
            if adjacency != Adjacency::ReplaceOne =>
        {
            let moment = noise_multiplier.value().powi(-2).exp_m1();
            Some(rate.value().powi(2) * moment)
        }
        _ => gaussian::squared_mu(mechanism, adjacency),
    }
}
