//! From Rényi DP to (ε, δ) and back, always on the safe side.
//!
//! For every order α > 1, (α, r)-Rényi DP implies (ε, δ)-DP with
//!
//! ```text
//! ε = r + log((α−1)/α) − (log δ + log α) / (α−1)
//! ```
//!
//! (Canonne, Kamath & Steinke 2020, arXiv 2004.00010, Proposition 12; equivalently Asoodeh et al.
//! 2020). Also, r bounds the Kullback-Leibler divergence, so the Bretagnolle-Huber inequality bounds
//! the total variation: (0, δ)-DP holds with δ = √(1 − e^(−r)). The best order is taken, which is
//! sound because each of them holds.

/// What is added to ε for float errors, relative to the terms that ε is made of. Answers are rounded up,
/// never down.
const ALLOWANCE: f64 = 1e-12;

/// An upper bound on ε at `delta`, from parallel slices of orders and divergences.
pub(super) fn epsilon(orders: &[f64], rdp: &[f64], delta: f64) -> f64 {
    let log_delta = delta.ln();
    let mut best = f64::INFINITY;
    for (&order, &r) in orders.iter().zip(rdp).filter(|(_, r)| r.is_finite()) {
        if r == 0.0 || delta * delta > -(-r).exp_m1() * (1.0 + ALLOWANCE) {
            return 0.0;
        }
        let less = order - 1.0;
        let exact = r + (less / order).ln() - (log_delta + order.ln()) / less;
        let sizes = r + 1.0 + (1.0 + log_delta.abs() + order.ln()) / less;
        best = best.min(exact + ALLOWANCE * sizes);
    }
    if best > 0.0 { best.next_up() } else { 0.0 }
}

/// An upper bound on log δ at `epsilon`: at most 0, and −∞ where nothing is released.
///
/// Its allowance is a hundred times smaller than that of [`epsilon`]. So if ε was computed for some δ, the
/// δ of that ε never exceeds it.
pub(super) fn log_delta(orders: &[f64], rdp: &[f64], epsilon: f64) -> f64 {
    let mut best = 0.0_f64;
    for (&order, &r) in orders.iter().zip(rdp).filter(|(_, r)| r.is_finite()) {
        if r == 0.0 || epsilon == f64::INFINITY {
            return f64::NEG_INFINITY;
        }
        let less = order - 1.0;
        let from_distance = 0.5 * (-(-r).exp_m1()).ln();
        let exact = less * (r - epsilon + (less / order).ln()) - order.ln();
        let sizes = 1.0 + less * (r + epsilon) + order.ln();
        best = best.min(from_distance).min(exact + ALLOWANCE / 100.0 * sizes);
    }
    best
}

/// δ from its logarithm, never rounded down to zero.
pub(super) fn delta_from_log(log_delta: f64) -> f64 {
    if log_delta == f64::NEG_INFINITY {
        return 0.0;
    }
    log_delta.exp().clamp(f64::MIN_POSITIVE, 1.0)
}
