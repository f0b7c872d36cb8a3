//! Logarithms that neither overflow nor cancel, and bisection down to neighboring floats.

/// log(1 − q + q·e^u) for q = `rate`: the loss of (1 − q)·Q + q·P against Q, where that of P against Q is
/// u.
pub(super) fn log_mixture(rate: f64, u: f64) -> f64 {
    if u > 30.0 {
        rate.ln() + u + ((1.0 - rate) / rate * (-u).exp()).ln_1p()
    } else {
        (rate * u.exp_m1()).ln_1p()
    }
}

/// log(e^ℓ − 1 + s) for 0 < s ≤ 1; −∞ where that is not positive.
pub(super) fn log_expm1_over(loss: f64, some: f64, log_some: f64) -> f64 {
    if loss > 30.0 {
        return loss + ((some - 1.0) * (-loss).exp()).ln_1p();
    }
    let share = loss.exp_m1() / some;
    if share <= -1.0 { f64::NEG_INFINITY } else { log_some + share.ln_1p() }
}

/// Narrows an interval at whose upper end `holds` is true, and at whose lower end it is not. It takes at
/// most `rounds` halvings, and ends early where no float is left in between.
pub(super) fn bisect(
    mut low: f64,
    mut high: f64,
    rounds: u32,
    holds: impl Fn(f64) -> bool,
) -> (f64, f64) {
    for _ in 0..rounds {
        let middle = low + (high - low) / 2.0;
        if middle <= low || middle >= high {
            break;
        }
        if holds(middle) { high = middle } else { low = middle }
    }
    (low, high)
}
