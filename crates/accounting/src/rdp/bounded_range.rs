//! Rényi divergence of bounded range: the exponential mechanism and Gumbel noise.
//!
//! A mechanism of bounded range ε has, between neighbors, all its privacy losses in [t−ε, t] for some t
//! in [0, ε] (Durfee & Rogers 2019, arXiv 1905.04273). Since E_Q[e^loss] = 1 and the moment is convex in
//! the likelihood ratio, the worst pair has only the losses t and t−ε. This is the reduction of Dong,
//! Durfee & Rogers 2020, arXiv 1909.13830. The pair's moment is
//!
//! ```text
//! e^((α−1)t) (1 − e^(−αε) − e^t (e^(−ε) − e^(−αε))) / (1 − e^(−ε))
//! ```
//!
//! whose largest value over t has a closed form. With S(x) = log(sinh(x/2) / (x/2)),
//!
//! ```text
//! D_α = (α S(αε) − (α−1) S((α−1)ε) − S(ε)) / (α−1)  ≤  αε²/8
//! ```
//!
//! (the inequality: Cesar & Rogers 2021, arXiv 2004.07223). The maximum is taken anew at each order and for
//! each run, so it also covers pairs that differ between runs.

use super::numeric::round_up;
use super::pure::pure;

/// Smaller orders get the bound at this order. That is sound, because divergences grow with the order. It
/// avoids division by a tiny α−1, which magnifies rounding.
const SMALLEST_ORDER: f64 = 1.0001;

/// Upper bound for one mechanism of bounded range ε; never above that of pure ε-differential privacy.
pub(super) fn bounded_range(order: f64, epsilon: f64) -> f64 {
    if epsilon == 0.0 || epsilon == f64::INFINITY {
        return epsilon;
    }
    let concentrated = round_up(order * epsilon / 8.0 * epsilon);
    // At such a small α·ε the two agree to twelve digits.
    let exact = if order * epsilon < 1e-6 { f64::INFINITY } else { closed_form(order, epsilon) };
    exact.min(concentrated).min(pure(order, epsilon))
}

fn closed_form(order: f64, epsilon: f64) -> f64 {
    let order = order.max(SMALLEST_ORDER);
    let less = order - 1.0;
    let (above, below, one) =
        (order * log_sinhc(order * epsilon), less * log_sinhc(less * epsilon), log_sinhc(epsilon));
    let rounding = 4.0 * f64::EPSILON * (above + below + one);
    round_up((above - below - one + rounding) / less)
}

/// log(sinh(x/2) / (x/2)), x ≥ 0.
fn log_sinhc(x: f64) -> f64 {
    let half = x / 2.0;
    if half > 1.0 {
        return half + (-(-x).exp_m1() / x).ln();
    }
    let (mut term, mut sum, mut k) = (1.0, 0.0, 1.0);
    while k < 24.0 {
        term *= half / (k + 1.0) * (half / (k + 2.0));
        sum += term;
        k += 2.0;
    }
    sum.ln_1p()
}
