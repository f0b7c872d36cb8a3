//! Logarithms that neither overflow nor cancel, rounding upward, and the one bound that all sampling
//! shares.

/// Exponents further than this below the largest are not evaluated: e^−75 is about 3e-33.
pub(super) const NEGLIGIBLE: f64 = 75.0;

/// Relative allowance for the rounding of the last few operations of each order.
const ROUNDING: f64 = 1e-12;

/// log(1 + q (e^((α−1)D) − 1)) / (α−1): the bound for a mechanism of Rényi divergence D at order α that
/// sees the record in question only with probability q.
///
/// Toss the same coin for the record in both data sets, and condition on everything else that is random
/// about the batch. The outputs are P = (1−q)·P₀ + q·P₁ and Q = (1−q)·P₀ + q·Q₁, where P₀ is the release
/// without the record. (P, Q) ↦ ∫ P^α Q^(1−α) is jointly convex for α > 1 (it is the perspective of t^α),
/// hence at most (1−q)·1 + q·e^((α−1)D). Nothing is assumed about P₀.
pub(super) fn by_convexity(order: f64, rate: f64, divergence: f64) -> f64 {
    let less = order - 1.0;
    log_1p_exp(rate.ln() + log_exp_m1(less * divergence)) / less
}

/// An upper bound on log(1 + Σ e^tᵢ); +∞ on overflow. It includes 4 ε · `magnitude`, by which the exponents
/// may together be off. Here ε is the rounding of a float.
pub(super) fn log_1p_sum_exp(terms: &[f64], magnitude: f64) -> f64 {
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        // Either every term underflowed to exactly zero, or one overflowed.
        return if largest == f64::NEG_INFINITY { f64::MIN_POSITIVE } else { f64::INFINITY };
    }
    let sum: f64 = terms
        .iter()
        .map(|&term| term - largest)
        .filter(|&below| below > -NEGLIGIBLE)
        .map(f64::exp)
        .sum();
    // The last part is for the terms left out.
    let allowance = 4.0 * f64::EPSILON * (magnitude + terms.len() as f64 + 1.0);
    log_1p_exp(largest + sum.ln() + allowance)
}

/// log(1 + e^x) without overflow.
pub(super) fn log_1p_exp(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// log(e^y − 1) without overflow, y ≥ 0.
pub(super) fn log_exp_m1(y: f64) -> f64 {
    if y > 1.0 { y + (-(-y).exp()).ln_1p() } else { y.exp_m1().ln() }
}

/// Rounds up by the allowance. NaN and negative numbers become +∞.
pub(super) fn round_up(rdp: f64) -> f64 {
    if rdp >= 0.0 { (rdp * (1.0 + ROUNDING)).next_up() } else { f64::INFINITY }
}
