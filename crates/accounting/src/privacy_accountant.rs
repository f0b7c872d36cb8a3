//! The default accountant: the best of the sound bounds.

use super::accountant::Accountant;
use super::adjacency::Adjacency;
use super::event::DpEvent;
use super::gaussian::GaussianAccountant;
use super::pld::PldAccountant;
use super::quantities::{Delta, Epsilon};
use super::rdp::RdpAccountant;
use super::zcdp::ZcdpAccountant;
use crate::error::{Error, Result};

/// More distinct sampled mechanisms than this are accounted for by Rényi DP alone: the numerical
/// accountant needs some milliseconds and megabytes for each.
const MOST_DISTINCT: usize = 64;

/// Accounts by every proven bound that applies and takes the smallest: the exact Gaussian, privacy-loss
/// distributions, zero-concentrated and Rényi differential privacy.
///
/// Each of these bounds holds, so the smallest holds too. After an event that only some accountants
/// support, the others are left out. [`bound`](Self::bound) says whose answer it is. An ε by privacy-loss
/// distributions takes some ten milliseconds, so ask every so often rather than at every step.
#[derive(Debug, Clone)]
pub struct PrivacyAccountant {
    adjacency: Adjacency,
    gaussian: Option<GaussianAccountant>,
    pld: Option<PldAccountant>,
    zcdp: Option<ZcdpAccountant>,
    rdp: Option<RdpAccountant>,
}

impl PrivacyAccountant {
    /// An accountant with nothing composed.
    pub fn new(adjacency: Adjacency) -> Self {
        Self {
            adjacency,
            gaussian: Some(GaussianAccountant::new(adjacency)),
            pld: Some(PldAccountant::new(adjacency)),
            zcdp: Some(ZcdpAccountant::new(adjacency)),
            rdp: Some(RdpAccountant::new(adjacency)),
        }
    }

    /// The smallest ε at `delta` and the name of the accountant that proves it.
    pub fn bound(&self, delta: Delta) -> (Epsilon, &'static str) {
        let bounds = self.accountants().map(|each| (each.epsilon(delta), each.name()));
        bounds.fold(
            (Epsilon::INFINITY, self.name()),
            |best, next| {
                if next.0 < best.0 { next } else { best }
            },
        )
    }

    /// A proven lower bound on the smallest ε that holds at `delta`; 0 where none is known (see
    /// [`PldAccountant::epsilon_bracket`]). Together with [`bound`](Self::bound) it brackets that ε.
    pub fn lower_bound(&self, delta: Delta) -> Epsilon {
        let (upper, _) = self.bound(delta);
        let pld = self.pld.as_ref().filter(|pld| pld.distinct() <= MOST_DISTINCT);
        let lower = pld.map_or(0.0, |pld| pld.epsilon_bracket(delta).0.value());
        Epsilon::answer(lower.min(upper.value()))
    }

    /// The accountants that support everything so far. If the exact one is among them, it is the only one.
    fn accountants(&self) -> impl Iterator<Item = &dyn Accountant> {
        let exact = self.gaussian.as_ref().map(|each| each as &dyn Accountant);
        let only = exact.is_some();
        let pld = self.pld.as_ref().filter(|pld| !only && pld.distinct() <= MOST_DISTINCT);
        let pld = pld.map(|each| each as &dyn Accountant);
        let zcdp = self.zcdp.as_ref().filter(|_| !only).map(|each| each as &dyn Accountant);
        let rdp = self.rdp.as_ref().filter(|_| !only).map(|each| each as &dyn Accountant);
        exact.into_iter().chain(pld).chain(zcdp).chain(rdp)
    }

    /// This accountant with `count` more runs of `event`, without those that refuse them.
    ///
    /// # Errors
    /// Why the last of them refused, where none is left.
    fn with(&self, event: &DpEvent, count: u64) -> Result<Self> {
        let mut next = self.clone();
        let mut refusal = None;
        compose_or_drop(&mut next.gaussian, event, count, &mut refusal);
        compose_or_drop(&mut next.zcdp, event, count, &mut refusal);
        compose_or_drop(&mut next.pld, event, count, &mut refusal);
        compose_or_drop(&mut next.rdp, event, count, &mut refusal);
        let any = next.gaussian.is_some() || next.zcdp.is_some();
        match refusal {
            Some(error) if !(any || next.pld.is_some() || next.rdp.is_some()) => Err(error),
            _ => Ok(next),
        }
    }
}

impl Accountant for PrivacyAccountant {
    fn name(&self) -> &'static str {
        "best proven bound"
    }

    fn is_upper_bound(&self) -> bool {
        true
    }

    fn adjacency(&self) -> Adjacency {
        self.adjacency
    }

    fn supports(&self, event: &DpEvent) -> Result<()> {
        self.with(event, 1).map(|_| ())
    }

    fn compose(&mut self, event: &DpEvent, count: u64) -> Result<()> {
        *self = self.with(event, count)?;
        Ok(())
    }

    fn epsilon(&self, delta: Delta) -> Epsilon {
        self.bound(delta).0
    }

    fn delta(&self, epsilon: Epsilon) -> f64 {
        self.accountants().map(|each| each.delta(epsilon)).fold(1.0, f64::min)
    }
}

/// Composes onto an accountant. One that refuses is dropped, and `refusal` says why.
fn compose_or_drop<A: Accountant>(
    accountant: &mut Option<A>,
    event: &DpEvent,
    count: u64,
    refusal: &mut Option<Error>,
) {
    if let Some(each) = accountant
        && let Err(error) = each.compose(event, count)
    {
        *accountant = None;
        *refusal = Some(error);
    }
}
