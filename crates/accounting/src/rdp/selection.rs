//! The best of a random number of runs: hyperparameter tuning (Papernot & Steinke 2022, arXiv
//! 2110.03620).

use super::convert;
use super::numeric::round_up;

/// The distribution of the number of runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Runs {
    /// At least 1.
    pub(super) mean: f64,
    /// η; +∞ for the Poisson distribution.
    pub(super) shape: f64,
}

/// Upper bounds on the Rényi DP of the best of `runs`, from those of one run.
pub(super) fn best_of(orders: &[f64], once: &[f64], runs: Runs) -> Vec<f64> {
    // A divergence of 0 at one order means equal outputs, whatever is done with them.
    if once.contains(&0.0) {
        return vec![0.0; orders.len()];
    }
    let selected = if runs.shape == f64::INFINITY {
        poisson(orders, once, runs.mean)
    } else {
        negative_binomial(orders, once, runs)
    };
    monotone(orders, selected)
}

/// Theorem 2: if one run has divergence ε at λ and ε̂ at λ̂ ≥ 1, the best has at λ
///
/// ```text
/// ε + (1+η) (1 − 1/λ̂) ε̂ + (1+η) log(1/γ) / λ̂ + log E[K] / (λ−1)
/// ```
///
/// where γ is the parameter of the truncated negative binomial distribution of K. The best λ̂ is taken
/// for all orders at once. λ̂ = 1 needs no ε̂, and is exact if there is always one run. Why it holds: the
/// probability of an outcome is that of one run times a factor between f′(0) and f′(1) = E\[K\], where f is
/// the generating function of K, and f′(1)/f′(0) = γ^(−1−η).
fn negative_binomial(orders: &[f64], once: &[f64], runs: Runs) -> Vec<f64> {
    let log_inverse_gamma = log_inverse_gamma(runs);
    let overhead = orders
        .iter()
        .zip(once)
        .map(|(&order, &rdp)| (order - 1.0) / order * rdp + log_inverse_gamma / order)
        .fold(log_inverse_gamma, f64::min);
    let overhead = (1.0 + runs.shape) * overhead;
    let costs = orders.iter().zip(once);
    costs.map(|(&order, &rdp)| round_up(rdp + overhead + runs.mean.ln() / (order - 1.0))).collect()
}

/// Theorem 6: if one run has divergence ε at λ and is (ε̂, δ̂)-differentially private for
/// e^ε̂ ≤ 1 + 1/(λ−1), the best of a Poisson number of runs of mean μ has divergence ε + μ δ̂ + log μ /
/// (λ−1).
fn poisson(orders: &[f64], once: &[f64], mean: f64) -> Vec<f64> {
    orders
        .iter()
        .zip(once)
        .map(|(&order, &rdp)| {
            let less = order - 1.0;
            // Rounded down, because the condition bounds it from above.
            let epsilon = less.recip().ln_1p() * (1.0 - 4.0 * f64::EPSILON);
            let delta = convert::delta_from_log(convert::log_delta(orders, once, epsilon));
            round_up(rdp + mean * delta + mean.ln() / less)
        })
        .collect()
}

/// Divergences grow with the order, so a bound at one order is a bound at all smaller ones.
fn monotone(orders: &[f64], mut rdp: Vec<f64>) -> Vec<f64> {
    let mut falling: Vec<usize> = (0..orders.len()).collect();
    falling.sort_by(|&a, &b| orders[b].total_cmp(&orders[a]));
    let mut least = f64::INFINITY;
    for index in falling {
        least = least.min(rdp[index]);
        rdp[index] = least;
    }
    rdp
}

/// log(1/γ) for the truncated negative binomial distribution (Definition 1) of this mean and shape,
/// rounded up: the bound grows with it.
///
/// With L = log(1/γ) the mean is ((e^L − 1)/L) / ((1 − e^(−ηL))/(ηL)), which rises from 1 at L = 0; at
/// η = 0 it is the first factor, at η = 1 it is e^L.
fn log_inverse_gamma(runs: Runs) -> f64 {
    if runs.mean == 1.0 {
        return 0.0;
    }
    let reaches = |log: f64| {
        let mean = exp_m1_ratio(log) / exp_m1_ratio(-runs.shape * log);
        mean >= runs.mean * (1.0 + 1e-13)
    };
    let (mut low, mut high) = (0.0, 1.0);
    while !reaches(high) {
        low = high;
        high *= 2.0;
    }
    // `high` always reaches the mean. A large η can make L tiny, hence the relative criterion.
    for _ in 0..1200 {
        if high - low <= 1e-13 * high {
            break;
        }
        let middle = low + (high - low) / 2.0;
        if reaches(middle) { high = middle } else { low = middle }
    }
    high
}

/// (e^x − 1) / x.
fn exp_m1_ratio(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { x.exp_m1() / x }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mean: f64, shape: f64) -> f64 {
        log_inverse_gamma(Runs { mean, shape })
    }

    #[test]
    fn the_parameter_of_the_number_of_runs_is_found_and_rounded_up() {
        for mean in [1.0 + 1e-9, 1.5, 10.0, 1e6, 1e300] {
            // Geometric: the mean is 1/γ.
            let error = at(mean, 1.0) / mean.ln() - 1.0;
            assert!((0.0..1e-3).contains(&error) && (mean < 1.1 || error < 1e-11), "{error:e}");
            // Shape 2 has the mean 2 / (γ (1 + γ)).
            let gamma = (-at(mean, 2.0)).exp();
            let back = 2.0 / (gamma * (1.0 + gamma)) / mean - 1.0;
            assert!((-1e-15..1e-9).contains(&back), "{mean}: {back:e}");
        }
        assert_eq!(at(1.0, 0.0), 0.0);
        assert!(at(2.0, 1e300) < 1e-298 && at(2.0, 1e300) > 0.0);
        assert!(at(f64::MAX, 0.0).is_finite() && at(f64::MAX, f64::MAX).is_finite());
    }

    #[test]
    fn a_bound_at_a_larger_order_serves_the_smaller_ones() {
        assert_eq!(monotone(&[2.0, 8.0, 4.0], vec![5.0, 3.0, 1.0]), [1.0, 3.0, 1.0]);
    }
}
