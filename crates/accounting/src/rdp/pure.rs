//! Rényi divergence of pure differential privacy and of the Laplace mechanism.
//!
//! Every ε-differentially private pair of outputs is a post-processing of randomized response, which
//! answers the truth with odds e^ε : 1 (Kairouz, Oh & Viswanath 2015, arXiv 1311.0776). So its divergence
//! is the exact worst case:
//!
//! ```text
//! D_α = log((e^(αε) + e^((1−α)ε)) / (1 + e^ε)) / (α−1)
//! ```
//!
//! With L = e^ε the argument of the logarithm is 1 + (L^α − 1)(1 − L^(1−α)) / (1 + L), where nothing
//! cancels. This form is evaluated.

use super::numeric::{log_1p_exp, log_exp_m1, round_up};

/// Upper bound for any ε-differentially private mechanism.
pub(super) fn pure(order: f64, epsilon: f64) -> f64 {
    two_point(order, epsilon, epsilon)
}

/// Upper bound for an ε-differentially private mechanism on a sample that contains the record in
/// question with probability `rate`.
///
/// Let the mechanism be ε-differentially private between *any two* of these: the batch with the record,
/// the same batch in the neighboring data set, and the batch without it (under sampling of fixed size:
/// with another record in its place). Then privacy amplification (Balle, Barthe & Gaboardi 2018, arXiv
/// 1807.01647) says that the sampled mechanism is (ε′, q δ(ε₀))-differentially private for every
/// ε₀ ≥ 0, with e^ε′ = 1 + q (e^ε₀ − 1) and δ the privacy profile of randomized response, in both
/// directions. The Rényi moment is an integral over that profile: with f(t) = t^α − 1 − α(t − 1),
///
/// ```text
/// ∫ P^α Q^(1−α) − 1 = ∫_1^∞ f″(t) H_t(P‖Q) dt + ∫_1^∞ t^(−3) f″(1/t) H_t(Q‖P) dt
///                   ≤ E[1{L > 1} (f(L) + L f(1/L))],   H_t(P‖Q) = ∫ (P − t Q)⁺
/// ```
///
/// where L = 1 + q (e^ε − 1) with probability 1/(1 + e^ε) and L < 1 otherwise. Since f(L) + L f(1/L) =
/// (L^α − 1)(1 − L^(1−α)), this is the divergence of randomized response at log L, but with the smaller
/// probability.
pub(super) fn sampled(order: f64, rate: f64, epsilon: f64) -> f64 {
    two_point(order, amplified(rate, epsilon), epsilon)
}

/// log(1 + q (e^ε − 1)), rounded up.
pub(super) fn amplified(rate: f64, epsilon: f64) -> f64 {
    round_up(log_1p_exp(rate.ln() + log_exp_m1(epsilon))).min(epsilon)
}

/// log(1 + (L^α − 1)(1 − L^(1−α)) / (1 + e^odds)) / (α−1) for L = e^loss, loss ≤ odds.
///
/// It is never above `loss`, which is a bound at every order. Where the loss is tiny, the divergence would
/// underflow; α·loss²/2 (Bun & Steinke 2016, arXiv 1605.02065) is a bound too.
fn two_point(order: f64, loss: f64, odds: f64) -> f64 {
    if loss == 0.0 || loss == f64::INFINITY {
        return loss;
    }
    let concentrated = round_up(order * loss / 2.0 * loss);
    if loss < 1e-100 {
        return concentrated.min(loss);
    }
    let less = order - 1.0;
    // L (L^(α−1) − 1)(1 − L^(−α)) / (1 + e^odds), and L / (1 + e^odds) = e^(loss − odds) / (1 + e^−odds).
    let log_excess = log_exp_m1(less * loss) + (loss - odds) + (-(-order * loss).exp_m1()).ln()
        - (-odds).exp().ln_1p();
    round_up(log_1p_exp(log_excess) / less).min(concentrated).min(loss)
}

/// Upper bound for Laplace noise of scale b on sums that differ by ε·b in L1 norm.
///
/// ```text
/// D_α = log((α e^((α−1)ε) + (α−1) e^(−αε)) / (2α−1)) / (α−1)
/// ```
///
/// (Mironov 2017, arXiv 1702.07476, Proposition 6). The logarithm is convex in ε and 0 at ε = 0, so of all
/// vectors of this L1 norm, those with a single entry cost most. For ψ(x) = e^x − 1 − x its argument is
/// 1 + (α ψ((α−1)ε) + (α−1) ψ(−αε)) / (2α−1), where nothing cancels.
pub(super) fn laplace(order: f64, epsilon: f64) -> f64 {
    if epsilon == 0.0 || epsilon == f64::INFINITY {
        return epsilon;
    }
    let less = order - 1.0;
    let (up, down) = (less * epsilon, order * epsilon);
    let total = order + less;
    let log_moment = if up > 1.0 {
        up + ((order + less * (-(up + down)).exp()) / total).ln()
    } else {
        ((order * exp_beyond_line(up) + less * exp_beyond_line(-down)) / total).ln_1p()
    };
    round_up(log_moment / less).min(pure(order, epsilon))
}

/// e^x − 1 − x without cancellation.
fn exp_beyond_line(x: f64) -> f64 {
    if x.abs() > 0.5 {
        return x.exp_m1() - x;
    }
    let (mut term, mut sum, mut k) = (x * x / 2.0, 0.0, 2.0);
    while k < 20.0 {
        sum += term;
        k += 1.0;
        term *= x / k;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From mpmath 1.3.0 with 60 digits.
    #[test]
    fn both_formulas_keep_their_digits() {
        for (order, epsilon, exact_pure, exact_laplace) in PRECISE {
            for (ours, exact) in
                [(pure(order, epsilon), exact_pure), (laplace(order, epsilon), exact_laplace)]
            {
                let error = ours / exact - 1.0;
                assert!((-1e-15..3e-12).contains(&error), "{order} {epsilon}: {error:e}");
            }
        }
    }

    /// Order, ε, randomized response, Laplace.
    const PRECISE: [(f64, f64, f64, f64); 10] = [
        (1.0000001, 1e-12, 5.0000005000000005e-25, 5.000000499998334e-25),
        (1.01, 1e-06, 5.049999999999571e-13, 5.049998316667079e-13),
        (1.01, 700.0, 700.0, 699.0147703556988),
        (1.5, 0.3, 0.06626541203471702, 0.06063687185992829),
        (2.0, 1e-09, 1e-18, 9.999999996666669e-19),
        (2.5, 3.0, 2.967612528413157, 2.686666704849921),
        (64.0, 0.001, 3.1978516430464904e-05, 3.196787225961084e-05),
        (1024.0, 0.01, 0.009327312141525282, 0.009322914194745974),
        (1024.0, 700.0, 700.0, 699.9993229141935),
        (16384.0, 1e-05, 8.155612051892476e-07, 8.155585035394439e-07),
    ];
}
