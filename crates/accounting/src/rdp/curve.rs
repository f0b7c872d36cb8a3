//! Rényi divergence of the Poisson-subsampled Gaussian, at integer and fractional orders.
//!
//! With μ₀ = N(0, z²) and μ = (1−q)·N(0, z²) + q·N(1, z²), the Rényi DP of order α is
//! log A(α) / (α−1) for the moment
//!
//! ```text
//! A(α) = E_{x ~ μ₀}[(μ(x)/μ₀(x))^α] = E[(1 + X)^α],   X = q (e^((2x−1)/(2z²)) − 1)
//! ```
//!
//! (Mironov, Talwar & Zhang 2019, arXiv 1908.10530, section 3.3, who also show that the opposite direction is
//! never larger). Since X has mean 0, A(α) − 1 = E[(1+X)^α − 1 − αX], whose
//! integrand is nowhere negative. This form is evaluated, because A(α) itself may differ from 1 by as
//! little as 1e-12, and subtracting 1 from it would leave no digits.
//!
//! - **Integer α**: the finite binomial sum, term by term in the same form (all terms positive).
//! - **Fractional α**: the paper expands the integral into two infinite series with alternating
//!   binomial signs. They converge only like k^(−α−1) and cancel. The trapezoidal rule on the integral
//!   itself has no cancellation and converges exponentially, with an error bound that is proven in
//!   [`Quadrature::log_moment`] and *added* to the result.
//! - Where the grid would be too large (z below about 0.1), log A is interpolated between the
//!   neighboring integer orders: log A is convex in α, so a chord is an upper bound.
//!
//! Every result is an upper bound in floating point; what cannot be computed is +∞, never NaN.

use std::f64::consts::PI;

use super::numeric::{NEGLIGIBLE, by_convexity, log_1p_exp, log_1p_sum_exp, log_exp_m1, round_up};

/// The largest order; the cost of an integer order is proportional to it.
pub(super) const MAX_ORDER: f64 = 16_384.0;

/// The largest number of quadrature nodes; above it, interpolation between integer orders.
const MAX_NODES: f64 = 4096.0;

/// The orders at which an accountant works, with what depends only on them.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    /// α > 1, each at most [`MAX_ORDER`].
    pub(super) orders: Vec<f64>,
    /// log k! for k up to one above the largest order.
    pub(super) log_factorial: Vec<f64>,
}

impl Orders {
    pub(super) fn new(orders: Vec<f64>) -> Self {
        let largest = orders.iter().copied().fold(2.0, f64::max).ceil() as usize;
        let log_factorial = (0..=largest + 1).map(|k| libm::lgamma(k as f64 + 1.0)).collect();
        Self { orders, log_factorial }
    }

    /// Upper bounds on the Rényi DP of one Poisson-subsampled Gaussian under add/remove.
    pub(super) fn add_remove(&self, rate: f64, noise_multiplier: f64) -> Vec<f64> {
        if let Some(trivial) = self.trivial(rate, noise_multiplier) {
            return trivial;
        }
        let z = noise_multiplier;
        if rate == 1.0 {
            return self.orders.iter().map(|&order| round_up(order / 2.0 / z / z)).collect();
        }
        let binomial = Binomial::new(self, rate, z);
        let quadrature = Quadrature::new(self, rate, z);
        self.orders
            .iter()
            .map(|&order| {
                let log_moment = if order.fract() == 0.0 {
                    binomial.log_moment(order as usize)
                } else {
                    let exact = quadrature.as_ref().and_then(|grid| grid.log_moment(order));
                    exact.unwrap_or_else(|| binomial.interpolated_log_moment(order))
                };
                round_up(log_moment / (order - 1.0))
            })
            .collect()
    }

    /// Upper bounds on the Rényi DP of one Poisson-subsampled Gaussian under replace-one.
    ///
    /// The smaller of two bounds at each order. D and D′ differ in record i, and D″ lacks it.
    ///
    /// **Triangle.** Let P, R, Q be the output distributions on D, D″, D′. Split ∫ P^α Q^(1−α) into
    /// (P^α R^(−a)) · (R^a Q^(1−α)) and apply Hölder's inequality with p = (2α−1)/α and a = α − 1/p:
    ///
    /// ```text
    /// D_α(P‖Q) ≤ 2α/(2α−1) · D_{2α−1}(P‖R) + D_{2α}(R‖Q)
    /// ```
    ///
    /// Both terms on the right are add/remove divergences. This choice of p makes Hölder an equality
    /// for Gaussians with equally spaced means, so that at q = 1 the bound is the exact curve of the
    /// Gaussian with multiplier z/2, 4α/(2z²).
    ///
    /// **Convexity.** [`by_convexity`] from two Gaussians whose means differ by at most 2C.
    pub(super) fn replace_one(&self, rate: f64, noise_multiplier: f64) -> Vec<f64> {
        if let Some(trivial) = self.trivial(rate, noise_multiplier) {
            return trivial;
        }
        let z = noise_multiplier;
        let doubled = self.orders.iter().flat_map(|&order| [2.0 * order - 1.0, 2.0 * order]);
        let doubled = Self::new(doubled.collect()).add_remove(rate, z);
        self.orders
            .iter()
            .zip(doubled.chunks_exact(2))
            .map(|(&order, pair)| {
                let triangle = 2.0 * order / (2.0 * order - 1.0) * pair[0] + pair[1];
                let convexity = by_convexity(order, rate, 2.0 * order / z / z);
                round_up(triangle.min(convexity))
            })
            .collect()
    }

    /// The bounds that need no computation. If no record is ever drawn, nothing is lost, whatever the
    /// noise. Without noise, everything is.
    fn trivial(&self, rate: f64, noise_multiplier: f64) -> Option<Vec<f64>> {
        if rate == 0.0 {
            Some(vec![0.0; self.orders.len()])
        } else if noise_multiplier == 0.0 {
            Some(vec![f64::INFINITY; self.orders.len()])
        } else {
            None
        }
    }
}

/// The binomial sum for integer orders.
struct Binomial<'a> {
    log_factorial: &'a [f64],
    log_rate: f64,
    log_rest: f64,
    /// log(e^((k²−k)/(2z²)) − 1), by k.
    log_growth: Vec<f64>,
}

impl<'a> Binomial<'a> {
    fn new(orders: &'a Orders, rate: f64, z: f64) -> Self {
        let growth = |k: usize| {
            let k = k as f64;
            log_exp_m1(k * (k - 1.0) / 2.0 / z / z)
        };
        Self {
            log_factorial: &orders.log_factorial,
            log_rate: rate.ln(),
            log_rest: (-rate).ln_1p(),
            log_growth: (0..orders.log_factorial.len()).map(growth).collect(),
        }
    }

    /// log A(n) for A(n) − 1 = Σ_{k=2..n} C(n, k) (1−q)^(n−k) q^k (e^((k²−k)/(2z²)) − 1).
    ///
    /// This is the sum of section 3.3 with Σ_k C(n, k) (1−q)^(n−k) q^k = 1 taken off.
    fn log_moment(&self, n: usize) -> f64 {
        let facts = self.log_factorial;
        let log_terms = |k: usize| {
            (facts[n] - facts[k] - facts[n - k])
                + (k as f64 * self.log_rate + (n - k) as f64 * self.log_rest)
                + self.log_growth[k]
        };
        let terms: Vec<f64> = (2..=n).map(log_terms).collect();
        // Each exponent is a sum of rounded parts.
        let magnitude = 3.0 * facts[n]
            + n as f64 * (self.log_rate.abs() + self.log_rest.abs())
            + self.log_growth[n].abs().max(self.log_growth[2].abs());
        log_1p_sum_exp(&terms, magnitude)
    }

    /// The chord of the convex function log A between the integers around `order`; log A(1) = 0.
    fn interpolated_log_moment(&self, order: f64) -> f64 {
        let below = order.floor();
        let weight = order - below;
        let lower = if below < 2.0 { 0.0 } else { self.log_moment(below as usize) };
        (1.0 - weight) * lower + weight * self.log_moment(below as usize + 1)
    }
}

/// The trapezoidal rule for fractional orders, in t = x / z; nodes are shared by all orders.
struct Quadrature {
    rate: f64,
    z: f64,
    step: f64,
    /// Nodes reach at least this far outside [0, α/z].
    reach: f64,
    /// A bound on |trapezoid − integral| divided by the L1 norm of the integrand along the line.
    discretization: f64,
    nodes: Vec<Node>,
}

/// What does not depend on the order. Here u = t/z − 1/(2z²) is the log of the density ratio.
struct Node {
    t: f64,
    /// log(1 + X) = log(1 − q + q e^u).
    log_ratio: f64,
    /// X = q (e^u − 1).
    excess: f64,
    /// e^(−t²/2).
    density: f64,
    /// e^u e^(−t²/2) = e^(−(t − 1/z)²/2).
    shifted_density: f64,
    /// |t|/z + 1/(2z²): the size of what was subtracted to make u.
    magnitude: f64,
}

impl Quadrature {
    /// `None` where no order needs it, or where the grid would be too large.
    fn new(orders: &Orders, rate: f64, z: f64) -> Option<Self> {
        let fractional = || orders.orders.iter().copied().filter(|order| order.fract() != 0.0);
        let smallest = fractional().fold(f64::INFINITY, f64::min);
        if !smallest.is_finite() {
            return None;
        }
        // The target is about 1e-13 of A − 1, which is near α(α−1)/2 · q² · min(1, 1/z²). This
        // estimate only chooses the grid; the error that remains is added to the result.
        let log_size = (smallest - 1.0).ln() + 2.0 * rate.ln() - 2.0 * z.ln().max(0.0);
        let digits = 32.0 - log_size.min(0.0);
        let reach = (2.0 * digits).sqrt();

        // The strip of analyticity is |Im t| < π z; see `log_moment`.
        let strip = (PI * z * (1.0 - 1e-9)).min((2.0 * digits).sqrt());
        let step = 2.0 * PI * strip / (digits + strip * strip / 2.0);
        let discretization = 2.0 * (strip * strip / 2.0).exp() / (2.0 * PI * strip / step).exp_m1();

        let affordable = |order: &f64| (order / z + 2.0 * reach) / step <= MAX_NODES;
        let largest = fractional().filter(affordable).fold(0.0, f64::max);
        if largest == 0.0 {
            return None;
        }
        let first = -(reach / step).ceil();
        let count = (((largest / z + reach) / step).ceil() - first) as usize + 2;
        let nodes = (0..count).map(|n| Node::new((first + n as f64) * step, rate, z)).collect();
        Some(Self { rate, z, step, reach, discretization, nodes })
    }

    /// An upper bound on log A(α), or `None` where the grid does not reach far enough for α.
    ///
    /// With φ(t) = e^(−t²/2)/√(2π), L = e^(t/z − 1/(2z²)) and g = (1−q+qL)^α, the integrand of
    /// A − 1 is f = φ·g − φ·(1 − αq) − φ·αqL.
    ///
    /// **Discretization.** For |Im t| < π z the phase of L stays within (−π, π), so 1−q+qL never
    /// meets the negative axis and f is analytic. On Im t = a, |φ(t)| = φ(Re t) e^(a²/2) and |L| =
    /// L(Re t), so the L1 norm of f along the line is at most e^(a²/2) (A + |1−αq| + αq). The
    /// trapezoidal rule with step h is then off by at most that times 2 / (e^(2πa/h) − 1)
    /// (Trefethen & Weideman 2014).
    ///
    /// **Truncation.** f ≤ φ·(g + αq). The logarithmic slope of φ·g is −t + (α/z)·w with w in [0, 1],
    /// that of φ is −t. Past a last node T > α/z both fall at least as fast as e^(−(T−α/z)·t), and
    /// before a first node T < 0 at least as fast as e^(−|T|·|t|): geometric series bound the rest.
    ///
    /// **Rounding** is bounded node by node.
    fn log_moment(&self, order: f64) -> Option<f64> {
        let end = order / self.z + self.reach;
        let nodes = self.nodes.partition_point(|node| node.t < end) + 1;
        let nodes = self.nodes.get(..nodes.min(self.nodes.len()))?;
        let (first, last) = (nodes.first()?, nodes.last()?);
        if last.t < end {
            return None;
        }

        let exponent = |node: &Node| order * node.log_ratio - node.t * node.t / 2.0;
        let scale = nodes.iter().map(exponent).fold(0.0, f64::max);
        if !scale.is_finite() {
            return None;
        }
        let unscale = (-scale).exp();
        let slack = order * self.rate;

        let (mut sum, mut error) = (0.0, 0.0);
        for node in nodes {
            let power = exponent(node);
            let density = node.density * unscale;
            if power.max(-node.t * node.t / 2.0) < scale - NEGLIGIBLE {
                error += (-NEGLIGIBLE).exp() * (1.0 + slack);
            } else if node.excess.abs() * order < 0.05 {
                sum += density * remainder_series(order, node.excess);
                let slope = order * (order - 1.0) * node.excess.abs();
                error += density
                    * slope
                    * 4.0
                    * f64::EPSILON
                    * (self.rate * (1.0 + node.magnitude) + 4.0 * node.excess.abs());
            } else {
                let grown = (power - scale).exp();
                let line = (1.0 - slack) * density + slack * node.shifted_density * unscale;
                sum += grown - line;
                let rounded =
                    4.0 + order * (node.log_ratio.abs() + node.magnitude) + node.t * node.t / 2.0;
                error += 2.0
                    * f64::EPSILON
                    * (grown * rounded
                        + (1.0 + slack) * density * rounded
                        + slack * node.shifted_density * unscale * rounded);
            }
        }
        let tail = |node: &Node, slope: f64| {
            let bound = (exponent(node) - scale).exp() + slack * node.density * unscale;
            bound / (slope * self.step).exp_m1()
        };
        error += tail(first, -first.t) + tail(last, last.t - order / self.z);

        // φ carries 1/√(2π). The norm A + |1−αq| + αq is at most (A − 1) + 2 (1 + αq).
        let weight = self.step / (2.0 * PI).sqrt();
        let computed = weight * (sum + error);
        let norm_beyond_moment = 2.0 * unscale * (1.0 + slack);
        let moment =
            (computed + self.discretization * norm_beyond_moment) / (1.0 - self.discretization);
        // Where the error swallows the value, the chord between integer orders is tighter.
        if !(moment > 0.0 && error < 1e-6 * sum) {
            return None;
        }
        Some(log_1p_exp(scale + moment.ln()))
    }
}

impl Node {
    fn new(t: f64, rate: f64, z: f64) -> Self {
        let (linear, constant) = (t / z, 0.5 / z / z);
        let u = linear - constant;
        let excess = rate * u.exp_m1();
        let log_ratio = if excess.abs() < 0.5 {
            excess.ln_1p()
        } else if u < 40.0 {
            ((1.0 - rate) + rate * u.exp()).ln()
        } else {
            rate.ln() + u + ((1.0 - rate) / rate * (-u).exp()).ln_1p()
        };
        let shifted = t - 1.0 / z;
        Self {
            t,
            log_ratio,
            excess,
            density: (-t * t / 2.0).exp(),
            shifted_density: (-shifted * shifted / 2.0).exp(),
            magnitude: linear.abs() + constant,
        }
    }
}

/// (1 + x)^α − 1 − αx by its Taylor series, for |x|·α < 0.05.
fn remainder_series(order: f64, x: f64) -> f64 {
    let mut term = order * (order - 1.0) / 2.0 * x * x;
    let mut sum = term;
    let mut k = 2.0;
    while term.abs() > f64::EPSILON / 4.0 * sum.abs() && k < 40.0 {
        term *= (order - k) / (k + 1.0) * x;
        sum += term;
        k += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn quadrature_equals_the_binomial_sum_at_integer_orders(
            log_rate in -14.0..-0.01_f64,
            log_z in -1.5..4.0_f64,
            order in 2_usize..40,
        ) {
            let (rate, z) = (log_rate.exp(), log_z.exp());
            // A fractional neighbor makes the grid reach far enough.
            let orders = Orders::new(vec![1.05, order as f64 + 0.5]);
            let exact = Binomial::new(&orders, rate, z).log_moment(order);
            if let Some(grid) = Quadrature::new(&orders, rate, z)
                && let Some(ours) = grid.log_moment(order as f64)
            {
                prop_assert!((ours / exact - 1.0).abs() < 1e-9, "{ours} instead of {exact}");
            }
        }

        #[test]
        fn log_moment_is_convex_in_the_order(
            log_rate in -14.0..-0.01_f64,
            log_z in -1.5..4.0_f64,
            order in 1.02..30.0_f64,
        ) {
            let all = Orders::new(vec![order, order.ceil() + 1.0]);
            let chord = Binomial::new(&all, log_rate.exp(), log_z.exp())
                .interpolated_log_moment(order);
            let exact = all.add_remove(log_rate.exp(), log_z.exp())[0] * (order - 1.0);
            prop_assert!(exact <= chord * (1.0 + 1e-9));
        }
    }
}
