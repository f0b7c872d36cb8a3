//! Rényi divergence of the Gaussian mechanism on a batch of fixed size, drawn without replacement.
//!
//! Draw a batch that contains the record in question, and another record from outside the batch. With
//! probability q = B/n the batch is used as it is. Otherwise the other record takes the place of the record
//! in question. By joint convexity (see [`by_convexity`]) the outputs are, in the worst case,
//! P = (1−q)·r + q·p and Q = (1−q)·r + q·p′ for three Gaussians: r with the other record, p and p′ with the
//! record in question in D and D′ (Wang, Balle & Kasiviswanathan 2019, arXiv 1808.00087). With
//! X = (p − p′)/Q, whose mean is 0, the moment is
//!
//! ```text
//! E_Q[(P/Q)^α] = E_Q[(1 + qX)^α] = 1 + Σ_{j=2..α} C(α, j) q^j E_Q[X^j]
//! ```
//!
//! - For even j, and |X|^j for any j, (p − p′, Q) ↦ E_Q[X^j] is jointly convex too, so Q may be replaced by
//!   the worse of its parts, r and p′.
//! - For even α the whole sum is jointly convex: the odd moments keep their sign, and are small.
//! - For odd α, |X|^j takes the place of X^j at odd j, or the bounds at α−1 and α+1 are interpolated: the
//!   logarithm of the moment is convex in α. Fractional orders are interpolated.
//!
//! The paper goes on with E_r|X|^j ≤ 4 E|p/r − 1|^j. But for Gaussians the worst position of the three
//! means is known (see [`Triple`]), which makes the leading term q² C(α, 2) about four times smaller.
//! Birrell et al. 2024 (arXiv 2408.10456) gain the same factor in another way.
//!
//! [`by_convexity`] itself is better where q is large or the noise small. The smaller of the two bounds is
//! taken. Under zero-out with z below about 2, both are several times too large at high orders: r is then
//! far from p, so replacing Q by r loses much.

use std::f64::consts::PI;

use super::curve::Orders;
use super::numeric::{NEGLIGIBLE, by_convexity, log_1p_exp, log_1p_sum_exp, round_up};
use crate::adjacency::Adjacency;

/// Up to this order every moment is computed; above it, about sixteen per doubling.
const DENSE: usize = 64;

/// From here on (in standard deviations) the two bumps of the integrand are so far apart that nothing is
/// better than E_r|X|^j ≤ E_r[(p/r)^j] + E_r[(p′/r)^j].
const LARGEST_SPREAD: f64 = 200.0;

/// Upper bounds on the Rényi DP of neighboring data sets of the same size.
pub(super) fn gaussian(
    orders: &Orders,
    adjacency: Adjacency,
    rate: f64,
    noise_multiplier: f64,
) -> Vec<f64> {
    if noise_multiplier == 0.0 {
        return vec![f64::INFINITY; orders.orders.len()];
    }
    let distance = (adjacency.contributions() / noise_multiplier).next_up();
    let series = Series::new(orders, adjacency, rate, distance);
    orders
        .orders
        .iter()
        .map(|&order| {
            let base = order / 2.0 * distance * distance;
            let convexity = by_convexity(order, rate, base);
            round_up((series.log_moment(order) / (order - 1.0)).min(convexity))
        })
        .collect()
}

/// Bounds on the terms of the series, q^j E[X^j], by j.
struct Series<'a> {
    log_factorial: &'a [f64],
    log_even: Vec<f64>,
    log_odd: Vec<f64>,
    /// The size of any term without its binomial coefficient. It decides the allowance for rounding.
    magnitude: f64,
}

impl<'a> Series<'a> {
    fn new(orders: &'a Orders, adjacency: Adjacency, rate: f64, distance: f64) -> Self {
        let largest = orders.log_factorial.len();
        let moments = Moments::new(adjacency, distance, largest);
        let log_rate = rate.ln();
        let scaled = |moment: &dyn Fn(usize) -> f64| -> Vec<f64> {
            (0..largest)
                .map(|j| if j < 2 { 0.0 } else { j as f64 * log_rate + moment(j) })
                .collect()
        };
        let log_even = scaled(&|j| moments.absolute(j));
        let log_odd =
            scaled(&|j| if j.is_multiple_of(2) { moments.absolute(j) } else { moments.signed(j) });
        let magnitude = log_even.iter().copied().filter(|log| log.is_finite());
        let magnitude =
            magnitude.map(f64::abs).fold(0.0, f64::max) + largest as f64 * log_rate.abs();
        Self { log_factorial: &orders.log_factorial, log_even, log_odd, magnitude }
    }

    /// An upper bound on the logarithm of the moment, which is 0 at order 1.
    fn log_moment(&self, order: f64) -> f64 {
        let (below, weight) = (order.floor(), order.fract());
        let at = |order: usize| if order < 2 { 0.0 } else { self.at_integer(order) };
        let below = below as usize;
        if weight == 0.0 {
            return at(below);
        }
        (1.0 - weight) * at(below) + weight * at(below + 1)
    }

    fn at_integer(&self, order: usize) -> f64 {
        if order.is_multiple_of(2) {
            return self.sum(order, &self.log_odd);
        }
        let around = [order - 1, order + 1].map(|even| match even {
            0 => 0.0,
            // The table ends one above the largest order.
            even if even < self.log_factorial.len() => self.sum(even, &self.log_odd),
            _ => f64::INFINITY,
        });
        self.sum(order, &self.log_even).min((around[0] + around[1]) / 2.0)
    }

    fn sum(&self, order: usize, log_terms: &[f64]) -> f64 {
        let facts = self.log_factorial;
        let terms: Vec<f64> = (2..=order)
            .map(|j| facts[order] - facts[j] - facts[order - j] + log_terms[j])
            .collect();
        log_1p_sum_exp(&terms, 3.0 * facts[order] + self.magnitude)
    }
}

/// Bounds on the moments of X, by their order.
struct Moments {
    distance: f64,
    worst: Triple,
    /// Even orders, rising, and log E|X|^j.
    absolute: Vec<(usize, f64)>,
    /// log E[X^j] at j = 3, 5, ..
    signed: Vec<f64>,
}

impl Moments {
    fn new(adjacency: Adjacency, distance: f64, largest: usize) -> Self {
        let (all, odd): (&[Triple], Triple) = match adjacency {
            Adjacency::ReplaceOne => (&[EQUILATERAL, TWO], TWO),
            Adjacency::AddRemove | Adjacency::ZeroOut => (&[IN_LINE], IN_LINE),
        };
        let mut absolute = Vec::new();
        let mut j = 2;
        // One more than the largest, to interpolate up to it.
        loop {
            let log = all.iter().map(|triple| triple.log_moment(j, distance));
            absolute.push((j, log.fold(f64::NEG_INFINITY, f64::max)));
            if j >= largest {
                break;
            }
            j += if j < DENSE { 2 } else { 2 * j.div_ceil(DENSE / 2) };
        }
        let signed = (3..=largest.min(DENSE)).step_by(2).map(|j| odd.log_moment(j, distance));
        Self { distance, worst: all[0], absolute, signed: signed.collect() }
    }

    /// log E|X|^j, j ≥ 2. It is convex in j, because it is so for each position of the three means.
    fn absolute(&self, j: usize) -> f64 {
        let crude = self.worst.crude(j, self.distance);
        let above = self.absolute.partition_point(|&(k, _)| k < j);
        let Some(&(upper, log_upper)) = self.absolute.get(above) else { return crude };
        let exact = match above.checked_sub(1).and_then(|below| self.absolute.get(below)) {
            Some(&(lower, log_lower)) if upper > j => {
                let weight = (j - lower) as f64 / (upper - lower) as f64;
                (1.0 - weight) * log_lower + weight * log_upper
            }
            _ => log_upper,
        };
        exact.min(crude)
    }

    /// log E[X^j] for odd j ≥ 3.
    fn signed(&self, j: usize) -> f64 {
        let absolute = self.absolute(j);
        self.signed.get(j / 2 - 1).map_or(absolute, |signed| signed.min(absolute))
    }
}

/// Where the three means are: the squared distances of p and of p′ from r, in units of that between p
/// and p′, which is `distance` standard deviations.
///
/// Let a, b and d be the squared distances of p from r, of p′ from r, and of p from p′, in units of the
/// variance. Let G be standard normal. Expanding the power and resumming gives for every j
///
/// ```text
/// T(a, b, d) = E_r[((p − p′)/r)^j] = e^(js − j²d/8) E[(2 sinh(√d G/2 + t))^j]
/// s = (j−1)(a+b)/4,  t = (j−1)(a−b)/4
/// ```
///
/// By Gaussian integration by parts and shifting, for **even** j:
///
/// - ∂T/∂d has the sign of E[sinh^(j−2)] ≥ 0: T grows with d.
/// - ∂T/∂a has the sign of t + d/4 and ∂T/∂b that of d/4 − t. So T grows with a where a ≥ b, and over
///   an interval of b it is largest at an end. T is symmetric in a and b.
/// - Along a = (1+τ)²d, b = τ²d, both s and t grow with τ ≥ 0, and so does T.
///
/// For **odd** j and t ≥ 0, T grows with d and a, and falls with b. For t < 0 it is negative.
///
/// **Replace-one**: a, b, d ≤ D = (2C/σ)². For even j, a = d = D and b is 0 or D: [`TWO`] or
/// [`EQUILATERAL`]; for odd j, b = 0. **Zero-out**: one of p, p′ lacks the record's contribution. So
/// d ≤ D = (C/σ)², one of a and b is at most D, and the other at most 4D. Raise the larger one until the
/// means are in a line, then follow that line: it ends at [`IN_LINE`], for both parities of j. With p′ in
/// the place of r, T is that of [`TWO`], where the line begins.
#[derive(Debug, Clone, Copy)]
struct Triple {
    a: f64,
    b: f64,
}

const EQUILATERAL: Triple = Triple { a: 1.0, b: 1.0 };
const TWO: Triple = Triple { a: 1.0, b: 0.0 };
const IN_LINE: Triple = Triple { a: 4.0, b: 1.0 };

impl Triple {
    /// An upper bound on log T, j ≥ 2.
    ///
    /// The integral is a sum over a grid (trapezoidal rule); the integrand is entire and nothing
    /// cancels for even j. On the line Im g = c, |φ(g)| = φ(Re g) e^(c²/2) and, since
    /// |sinh(x+iy)|² ≤ sinh²x + y², |2 sinh|^j ≤ 2^(j/2−1) (|2 sinh x|^j + (√d c)^j). As |sinh x| ≥ |x|,
    /// E|2 sinh|^j ≥ (√d)^j E|G|^j. So the L1 norm there is at most e^N times the absolute moment, with
    ///
    /// ```text
    /// N = c²/2 + (j/2 − 1) log 2 + log(1 + c^j / E|G|^j)
    /// ```
    ///
    /// and the relative error at most 2 e^N / (e^(2πc/h) − 1) (Trefethen & Weideman 2014). h makes it
    /// 2e-16. Ten times as much is added. This also covers odd j, for which the absolute moment itself is
    /// known only from the grid. Past both peaks the integrand falls faster than φ.
    fn log_moment(self, j: usize, distance: f64) -> f64 {
        let power = j as f64;
        if power * distance > LARGEST_SPREAD {
            return self.crude(j, distance);
        }
        let log_normal =
            power / 2.0 * 2.0_f64.ln() + libm::lgamma((power + 1.0) / 2.0) - PI.ln() / 2.0;
        let height = power.sqrt() + 2.0;
        let log_norm = height * height / 2.0
            + (power / 2.0 - 1.0) * 2.0_f64.ln()
            + log_1p_exp(power * height.ln() - log_normal);
        let step = 2.0 * PI * height / (37.0 + log_norm);

        let shift = (power - 1.0) * (self.a - self.b) / 4.0 * distance * distance;
        // Neither peak is further from 0 than this. At a peak, g = (j√d/2) coth(√d g/2 ± t).
        let peak = |slope: f64| (slope + (slope * slope + 4.0 * power).sqrt()) / 2.0;
        let beyond = 2.0 * shift / distance;
        let right = peak(power * distance / 2.0);
        let left = beyond + peak(power * distance / 2.0 - beyond);
        let reach = (2.0 * NEGLIGIBLE).sqrt() + 1.0;
        let (first, last) = (-((left + reach) / step).ceil(), ((right + reach) / step).ceil());

        let nodes: Vec<(f64, f64)> = (0..=(last - first) as usize)
            .map(|n| {
                let g = (first + n as f64) * step;
                let argument = distance * g / 2.0 + shift;
                let log_sinh = argument.abs() + (-(-2.0 * argument.abs()).exp_m1()).ln();
                (power * log_sinh - g * g / 2.0, argument)
            })
            .collect();
        let scale = nodes.iter().map(|node| node.0).fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut size) = (0.0, 0.0);
        for (log, argument) in nodes {
            let value = (log - scale).exp();
            size += value;
            sum += if j % 2 == 1 && argument < 0.0 { -value } else { value };
        }
        let squared = distance * distance;
        let exponent = power * (power - 1.0) * (self.a + self.b) / 4.0 * squared;
        let spread = power * power / 8.0 * squared;
        // What the exponents are made of: g²/2 and j log sinh, each a sum of rounded parts.
        let magnitude = 10.0
            + exponent
            + spread
            + scale.abs()
            + (left.max(right) + reach).powi(2)
            + power * (shift + distance * (left.max(right) + reach));
        let error = 1e-14 + 4.0 * f64::EPSILON * magnitude;
        let integral = (sum.max(0.0) + error * size) * step / (2.0 * PI).sqrt();
        exponent - spread + scale + integral.ln()
    }

    /// log(E_r[(p/r)^j] + E_r[(p′/r)^j]), never below log T.
    fn crude(self, j: usize, distance: f64) -> f64 {
        let power = j as f64;
        let half = power * (power - 1.0) / 2.0 * distance * distance;
        let log = self.a * half + (-(self.a - self.b) * half).exp().ln_1p();
        if log.is_nan() { f64::INFINITY } else { log * (1.0 + 8.0 * f64::EPSILON) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The alternating binomial sum with 400 digits, by mpmath 1.3.0.
    const PRECISE: [(Triple, usize, f64, f64); 32] = [
        (EQUILATERAL, 2, 0.001, -13.815509807964265),
        (EQUILATERAL, 2, 0.5, -1.198143404203256),
        (EQUILATERAL, 4, 0.05, -10.872232907894047),
        (EQUILATERAL, 8, 2.0, 112.6931405293603),
        (EQUILATERAL, 64, 0.0001, -488.0322367845344),
        (EQUILATERAL, 64, 1.0, 2016.6931471805585),
        (EQUILATERAL, 128, 0.02, -251.15541757699546),
        (EQUILATERAL, 512, 0.125, 2035.7884631738796),
        (TWO, 2, 0.001, -13.815510057964232),
        (TWO, 2, 0.5, -1.258691549446032),
        (TWO, 3, 0.001, -26.53240749392691),
        (TWO, 3, 0.5, -1.3283131677801452),
        (TWO, 4, 0.05, -10.868523651012122),
        (TWO, 7, 1.0, 20.9828429135502),
        (TWO, 8, 2.0, 111.99999999999447),
        (TWO, 31, 0.1, -24.458135840895856),
        (TWO, 64, 0.0001, -488.0319293786428),
        (TWO, 64, 1.0, 2016.0),
        (TWO, 128, 0.02, -239.44159351082854),
        (TWO, 512, 0.125, 2043.8257473211538),
        (IN_LINE, 2, 0.001, -13.815506057966232),
        (IN_LINE, 2, 0.5, -0.3497494041662575),
        (IN_LINE, 3, 0.001, -25.433786538594912),
        (IN_LINE, 3, 0.5, 1.8361586551102986),
        (IN_LINE, 4, 0.05, -10.752412563750514),
        (IN_LINE, 7, 1.0, 83.99995699174352),
        (IN_LINE, 8, 2.0, 448.0),
        (IN_LINE, 31, 0.1, -1.8548635761957395),
        (IN_LINE, 64, 0.0001, -488.0293516247855),
        (IN_LINE, 64, 1.0, 8064.0),
        (IN_LINE, 128, 0.02, -207.1066830420975),
        (IN_LINE, 512, 0.125, 8175.9999405530225),
    ];

    #[test]
    fn moments_are_those_of_the_binomial_sum() {
        for (triple, j, distance, exact) in PRECISE {
            let ours = triple.log_moment(j, distance) - exact;
            // Odd moments are small differences.
            let rounding = if j.is_multiple_of(2) { 1e-12 } else { 1e-9 } * (1.0 + exact.abs());
            assert!((0.0..rounding).contains(&ours), "{triple:?} {j} {distance}: {ours:e}");
        }
    }

    #[test]
    fn moments_between_computed_ones_are_bounded() {
        for adjacency in [Adjacency::ReplaceOne, Adjacency::ZeroOut] {
            let moments = Moments::new(adjacency, 0.1, 300);
            for j in (66..=300).step_by(2) {
                let triples = [EQUILATERAL, TWO, IN_LINE];
                let triples =
                    if adjacency == Adjacency::ZeroOut { &triples[2..] } else { &triples[..2] };
                let exact = triples.iter().map(|triple| triple.log_moment(j, 0.1));
                let excess = moments.absolute(j) - exact.fold(f64::NEG_INFINITY, f64::max);
                // A chord over this gap, by the second derivative of aj²/2 · 0.1² and of half of j log j.
                let gap = 2.0 * j.div_ceil(DENSE / 2) as f64;
                let chord = gap * gap / 8.0 * (moments.worst.a * 0.01 + 0.5 / j as f64);
                assert!((-1e-9..1.2 * chord).contains(&excess), "{j}: {excess} and {chord}");
            }
            for j in 2..40 {
                assert!(moments.signed(j | 1) <= moments.absolute(j | 1));
                let around = moments.absolute(j) + moments.absolute(j + 2);
                assert!(2.0 * moments.absolute(j + 1) <= around * (1.0 + 1e-12) + 1e-9);
            }
        }
    }

    /// The divergence of (1−q)·N(r) + q·N(p) from (1−q)·N(r) + q·N(p′) in the plane, by the trapezoidal
    /// rule, which is exact to many digits at this step.
    fn exact(order: f64, rate: f64, means: [(f64, f64); 3]) -> f64 {
        const STEP: f64 = 0.25;
        let reach = 8.0 + 2.0 * order;
        let count = (2.0 * reach / STEP) as i32;
        let mut moment = 0.0;
        for (row, column) in (0..count).flat_map(|row| (0..count).map(move |column| (row, column)))
        {
            let (x, y) = (f64::from(row) * STEP - reach, f64::from(column) * STEP - reach);
            let density = |(u, v): (f64, f64)| {
                (-((x - u).powi(2) + (y - v).powi(2)) / 2.0).exp() / (2.0 * PI)
            };
            let [r, p, q] = means.map(density);
            let (p, q) = ((1.0 - rate) * r + rate * p, (1.0 - rate) * r + rate * q);
            if q > 0.0 {
                moment += p * (p / q).powf(order - 1.0) * STEP * STEP;
            }
        }
        moment.ln() / (order - 1.0)
    }

    #[test]
    fn no_position_of_the_means_costs_more() {
        let distance: f64 = 0.8;
        for (adjacency, positions) in [
            (
                Adjacency::ReplaceOne,
                [
                    [(0.0, 0.0), (distance, 0.0), (distance / 2.0, distance * 0.75_f64.sqrt())],
                    [(0.0, 0.0), (distance, 0.0), (0.0, 0.0)],
                    [(0.0, 0.0), (0.0, 0.0), (distance, 0.0)],
                    [(0.0, 0.0), (distance / 2.0, 0.0), (-distance / 2.0, 0.0)],
                ],
            ),
            (
                Adjacency::ZeroOut,
                [
                    [(0.0, 0.0), (2.0 * distance, 0.0), (distance, 0.0)],
                    [(0.0, 0.0), (distance, 0.0), (2.0 * distance, 0.0)],
                    [(0.0, 0.0), (distance, 0.0), (0.0, 0.0)],
                    [(0.0, 0.0), (distance / 2.0, distance * 0.75_f64.sqrt()), (distance, 0.0)],
                ],
            ),
        ] {
            let orders = Orders::new(vec![1.5, 2.0, 3.0, 4.0, 5.0, 8.0]);
            for rate in [0.01, 0.3] {
                let ours = gaussian(&orders, adjacency, rate, adjacency.contributions() / distance);
                for (&order, ours) in orders.orders.iter().zip(ours) {
                    let worst = positions.map(|means| exact(order, rate, means));
                    let worst = worst.into_iter().fold(0.0, f64::max);
                    // At order 2 the worst position is known, and at a small rate nothing but its square
                    // counts. With the means in a line and this far apart, high moments under r are far
                    // above those under Q.
                    let factor = match (adjacency, order) {
                        (_, 2.0) if rate == 0.01 => 1.2,
                        (Adjacency::ZeroOut, 4.0..) => f64::INFINITY,
                        _ => 3.0,
                    };
                    assert!(
                        ours >= worst * (1.0 - 1e-9) && ours <= factor * worst,
                        "{adjacency} {order} {rate}: {ours} and {worst}"
                    );
                }
            }
        }
    }
}
