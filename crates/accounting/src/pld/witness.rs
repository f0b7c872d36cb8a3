//! Lower bounds on ε from tests whose errors are known in closed form.
//!
//! (ε, δ)-differential privacy says that every test obeys TPR <= e^ε·FPR + δ, so every test proves
//! ε >= log((TPR − δ)/FPR). The proof holds whichever thresholds are tried.

use super::pair::{LossPair, Masses, Shift};
use super::part::Part;
use crate::normal_tail::mills;

/// One in this many probes of a pair is a threshold.
const STRIDE: usize = 4;

/// The probabilities that are tried for the event that fewer records were drawn than a test counts on.
const UNLIKELY: [f64; 4] = [0.5, 0.05, 1e-3, 1e-9];

/// The largest ε that one of the tests refutes, rounded down; at least 0.
///
/// A test may look at one part and ignore the outputs of the others.
pub(super) fn epsilon(parts: &[Part], delta: f64) -> f64 {
    let of = |part: &Part| {
        let pair = part.pair.as_ref();
        let sum = pair.shift().map_or(0.0, |shift| sum_epsilon(&shift, part.count as f64, delta));
        some_epsilon(pair, part.count, delta).max(sum)
    };
    parts.iter().filter(|part| has_all_digits(part.pair.as_ref())).map(of).fold(0.0, f64::max)
}

/// Whether the pair's tails are as exact as closed forms assume. With many records they are not, because
/// the rounding of the logarithms of binomial coefficients shows.
pub(super) fn has_all_digits(pair: &dyn LossPair) -> bool {
    pair.shift().is_none_or(|shift| shift.records <= 16.0)
}

/// The tests "some run's loss is above ℓ" and "some run's loss is below ℓ", over all runs and over a single
/// one.
fn some_epsilon(pair: &dyn LossPair, count: u64, delta: f64) -> f64 {
    let mut best = 0.0_f64;
    for loss in pair.probes().into_iter().step_by(STRIDE) {
        let split = pair.split(loss);
        for one in [split.above, split.below.swapped()] {
            for runs in [1, count] {
                best = best.max(proven(any(one.cautious(), runs), delta));
            }
        }
    }
    best
}

/// The probabilities that some run has an outcome, from the outcome's probabilities in one run.
fn any(one: Masses, count: u64) -> Masses {
    let any = |mass: f64| -(count as f64 * (-mass.min(1.0)).ln_1p()).exp_m1();
    Masses { p: any(one.p) * (1.0 - 1e-13), q: (any(one.q) * (1.0 + 1e-13)).min(1.0) }
}

fn proven(test: Masses, delta: f64) -> f64 {
    // More than the rounding of the logarithm.
    let epsilon = ((test.p - delta * (1.0 + 1e-15)) / test.q).ln();
    if epsilon > 0.0 { (epsilon - 1e-13 * (1.0 + epsilon)).max(0.0) } else { 0.0 }
}

/// The test "the outputs add up to more than t". In `count` runs at least `least` records are in the
/// batches with probability 1 − η at least, by the bounds of Chernoff and of Bernstein.
fn sum_epsilon(shift: &Shift, count: f64, delta: f64) -> f64 {
    let draws = shift.records * count;
    let deviation = count.sqrt() * shift.z;
    let mut best = 0.0_f64;
    for eta in UNLIKELY {
        let (mean, rest, log) = (draws * shift.rate, draws * (1.0 - shift.rate), -f64::ln(eta));
        let chernoff = mean - (2.0 * mean * log).sqrt();
        let bernstein = draws - (rest + (2.0 * rest * log).sqrt() + 2.0 / 3.0 * log);
        // There cannot be fewer than 0 records.
        let least = chernoff.max(bernstein).max(0.0) * (1.0 - 1e-12);
        let moved = least / deviation * (1.0 - 1e-12);
        for step in -80..=80 {
            // t is y standard deviations above the records' sum.
            let y = f64::from(step) * 0.1;
            let power = (1.0 - eta) * 0.5 * libm::erfc(y * core::f64::consts::FRAC_1_SQRT_2);
            let power = power * (1.0 - 1e-12) - delta;
            let log_false = log_tail(y + moved);
            let epsilon = power.ln() - log_false;
            if epsilon > 0.0 {
                let rounded = 1e-12 * (1.0 + log_false.abs());
                best = best.max(epsilon - rounded);
            }
        }
    }
    best
}

/// log Φ(−x).
fn log_tail(x: f64) -> f64 {
    if x < 1.0 {
        (0.5 * libm::erfc(x * core::f64::consts::FRAC_1_SQRT_2)).ln()
    } else {
        mills(x).ln() - 0.5 * x * x - 0.5 * (2.0 * core::f64::consts::PI).ln()
    }
}
