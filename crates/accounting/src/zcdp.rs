//! The accountant of zero-concentrated differential privacy.

use super::accountant::Accountant;
use super::adjacency::Adjacency;
use super::composed::Composed;
use super::composition::{Base, Composition, Mechanism};
use super::event::DpEvent;
use super::normal_tail::raised_until;
use super::quantities::{Delta, Epsilon};
use crate::error::{Error, Result};

const NAME: &str = "zero-concentrated DP";

/// Accounts with zero-concentrated differential privacy (Bun & Steinke 2016, arXiv 1605.02065): the ρ of
/// all releases add up, even if each release is chosen in the light of earlier results.
///
/// | Release | ρ |
/// |---|---|
/// | Gaussian | s²/(2z²), where s is 1, or 2 under replace-one |
/// | ε-differentially private | ε·tanh(ε/2), at most ε²/2 |
/// | Laplace | ε·tanh(ε/2) with ε = s/z |
/// | selection of bounded range ε | the smaller of ε·tanh(ε/2) and ε²/8 |
///
/// The last is by Cesar & Rogers 2020, arXiv 2004.07223. Sampling has no bound of this form; it is
/// refused.
///
/// ε·tanh(ε/2) is exact: randomized response dominates every ε-differentially private mechanism, and
/// its Rényi divergence times (α−1) is log cosh(xε) − log cosh(ε/2) with x = α − ½. That is concave in
/// x² (tanh(y)/y falls), so it is at most its tangent at x = ½, which is ε·tanh(ε/2)·(x² − ¼); and
/// x² − ¼ = α(α−1).
///
/// Conversion to (ε, δ) is that of the Rényi accountant (Canonne, Kamath & Steinke 2020, arXiv
/// 2004.00010, Proposition 12), at the best of all orders α > 1, rounded up.
#[derive(Debug, Clone)]
pub struct ZcdpAccountant {
    adjacency: Adjacency,
    composed: Composed,
}

impl ZcdpAccountant {
    /// An accountant with nothing composed.
    pub fn new(adjacency: Adjacency) -> Self {
        Self { adjacency, composed: Composed::new(NAME) }
    }

    /// ρ of everything so far, in nats; +∞ where there was no noise; rounded up.
    pub fn rho(&self) -> f64 {
        let (mut sum, mut terms) = (0.0, 8.0);
        for (mechanism, count) in self.composed.total().iter() {
            sum += rho(mechanism, self.adjacency).unwrap_or(f64::INFINITY) * count as f64;
            terms += 1.0;
        }
        sum * (1.0 + terms * f64::EPSILON)
    }
}

impl Accountant for ZcdpAccountant {
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
        self.composed.supports(event, |added| check(added, self.adjacency))
    }

    fn compose(&mut self, event: &DpEvent, count: u64) -> Result<()> {
        self.composed.compose(event, count, |added| check(added, self.adjacency)).map(|_| ())
    }

    fn epsilon(&self, delta: Delta) -> Epsilon {
        Epsilon::answer(epsilon(self.rho(), delta.value()))
    }

    fn delta(&self, epsilon: Epsilon) -> f64 {
        delta(self.rho(), epsilon.value())
    }
}

fn check(composition: &Composition, adjacency: Adjacency) -> Result<()> {
    if composition.iter().all(|(mechanism, _)| rho(mechanism, adjacency).is_some()) {
        Ok(())
    } else {
        Err(Error::unsupported(NAME, "sampling, or the best of several runs"))
    }
}

/// ρ of one mechanism, to 4 units in the last place; `None` where there is no bound.
fn rho(mechanism: &Mechanism, adjacency: Adjacency) -> Option<f64> {
    let moved = adjacency.contributions();
    match mechanism {
        Mechanism::Plain(Base::Gaussian { noise_multiplier }) => {
            Some(positive(0.5 * (moved / noise_multiplier.value()).powi(2)))
        }
        Mechanism::Plain(Base::Laplace { noise_multiplier }) => {
            Some(pure(positive(moved / noise_multiplier.value())))
        }
        Mechanism::Plain(Base::PureDp { epsilon }) => Some(pure(epsilon.value())),
        Mechanism::BoundedRange { epsilon } => {
            let epsilon = epsilon.value();
            Some(pure(epsilon).min(positive(epsilon * epsilon / 8.0)))
        }
        Mechanism::ZeroConcentrated { rho } => Some(rho.value()),
        _ => None,
    }
}

fn pure(epsilon: f64) -> f64 {
    if epsilon == 0.0 { 0.0 } else { positive(epsilon * (epsilon / 2.0).tanh()) }
}

/// A cost that underflows is still a cost.
fn positive(cost: f64) -> f64 {
    cost.max(f64::MIN_POSITIVE)
}

/// The smallest ε of ρ-zCDP at `delta`, over all orders α = 1 + x:
///
/// ```text
/// ε = ρα + log((α−1)/α) − (log δ + log α)/(α−1)
/// ```
///
/// Its derivative is ρ + (log δ + log α)/x², so the best x solves ρx² + log(1+x) = log 1/δ.
fn epsilon(rho: f64, target: f64) -> f64 {
    if rho == f64::INFINITY {
        return f64::INFINITY;
    }
    if delta(rho, 0.0) <= target {
        return 0.0;
    }
    let log_target = target.ln();
    let x = root_of_rising(|x| rho * x * x + x.ln_1p() + log_target);
    let best = rho * (1.0 + x) - (1.0 / x).ln_1p() - (log_target + x.ln_1p()) / x;
    raised_until(best.max(0.0), |epsilon| delta(rho, epsilon) <= target)
}

/// The smallest δ of ρ-zCDP at `epsilon`, rounded up and never 0 unless ρ is 0 or ε is +∞.
fn delta(rho: f64, epsilon: f64) -> f64 {
    if rho == f64::INFINITY {
        return 1.0;
    }
    if rho == 0.0 || epsilon == f64::INFINITY {
        return 0.0;
    }
    log_delta(rho, epsilon).exp().clamp(f64::from_bits(1), 1.0)
}

/// log δ = x(ρα − ε + log((α−1)/α)) − log α at the best order α = 1 + x, where the derivative
/// ρ(1+2x) − ε − log(1 + 1/x) is 0; or, if that is smaller, log √(1 − e^−ρ): ρ bounds the
/// Kullback-Leibler divergence, and so the total variation (Bretagnolle-Huber).
fn log_delta(rho: f64, epsilon: f64) -> f64 {
    let x = root_of_rising(|x| rho * (1.0 + 2.0 * x) - epsilon - (1.0 / x).ln_1p());
    let (divergence, from_order) = (rho * (1.0 + x), (1.0 / x).ln_1p());
    let exact = x * (divergence - epsilon - from_order) - x.ln_1p();
    let sizes = 1.0 + x * (divergence + epsilon + from_order) + x.ln_1p();
    let from_distance = 0.5 * (-(-rho).exp_m1()).ln() + 1e-15;
    // A NaN, where the order overflows, is ignored by `min`; every order is valid.
    from_distance.min(exact + 8.0 * f64::EPSILON * sizes).min(0.0)
}

/// Where a rising function of x > 0 changes its sign, from 1e-300 to 1e300.
fn root_of_rising(function: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (-690.0_f64, 690.0_f64);
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if function(middle.exp()) < 0.0 { low = middle } else { high = middle }
    }
    high.exp()
}
