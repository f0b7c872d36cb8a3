//! The exact accountant of Gaussian releases without sampling.

use super::accountant::Accountant;
use super::adjacency::Adjacency;
use super::composed::Composed;
use super::composition::{Base, Composition, Mechanism};
use super::event::DpEvent;
use super::normal_tail::{mills, mills_slope, normal_cdf, raised_until};
use super::quantities::{Delta, Epsilon, NoiseMultiplier};
use crate::error::{Error, Result};

const NAME: &str = "exact Gaussian";

/// Accounts exactly for Gaussian releases on all records (Balle & Wang 2018, arXiv 1805.06530).
///
/// Any number of them, with noise multipliers zᵢ, cost exactly as much as a single one whose sum moves by μ
/// standard deviations, where μ² = Σ (s/zᵢ)² and s is 1, or 2 under replace-one (Dong, Roth & Su 2019,
/// arXiv 1905.02383). Then
///
/// ```text
/// δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ)
/// ```
///
/// The answer is rounded up, and exact to about 1e-12 (relatively). Every other event is refused.
#[derive(Debug, Clone)]
pub struct GaussianAccountant {
    adjacency: Adjacency,
    composed: Composed,
}

impl GaussianAccountant {
    /// An accountant with nothing composed.
    pub fn new(adjacency: Adjacency) -> Self {
        Self { adjacency, composed: Composed::new(NAME) }
    }

    /// μ: by how many standard deviations what was released differs between neighboring data sets, rounded
    /// up. It is 0 if nothing was released, and +∞ if there was no noise.
    pub fn mu(&self) -> f64 {
        root_of_sum(self.composed.total().iter().map(|(mechanism, count)| {
            // Nothing else is accepted.
            squared_mu(mechanism, self.adjacency).unwrap_or(f64::INFINITY) * count as f64
        }))
    }

    /// The noise multiplier of the single Gaussian release that costs as much as everything so far,
    /// rounded down; `None` if nothing was released.
    pub fn equivalent_noise_multiplier(&self) -> Option<NoiseMultiplier> {
        let exact = self.adjacency.contributions() / self.mu();
        NoiseMultiplier::new((exact * (1.0 - f64::EPSILON)).min(f64::MAX))
            .ok()
            .filter(|_| !self.composed.total().is_empty())
    }
}

impl Accountant for GaussianAccountant {
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
        Err(Error::unsupported(NAME, "anything but Gaussian releases on all records"))
    }
}

/// μ² of one Gaussian release on all records; `None` for any other mechanism.
pub(super) fn squared_mu(mechanism: &Mechanism, adjacency: Adjacency) -> Option<f64> {
    match mechanism {
        Mechanism::Plain(Base::Gaussian { noise_multiplier }) => {
            Some((adjacency.contributions() / noise_multiplier.value()).powi(2))
        }
        _ => None,
    }
}

/// The square root of the sum. It is rounded up by more than the rounding of the sum and of its terms (up
/// to 8 units in the last place each). A term that underflows still counts.
pub(super) fn root_of_sum(squares: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut terms) = (0.0, 8.0);
    for square in squares {
        sum += square.max(f64::MIN_POSITIVE);
        terms += 1.0;
    }
    (sum * (1.0 + terms * f64::EPSILON)).sqrt() * (1.0 + f64::EPSILON)
}

/// Gaussian differential privacy: N(μ, 1) against N(0, 1).
///
/// With t = ε/μ − μ/2 and s = t + μ, e^ε φ(s) = φ(t), so that for Mills' ratio R = Φ(−·)/φ
///
/// ```text
/// δ = Φ(−t) − φ(t) R(s)  =  φ(t) (R(t) − R(s))  =  φ(t) ∫ₜˢ (1 − uR(u)) du
/// ```
///
/// The first form is used for t < 0, the last for small μ, where the others cancel. δ falls in t at
/// fixed s, falls in t at fixed μ = s − t, and rises in s, so rounding t down and s up is safe.
pub(super) struct GaussianDp {
    pub(super) mu: f64,
}

impl GaussianDp {
    /// δ at `epsilon`, rounded up; never 0 unless μ is 0 or ε is +∞.
    pub(super) fn delta(&self, epsilon: f64) -> f64 {
        if self.mu == f64::INFINITY {
            return 1.0;
        }
        if self.mu == 0.0 || epsilon == f64::INFINITY {
            return 0.0;
        }
        // The smallest double is 4.9e-324.
        self.log_delta(epsilon).exp().clamp(f64::from_bits(1), 1.0)
    }

    /// The smallest ε at `delta`, rounded up: [`delta`](Self::delta) of it is at most `delta`.
    pub(super) fn epsilon(&self, delta: f64) -> f64 {
        if self.mu == f64::INFINITY {
            return f64::INFINITY;
        }
        if self.delta(0.0) <= delta {
            return 0.0;
        }
        raised_until(self.newton(delta.ln()), |epsilon| self.delta(epsilon) <= delta)
    }

    /// Solves log δ(ε) = `log_target`. log δ is concave in ε (δ is the convolution of two
    /// log-concave functions, the density of the loss and max(0, 1 − e^−x)), so Newton's method stays to
    /// the right of the root if it starts there.
    fn newton(&self, log_target: f64) -> f64 {
        // The start is to the right of the root. It is where t = √(2 log 1/(2δ)), at which already
        // Φ(−t) ≤ e^(−t²/2)/2 = δ; or where t = 0.
        let tail = (-2.0 * (log_target + std::f64::consts::LN_2)).max(0.0).sqrt();
        let mut epsilon = self.mu * (self.mu / 2.0 + tail);
        for _ in 0..64 {
            let log_delta = self.log_delta(epsilon);
            let (t, s) = self.arguments(epsilon);
            let slope = -(log_density(t) + mills(s).ln() - log_delta).exp();
            let next = epsilon - (log_delta - log_target) / slope;
            let settled = !(next < epsilon * (1.0 - f64::EPSILON) && next > 0.0);
            if settled {
                break;
            }
            epsilon = next;
        }
        epsilon
    }

    /// log δ, rounded up, at most 0, for 0 < μ < ∞.
    fn log_delta(&self, epsilon: f64) -> f64 {
        let (t, s) = self.arguments(epsilon);
        let log_delta = if self.mu <= 1.0 {
            log_density(t) + (self.mu * mean_mills_slope(t, self.mu)).ln()
        } else if t < 0.0 {
            (normal_cdf(-t) - log_density(t).exp() * mills(s)).ln()
        } else {
            log_density(t) + (mills(t) - mills(s)).ln()
        };
        // Relative errors of the factors: below 5e-14 where mills(t) − mills(s) loses most.
        let log_delta = log_delta.max(f64::MIN / 4.0);
        (log_delta + 1e-13 + 4.0 * f64::EPSILON * log_delta.abs()).min(0.0)
    }

    /// t rounded down and s rounded up.
    fn arguments(&self, epsilon: f64) -> (f64, f64) {
        let (from, half) = ((epsilon / self.mu).min(f64::MAX / 4.0), self.mu / 2.0);
        let t = from - half - 2.0 * f64::EPSILON * (from + half);
        (t, (from + half) * (1.0 + 2.0 * f64::EPSILON))
    }
}

/// log φ(x).
fn log_density(x: f64) -> f64 {
    /// log √(2π).
    const LOG_NORMALIZER: f64 = 0.918_938_533_204_672_7;
    -0.5 * x * x - LOG_NORMALIZER
}

/// The mean of 1 − uR(u) over t ≤ u ≤ t + `width`, for t ≥ −1/2 and a width of at most 1.
///
/// By the Gauss-Legendre rule with 8 nodes, whose remainder is (8!)⁴/(17·(16!)³) times a 16th
/// derivative; that is ∫₀^∞ v^17 e^(−uv − v²/2) dv, below 2e8 here: less than 4e-15.
fn mean_mills_slope(t: f64, width: f64) -> f64 {
    const NODES: [(f64, f64); 4] = [
        (0.183_434_642_495_649_8, 0.362_683_783_378_362),
        (0.525_532_409_916_329, 0.313_706_645_877_887_3),
        (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
        (0.960_289_856_497_536_2, 0.101_228_536_290_376_26),
    ];
    let at = |node: f64| mills_slope(t + 0.5 * width * (1.0 + node));
    NODES.iter().map(|(node, weight)| 0.5 * weight * (at(*node) + at(-node))).sum()
}
