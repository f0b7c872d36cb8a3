//! Dominating pairs of Gaussian sums. The record's contribution has norm 1, the noise deviation z.

use super::numeric::{log_expm1_over, log_mixture};
use super::pair::{LossPair, Masses, Shift, Split};

/// Estimates look this many standard deviations beyond the outermost means.
const REACH: f64 = 39.0;

/// Probes per standard deviation.
const DENSITY: f64 = 12.0;

/// P = Σᵢ Bin(k, q)(i) · N(i, z²) against Q = N(0, z²): k records, each in the batch with probability
/// q, against none of them.
///
/// For k = 1 this is the Poisson-subsampled Gaussian of DP-SGD, removal forward and addition backward
/// (Zhu, Dong & Wang 2022), and for q = 1 the Gaussian of multiplier z/k. For k > 1 it is Choquette-Choo
/// et al. 2023 (arXiv 2310.15526): contributions in different directions are no worse than k equal ones.
pub(super) struct Sampled {
    z: f64,
    /// log of the probability that at least one record is in the batch.
    log_some: f64,
    /// 1 − that probability, and the probability itself.
    some: f64,
    /// For i = 1, 2, ... records: log Bin(k, q)(i) − i²/(2z²).
    log_weights: Vec<f64>,
    weights: Vec<f64>,
    rate: f64,
}

impl Sampled {
    pub(super) fn new(rate: f64, z: f64, records: u32) -> Self {
        let k = f64::from(records);
        let log_binomial = |i: f64| {
            if rate >= 1.0 {
                return if i == k { 0.0 } else { f64::NEG_INFINITY };
            }
            libm::lgamma(k + 1.0) - libm::lgamma(i + 1.0) - libm::lgamma(k - i + 1.0)
                + i * rate.ln()
                + (k - i) * (-rate).ln_1p()
        };
        let log_binomials: Vec<f64> = (1..=records).map(|i| log_binomial(f64::from(i))).collect();
        let some = -(k * (-rate).ln_1p()).exp_m1();
        let log_weights = log_binomials.iter().zip(1..=records).map(|(log_weight, i)| {
            let i = f64::from(i);
            log_weight - i * i / 2.0 / z / z
        });
        Self {
            z,
            log_some: some.ln(),
            some,
            log_weights: log_weights.collect(),
            weights: log_binomials.iter().map(|log| log.exp()).collect(),
            rate,
        }
    }

    /// log Σᵢ wᵢ e^((ix − i²/2)/z²) over i ≥ 1, and its derivative in x/z².
    fn log_excess(&self, x: f64) -> (f64, f64) {
        let u = x / self.z / self.z;
        let exponent = |(i, log_weight): (usize, &f64)| log_weight + (i + 1) as f64 * u;
        let largest =
            self.log_weights.iter().enumerate().map(exponent).fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut slope) = (0.0, 0.0);
        for (i, log_weight) in self.log_weights.iter().enumerate() {
            let term = (exponent((i, log_weight)) - largest).exp();
            sum += term;
            slope += (i + 1) as f64 * term;
        }
        (largest + sum.ln(), slope / sum)
    }

    /// The output at which the loss is `loss`; −∞ where every loss is larger.
    fn output(&self, loss: f64) -> f64 {
        // e^L = (1 − some) + e^excess, so excess = log(some + e^L − 1).
        let target = log_expm1_over(loss, self.some, self.log_some);
        if !target.is_finite() {
            return target;
        }
        let z2 = self.z * self.z;
        // Each term alone gives an output that is too large; Newton's method on this convex function
        // comes down from there and cannot cross the root.
        let start = |(i, log_weight): (usize, &f64)| (target - log_weight) / (i + 1) as f64;
        let mut u = self.log_weights.iter().enumerate().map(start).fold(f64::INFINITY, f64::min);
        if self.log_weights.len() > 1 {
            for _ in 0..50 {
                let (excess, slope) = self.log_excess(u * z2);
                let step = (excess - target) / slope;
                u -= step;
                // Convergence is quadratic: the error is now about the square of this.
                if step <= 1e-10 * u.abs() {
                    break;
                }
            }
        }
        u * z2
    }

    fn loss(&self, x: f64) -> f64 {
        let (excess, _) = self.log_excess(x);
        if excess > 30.0 {
            return excess + ((1.0 - self.some) * (-excess).exp()).ln_1p();
        }
        (excess.exp() - self.some).ln_1p()
    }
}

impl LossPair for Sampled {
    fn split(&self, loss: f64) -> Split {
        let x = self.output(loss);
        if x == f64::NEG_INFINITY {
            return Split::ABOVE;
        }
        let mut split = normal(x, 0.0, self.z);
        let none = 1.0 - self.some;
        split.above.p *= none;
        split.below.p *= none;
        for (weight, i) in self.weights.iter().zip(1_u32..) {
            let part = normal(x, f64::from(i), self.z);
            split.above.p += weight * part.above.p;
            split.below.p += weight * part.below.p;
        }
        split
    }

    fn probes(&self) -> Vec<f64> {
        outputs(0.0, self.log_weights.len() as f64, self.z).map(|x| self.loss(x)).collect()
    }

    fn shift(&self) -> Option<Shift> {
        Some(Shift { records: self.weights.len() as f64, rate: self.rate, z: self.z })
    }

    /// By joint convexity it is at most the mean of the distances of P's parts from Q. For one record it is
    /// equal to that.
    fn distance(&self) -> f64 {
        let parts = self.weights.iter().zip(1_u32..);
        let sum: f64 = parts.map(|(weight, i)| weight * apart(f64::from(i), self.z)).sum();
        // Rounding of the binomial coefficients' logarithms grows with their number.
        let records = self.weights.len() as f64;
        (sum * (1.0 + 1e-13 * records * records)).min(1.0)
    }

    fn is_symmetric(&self) -> bool {
        self.rate >= 1.0
    }
}

/// P = (1−q)·N(0, z²) + q·N(1, z²) against Q = (1−q)·N(0, z²) + q·N(−1, z²): a record of a Poisson
/// sample is replaced by another. At q = 1 it is the Gaussian of multiplier z/2.
///
/// Why it dominates: give both records the same coin and condition on the other records' coins; the
/// outputs are (1−q)·N(0) + q·N(u) against (1−q)·N(0) + q·N(v) with |u|, |v| ≤ 1 (and the divergences
/// used are jointly convex, so averaging over the other coins does no harm). For γ ≥ 1 the hockey-stick
/// divergence is N-mass of the set A = {q·N(u) > c·N(0) + γq·N(v)}, c = (1−q)(γ−1) ≥ 0. A is convex, and
/// its outward normal is a positive multiple of λv − u for some λ in [0, 1]. By the envelope theorem
/// the divergence changes with v by γq∮N(v)·n and with u by −q∮N(u)·n, n being that normal. So turning v
/// away from u, at fixed length, never lowers the divergence. Once they are opposite, making them longer
/// never lowers it either. For γ < 1 swap P and Q.
pub(super) struct Replaced {
    rate: f64,
    z: f64,
}

impl Replaced {
    pub(super) const fn new(rate: f64, z: f64) -> Self {
        Self { rate, z }
    }

    /// With y = x/z² − ℓ/2 the equation L(x) = ℓ reads q·sinh y = (1−q)·e^(1/(2z²))·sinh(ℓ/2).
    fn output(&self, loss: f64) -> f64 {
        let half = loss.abs() / 2.0;
        let log_ratio = (-self.rate).ln_1p() - self.rate.ln() + 0.5 / self.z / self.z;
        let log_sinh = if half < 1.0 {
            half.sinh().ln()
        } else {
            half + (-(-2.0 * half).exp()).ln_1p() - core::f64::consts::LN_2
        };
        let log_argument = log_ratio + log_sinh;
        let y = if log_argument > 20.0 {
            log_argument + core::f64::consts::LN_2
        } else {
            log_argument.exp().asinh()
        };
        self.z * self.z * (half + y) * loss.signum()
    }

    fn loss(&self, x: f64) -> f64 {
        let one = |x: f64| log_mixture(self.rate, x / self.z / self.z - 0.5 / self.z / self.z);
        one(x) - one(-x)
    }
}

impl LossPair for Replaced {
    fn split(&self, loss: f64) -> Split {
        let x = self.output(loss);
        let mixed = |with: Split, without: Split| {
            let mix = |with: f64, without: f64| self.rate * with + (1.0 - self.rate) * without;
            (mix(with.above.q, without.above.q), mix(with.below.q, without.below.q))
        };
        let without = normal(x, 0.0, self.z);
        let (p_above, p_below) = mixed(normal(x, 1.0, self.z), without);
        let (q_above, q_below) = mixed(normal(x, -1.0, self.z), without);
        Split { above: Masses { p: p_above, q: q_above }, below: Masses { p: p_below, q: q_below } }
    }

    fn probes(&self) -> Vec<f64> {
        outputs(-1.0, 1.0, self.z).map(|x| self.loss(x)).collect()
    }

    fn distance(&self) -> f64 {
        (self.rate * apart(2.0, self.z) * (1.0 + 1e-13)).min(1.0)
    }

    fn is_symmetric(&self) -> bool {
        true
    }
}

/// A record is replaced in a data set from which batches of fixed size are drawn; `rate` is the share of
/// the records that a batch holds, and `z` is the noise deviation relative to how far replacing a record
/// moves a batch's sum.
///
/// With P = N(1, z²), Q = N(0, z²), the divergence of order γ ≥ 1 is at most that of ((1−q)Q + qP, Q)
/// and for γ < 1 that of (P, (1−q)P + qQ) (Balle, Barthe & Gaboardi 2018, arXiv 1807.01647; Zhu, Dong &
/// Wang 2022). So the losses above 0 are those of the first pair, the losses below 0 those of the
/// second, and what is left has loss 0.
pub(super) struct WithoutReplacement {
    rate: f64,
    log_rate: f64,
    z: f64,
}

impl WithoutReplacement {
    pub(super) fn new(rate: f64, z: f64) -> Self {
        Self { rate, log_rate: rate.ln(), z }
    }
}

impl LossPair for WithoutReplacement {
    fn split(&self, loss: f64) -> Split {
        // The loss u of the pair (P, Q) with log(1 − q + q e^u) = |loss|.
        let u = log_expm1_over(loss.abs(), self.rate, self.log_rate) - self.log_rate;
        let x = self.z * self.z * u + 0.5;
        let (with, without) = (normal(x, 1.0, self.z).above.q, normal(x, 0.0, self.z).above.q);
        let mixture = self.rate * with + (1.0 - self.rate) * without;
        if loss >= 0.0 {
            Split::from_above(Masses { p: mixture, q: without })
        } else {
            Split::from_below(Masses { p: without, q: mixture })
        }
    }

    fn probes(&self) -> Vec<f64> {
        let u = |x: f64| (2.0 * x - 1.0) / 2.0 / self.z / self.z;
        let loss = |u: f64| log_mixture(self.rate, u);
        let positive: Vec<f64> =
            outputs(0.0, 1.0, self.z).map(u).filter(|&u| u > 0.0).map(loss).collect();
        let negative = positive.iter().rev().map(|loss| -loss);
        negative.chain([0.0]).chain(positive.iter().copied()).collect()
    }

    fn is_symmetric(&self) -> bool {
        true
    }
}

/// The total variation distance of N(0, z²) and N(mean, z²).
fn apart(mean: f64, z: f64) -> f64 {
    libm::erf(mean / z * 0.5 * core::f64::consts::FRAC_1_SQRT_2)
}

/// The masses of N(mean, z²) above x and not above x. The fields of P and of Q are the same.
fn normal(x: f64, mean: f64, z: f64) -> Split {
    let t = (x - mean) / z * core::f64::consts::FRAC_1_SQRT_2;
    let tail = 0.5 * libm::erfc(t.abs());
    let (above, below) = if t > 0.0 { (tail, 1.0 - tail) } else { (1.0 - tail, tail) };
    Split { above: Masses { p: above, q: above }, below: Masses { p: below, q: below } }
}

fn outputs(lowest: f64, highest: f64, z: f64) -> impl Iterator<Item = f64> {
    let first = lowest - REACH * z;
    let count = ((highest - lowest) / z + 2.0 * REACH) * DENSITY;
    // Where the means are many deviations apart, the number of probes stays the same and they spread out.
    let count = count.min(10_000.0);
    let step = (highest - lowest + 2.0 * REACH * z) / count;
    (0..=count as usize).map(move |n| first + n as f64 * step)
}
