//! What the guarantee means for an attacker: the trade-off between the two kinds of error.

use super::accountant::Accountant;
use super::quantities::{Delta, Epsilon};
use crate::error::{Error, Result};

/// The curve samples ε between its values at a large and at a small failure probability. The small one is
/// the first with a finite ε.
const LARGEST_DELTA: f64 = 0.999;
const SMALLEST_DELTAS: [f64; 3] = [1e-9, 1e-6, 1e-3];

/// A lower bound on the false-negative rate of every test that tells neighboring data sets apart, at
/// each false-positive rate: f-differential privacy (Dong, Roth & Su 2019, arXiv 1905.02383).
///
/// (ε, δ)-differential privacy in both directions rules out what lies below the two lines (Wasserman &
/// Zhou 2010, arXiv 0811.2501; Kairouz, Oh & Viswanath 2015, arXiv 1311.0776)
///
/// ```text
/// f(a) ≥ 1 − δ − e^ε a        f(a) ≥ e^−ε (1 − δ − a)
/// ```
///
/// and an accountant gives a δ for every ε. The curve is the maximum of the lines at many ε, so it is
/// convex and falling, and more points can only raise it.
#[derive(Debug, Clone, PartialEq)]
pub struct TradeOffCurve {
    /// ε with its δ, by rising ε.
    guarantees: Vec<(f64, f64)>,
    is_lower_bound: bool,
}

impl TradeOffCurve {
    /// The curve of everything that `accountant` has composed, from its δ at `points` values of ε.
    ///
    /// For Gaussian releases, whatever their noise, the curve of 25 points is within 0.03 of the exact one,
    /// and that of 100 points within 0.002.
    ///
    /// # Errors
    /// [`Error::Setting`] for fewer than 2 points.
    pub fn of<A: Accountant + ?Sized>(accountant: &A, points: usize) -> Result<Self> {
        if points < 2 {
            return Err(Error::setting("points of the trade-off curve", points, "at least 2"));
        }
        let at = |delta| Delta::new(delta).map(|delta| accountant.epsilon(delta).value());
        let first = at(LARGEST_DELTA)?;
        let mut last = f64::INFINITY;
        for delta in SMALLEST_DELTAS {
            if last == f64::INFINITY {
                last = at(delta)?;
            }
        }
        let mut guarantees = Vec::new();
        if last.is_finite() {
            let first = first.min(last);
            let step = (last - first) / (points - 1) as f64;
            for point in 0..points {
                let epsilon = first + step * point as f64;
                guarantees.push((epsilon, accountant.delta(Epsilon::new(epsilon)?)));
            }
        }
        Ok(Self { guarantees, is_lower_bound: accountant.is_upper_bound() })
    }

    /// Whether the curve is proven: `false` if it was made from an approximation.
    pub const fn is_lower_bound(&self) -> bool {
        self.is_lower_bound
    }

    /// The least false-negative rate that a test with this false-positive rate can have, rounded
    /// down: from 0 to 1, falling and convex.
    ///
    /// A rate outside 0 to 1 counts as the nearest end, and NaN as 1.
    pub fn false_negative_rate(&self, false_positive_rate: f64) -> f64 {
        let rate = if false_positive_rate.is_nan() { 1.0 } else { false_positive_rate };
        let rate = rate.clamp(0.0, 1.0);
        self.guarantees.iter().fold(0.0, |best, guarantee| best.max(above(*guarantee, rate)))
    }

    /// Pairs of a false-positive rate and its
    /// [`false_negative_rate`](Self::false_negative_rate), by rising false-positive rate from 0 to
    /// 1, for a plot: dense where the curve bends.
    pub fn points(&self) -> Vec<(f64, f64)> {
        // The lines of two successive ε meet here, and by symmetry at (f(a), a).
        let corners = self.guarantees.windows(2).filter_map(|pair| match pair {
            [(epsilon, delta), (next_epsilon, next_delta)] => {
                let between = (next_epsilon - epsilon).exp_m1();
                Some((delta - next_delta).max(0.0) / between * (-epsilon).exp())
            }
            _ => None,
        });
        let mut rates: Vec<f64> = corners
            .flat_map(|rate| [rate, self.false_negative_rate(rate)])
            .chain([0.0, 1.0])
            .filter(|rate| (0.0..=1.0).contains(rate))
            .collect();
        rates.sort_by(f64::total_cmp);
        rates.dedup();
        rates.into_iter().map(|rate| (rate, self.false_negative_rate(rate))).collect()
    }
}

/// The higher of the two lines of (ε, δ) at false-positive rate `rate`, rounded down.
fn above((epsilon, delta): (f64, f64), rate: f64) -> f64 {
    /// More than the relative rounding of the exponentials, whose arguments are below 1e4 where
    /// they matter.
    const ROUNDING: f64 = 4e-12;
    // In logarithms, with log 0 = −∞, because e^ε alone may overflow at rate 0.
    let steep = 1.0 - delta - (epsilon + rate.ln()).exp() * (1.0 + ROUNDING);
    let flat = (-epsilon).exp() * (1.0 - ROUNDING) * (1.0 - delta - rate - f64::EPSILON);
    (steep - f64::EPSILON).max(flat)
}
