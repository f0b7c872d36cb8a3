//! Every accountant that has a proof, asked the same question.

use burn_dp_accounting::Result;
use burn_dp_accounting::{
    Accountant, Adjacency, Delta, DpEvent, Epsilon, GaussianAccountant, GroupSize, PldAccountant,
    RdpAccountant, ZcdpAccountant, user_level,
};

/// The accountants that support an event, each with the event composed.
///
/// [`PrivacyAccountant`](burn_dp_accounting::PrivacyAccountant) gives the best of their bounds; here all of
/// them are shown side by side, also for groups of records.
pub struct Accountants {
    group: GroupSize,
    bracketed: bool,
    exact: Option<GaussianAccountant>,
    pld: Option<PldAccountant>,
    zcdp: Option<ZcdpAccountant>,
    rdp: Option<RdpAccountant>,
}

/// What each of them says about ε; absent where it has no proof.
#[derive(Debug, Clone, Copy)]
pub struct Epsilons {
    pub exact: Option<Epsilon>,
    pub pld: Option<Epsilon>,
    pub pld_lower: Option<Epsilon>,
    pub rdp: Option<Epsilon>,
    /// The smallest, with the name of its accountant.
    pub best: (Epsilon, &'static str),
}

/// What each of them says about δ; absent where it has no proof.
#[derive(Debug, Clone, Copy)]
pub struct Deltas {
    pub exact: Option<f64>,
    pub pld: Option<f64>,
    pub rdp: Option<f64>,
    pub best: f64,
}

impl Accountants {
    /// The accountants for data sets that differ in `group` records at once.
    ///
    /// # Errors
    /// Why the last one refused, where none supports the event.
    pub fn of(event: &DpEvent, adjacency: Adjacency, group: GroupSize) -> Result<Self> {
        Self::with_rdp(RdpAccountant::new(adjacency), event, group)
    }

    /// As [`of`](Self::of), with this Rényi accountant, in which nothing is composed.
    pub fn with_rdp(rdp: RdpAccountant, event: &DpEvent, group: GroupSize) -> Result<Self> {
        let adjacency = rdp.adjacency();
        let one = group == GroupSize::ONE;
        let bracketed = is_its_own_worst_case(event);
        let exact = composed(GaussianAccountant::new(adjacency), event).ok();
        let zcdp = composed(ZcdpAccountant::new(adjacency), event).ok().filter(|_| one);
        let pld = composed(PldAccountant::for_groups(adjacency, group), event).ok();
        let rdp = composed(rdp, event);
        if exact.is_some() || zcdp.is_some() || pld.is_some() {
            let exact = if one { exact } else { exact.and_then(|one| grouped(&one, group)) };
            return Ok(Self { group, bracketed, exact, pld, zcdp, rdp: rdp.ok() });
        }
        rdp.map(|rdp| Self { group, bracketed, exact: None, pld, zcdp, rdp: Some(rdp) })
    }

    pub fn epsilons(&self, delta: Delta) -> Epsilons {
        let exact = self.exact.as_ref().map(|each| each.epsilon(delta));
        let zcdp = self.zcdp.as_ref().map(|each| each.epsilon(delta));
        let (pld_lower, pld) = match &self.pld {
            Some(pld) if self.bracketed => {
                let (lower, upper) = pld.epsilon_bracket(delta);
                (Some(lower), Some(upper))
            }
            pld => (None, pld.as_ref().map(|pld| pld.epsilon(delta))),
        };
        let rdp = self.rdp.as_ref().map(|each| group_epsilon(each, delta, self.group));
        let candidates =
            [named(&self.exact, exact), named(&self.pld, pld), named(&self.zcdp, zcdp)];
        let best = candidates.into_iter().chain([named(&self.rdp, rdp)]).flatten();
        // If several are equal, the first counts, which is the most exact one.
        let best = best.reduce(|best, next| if next.0 < best.0 { next } else { best });
        let best = best.unwrap_or((Epsilon::INFINITY, "none"));
        // Where the numerical accountant gives up, both of its ends are infinite.
        let pld_lower = pld_lower.filter(|&lower| lower <= best.0);
        Epsilons { exact, pld, pld_lower, rdp, best }
    }

    pub fn deltas(&self, epsilon: Epsilon) -> Deltas {
        let exact = self.exact.as_ref().map(|each| each.delta(epsilon));
        let zcdp = self.zcdp.as_ref().map(|each| each.delta(epsilon));
        let pld = self.pld.as_ref().map(|each| each.delta(epsilon));
        // From one record to a group both ε and δ change, so there is no simple answer.
        let rdp = self.rdp.as_ref().filter(|_| self.group == GroupSize::ONE);
        let rdp = rdp.map(|each| each.delta(epsilon));
        let best = [exact, pld, zcdp, rdp].into_iter().flatten().fold(1.0, f64::min);
        Deltas { exact, pld, rdp, best }
    }
}

/// Whether there are data sets whose outputs are as far apart as the loss distribution says. Then the lower
/// end of its bracket holds for the run, and not only for the pair that dominates the run.
fn is_its_own_worst_case(event: &DpEvent) -> bool {
    match event {
        DpEvent::Gaussian { .. } => true,
        DpEvent::PoissonSampled { event, .. } => matches!(**event, DpEvent::Gaussian { .. }),
        DpEvent::Composed(events) => events.iter().all(is_its_own_worst_case),
        DpEvent::SelfComposed { event, .. } => is_its_own_worst_case(event),
        _ => false,
    }
}

/// The accountant with the event in it.
///
/// # Errors
/// Where it has no proof for the event.
pub fn composed<A: Accountant>(mut accountant: A, event: &DpEvent) -> Result<A> {
    accountant.compose(event, 1)?;
    Ok(accountant)
}

/// ε for a group of records by Rényi DP, from that of one record at a smaller δ.
///
/// Whatever that smaller δ is, the result is proven; bisection looks for a good one.
pub fn group_epsilon(rdp: &RdpAccountant, delta: Delta, group: GroupSize) -> Epsilon {
    if group == GroupSize::ONE {
        return rdp.epsilon(delta);
    }
    let proven = |log_delta: f64| {
        let small = Delta::new(log_delta.exp()).ok()?;
        let (epsilon, grown) = user_level(rdp.epsilon(small), small, group).ok()?;
        (grown <= delta).then_some(epsilon)
    };
    let (mut low, mut high) = (f64::MIN_POSITIVE.ln(), delta.value().ln());
    let mut best = Epsilon::INFINITY;
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        match proven(middle) {
            Some(epsilon) => {
                best = if epsilon < best { epsilon } else { best };
                low = middle;
            }
            None => high = middle,
        }
    }
    best
}

/// k records move a sum k times as far, which costs as much as a k-th of the noise would.
fn grouped(one: &GaussianAccountant, group: GroupSize) -> Option<GaussianAccountant> {
    let empty = GaussianAccountant::new(one.adjacency());
    let Some(noise_multiplier) = one.equivalent_noise_multiplier() else { return Some(empty) };
    let share = (noise_multiplier.value() / f64::from(group.value())).next_down().max(0.0);
    composed(empty, &DpEvent::gaussian(share.try_into().ok()?)).ok()
}

fn named<A: Accountant>(
    accountant: &Option<A>,
    epsilon: Option<Epsilon>,
) -> Option<(Epsilon, &'static str)> {
    Some((epsilon?, accountant.as_ref()?.name()))
}
