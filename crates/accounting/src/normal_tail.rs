//! The normal distribution's tail, in forms that neither overflow nor cancel.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2};

/// From here on the continued fraction is used; [`DEPTH`] terms of it are enough for all digits.
const FAR: f64 = 2.5;

/// Terms of the continued fraction.
const DEPTH: u32 = 60;

/// Φ(x), the standard normal distribution function, to a few units in the last place.
pub(super) fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// Mills' ratio R(x) = Φ(−x) / φ(x) = ∫₀^∞ e^(−xv − v²/2) dv; overflows to +∞ below about −38.
pub(super) fn mills(x: f64) -> f64 {
    if x < FAR {
        // √(π/2)·erfcx(x/√2), and neither factor is extreme here.
        FRAC_PI_2.sqrt() * libm::erfc(x * FRAC_1_SQRT_2) * (0.5 * x * x).exp()
    } else {
        1.0 / (x + mills_remainder(x))
    }
}

/// −R′(x) = 1 − x·R(x) = ∫₀^∞ v·e^(−xv − v²/2) dv, which is positive.
pub(super) fn mills_slope(x: f64) -> f64 {
    if x < FAR {
        1.0 - x * mills(x)
    } else {
        // With R = 1/(x + K): 1 − x·R = K/(x + K), without the cancellation.
        let remainder = mills_remainder(x);
        remainder / (x + remainder)
    }
}

/// K(x) = 1/(x + 2/(x + 3/(x + …))), Laplace's continued fraction R = 1/(x + K), from the inside out.
fn mills_remainder(x: f64) -> f64 {
    (1..=DEPTH).rev().fold(0.0, |inner, k| f64::from(k) / (x + inner))
}

/// The first number for which `holds` is true; +∞ if there is none. Tries `epsilon`, then ever larger
/// numbers.
///
/// This turns a solution in real numbers into one that holds in floating point.
pub(super) fn raised_until(epsilon: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let (mut epsilon, mut step) = (epsilon, 2.0 * f64::EPSILON);
    while epsilon < f64::INFINITY && !holds(epsilon) {
        epsilon = (epsilon * (1.0 + step)).max(f64::MIN_POSITIVE);
        step *= 2.0;
    }
    epsilon
}

#[cfg(test)]
mod tests {
    use super::*;

    /// mpmath 1.3, 40 digits: x, Φ(−x)/φ(x), 1 − x·Φ(−x)/φ(x).
    const MILLS: [(f64, f64, f64); 21] = [
        (-30.0, 6.785889613061118e195, 2.0357668839183357e197),
        (-5.0, 672621.6367228793, 3363109.1836143965),
        (-1.0, 3.4770518117036944, 4.477051811703695),
        (-0.25, 1.548372621547658, 1.3870931553869146),
        (0.0, 1.2533141373155003, 1.0),
        (1e-3, 1.252314763639392, 0.9987476852363606),
        (0.5, 0.8763644564536923, 0.5618177717731538),
        (1.0, 0.6556795424187984, 0.34432045758120156),
        (1.75, 0.4643069280394422, 0.1874628759309762),
        (2.25, 0.3851482907984346, 0.1334163457035221),
        (2.4999, 0.35427654539408115, 0.11434406416933665),
        (2.5, 0.35426511132979366, 0.11433722167551583),
        (2.75, 0.32767831469055203, 0.09888463460098185),
        (3.0, 0.3045902987101033, 0.08622910386969011),
        (4.0, 0.23665238291356067, 0.053390468345757315),
        (6.5, 0.1504369887362691, 0.022159573214250952),
        (10.0, 0.09902859647173193, 0.009714035282680786),
        (38.0, 0.026297602974252963, 0.0006910869783873536),
        (1e3, 0.0009999990000029999, 9.99997000015e-07),
        (1e8, 9.999999999999999e-09, 9.999999999999997e-17),
        (1e150, 1e-150, 1e-300),
    ];

    #[test]
    fn mills_ratio_and_slope_have_all_digits() {
        for (x, ratio, slope) in MILLS {
            let errors = [mills(x) / ratio - 1.0, mills_slope(x) / slope - 1.0];
            assert!(errors.iter().all(|e| e.abs() < 2e-14), "{x}: {errors:?}");
        }
    }
}
