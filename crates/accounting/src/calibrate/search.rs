//! Where a monotone function that is expensive to evaluate passes 0.

use std::ops::RangeInclusive;

use crate::error::Result;

/// The first stride in search of a bracket is at most this factor. The limit of each further stride is the
/// square of the limit before it.
const FIRST_STRIDE: f64 = 16.0;

/// How exact the answer must be, and on which side of the boundary the function is at most 0.
#[derive(Debug, Clone, Copy)]
pub(super) enum Snap {
    /// The function falls: the smallest number, to this relative accuracy.
    Above(f64),
    /// The function rises: the largest number, to this relative accuracy.
    Below(f64),
    /// The function rises: the largest integer.
    Integer,
}

/// A positive number with the function's value there.
#[derive(Debug, Clone, Copy)]
struct Sample {
    at: f64,
    value: f64,
}

/// The number in `range` closest to the boundary where `function` was computed to be at most 0;
/// `None` if it is above 0 on all of it. Starts from `start`.
///
/// Values may be infinite. The function need not be quite monotone (numerical accountants are not). The
/// answer is then still a number where the function is at most 0, next to a number where it is not.
pub(super) fn boundary(
    start: f64,
    range: RangeInclusive<f64>,
    snap: Snap,
    function: impl Fn(f64) -> Result<f64>,
) -> Result<Option<f64>> {
    let sample = |at| function(at).map(|value| Sample { at, value });
    let mut before = sample(start)?;
    // Go toward the boundary, by ever longer strides, until one has passed it.
    let upward = matches!(snap, Snap::Above(_)) == (before.value > 0.0);
    let end = if upward { *range.end() } else { *range.start() };
    let mut stride = FIRST_STRIDE;
    let mut slope = None;
    let after = loop {
        if before.at == end {
            return Ok(Some(before).filter(|end| end.value <= 0.0).map(|end| end.at));
        }
        let factor = reach(before.value, slope).clamp(2.0, stride);
        let next = if upward { before.at * factor } else { before.at / factor };
        let next = match snap {
            Snap::Integer => next.round(),
            _ => next,
        };
        let next = sample(next.clamp(*range.start(), *range.end()))?;
        if (next.value > 0.0) != (before.value > 0.0) {
            break next;
        }
        slope = Some(((next.value - before.value) / (next.at.ln() - before.at.ln())).abs());
        stride *= stride;
        before = next;
    };
    let (one, other) = narrow(after, before, snap, sample)?;
    Ok(Some(if one.value <= 0.0 { one.at } else { other.at }))
}

/// How far away the boundary is, as a factor and with a little to spare, if the function is a straight line
/// in logarithms. A slope that is not known is taken to be 1, because the slope of ε in the number of
/// steps, the rate and the noise is near 1.
fn reach(value: f64, slope: Option<f64>) -> f64 {
    let factor = (1.2 * value.abs() / slope.unwrap_or(1.0)).exp();
    if factor.is_nan() { f64::INFINITY } else { factor }
}

/// Narrows a bracket as far as `snap` asks for (Chandrupatla 1997). It works in the logarithm of the
/// argument: by interpolation where that is safe, and by bisection elsewhere.
fn narrow(
    mut newest: Sample,
    mut opposite: Sample,
    snap: Snap,
    sample: impl Fn(f64) -> Result<Sample>,
) -> Result<(Sample, Sample)> {
    let mut replaced = None;
    while let Some(at) = snap.between(newest.at, opposite.at, share(newest, opposite, replaced)) {
        let next = sample(at)?;
        if (next.value > 0.0) == (newest.value > 0.0) {
            replaced = Some(newest);
        } else {
            replaced = Some(opposite);
            opposite = newest;
        }
        newest = next;
    }
    Ok((newest, opposite))
}

/// Where to try next: a share of the way, in logarithms, from the newest to the opposite end.
fn share(newest: Sample, opposite: Sample, replaced: Option<Sample>) -> f64 {
    let (a, b) = (newest.value, opposite.value);
    let Some(Sample { at, value: c }) = replaced else {
        let secant = a / (a - b);
        return if secant.is_finite() { secant } else { 0.5 };
    };
    let ratio = (at.ln() - newest.at.ln()) / (opposite.at.ln() - newest.at.ln());
    // Chandrupatla's condition that inverse quadratic interpolation is monotone in the bracket; it
    // is false where a value is infinite.
    let (xi, phi) = (1.0 / (1.0 - ratio), (a - b) / (c - b));
    if phi * phi < xi && (1.0 - phi) * (1.0 - phi) < 1.0 - xi {
        a / (b - a) * (c / (b - c)) + ratio * (a / (c - a)) * (b / (c - b))
    } else {
        0.5
    }
}

impl Snap {
    /// A number this share of the way from one end of the bracket to the other; `None` if the bracket is
    /// narrow enough. The number keeps a small distance from both ends. If the boundary turns out to be
    /// within that distance of an end, the next bracket is narrow enough.
    fn between(self, one: f64, other: f64, share: f64) -> Option<f64> {
        let (low, high) = (one.min(other), one.max(other));
        let at = |share: f64| ((1.0 - share) * one.ln() + share * other.ln()).exp();
        match self {
            Self::Integer if high - low <= 1.0 => None,
            Self::Integer => Some(at(share).round().clamp(low + 1.0, high - 1.0)),
            Self::Above(tolerance) | Self::Below(tolerance) => {
                let step = (0.45 * tolerance / (high.ln() - low.ln())).min(0.5);
                let next = at(share.clamp(step, 1.0 - step));
                (high > low * (1.0 + tolerance) && low < next && next < high).then_some(next)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// The boundary that is found, and after how many evaluations.
    fn found(range: RangeInclusive<f64>, snap: Snap, f: impl Fn(f64) -> f64) -> (Option<f64>, u32) {
        let calls = Cell::new(0);
        let counted = |at| {
            calls.set(calls.get() + 1);
            assert!(range.contains(&at), "{at}");
            Ok(f(at))
        };
        (boundary(1.0, range.clone(), snap, counted).unwrap(), calls.get())
    }

    #[test]
    fn smooth_functions_take_few_evaluations() {
        for root in [1e-7, 0.03, 0.9, 1.0, 1.1, 40.0, 1e6] {
            for power in [0.5, 1.0, 2.0] {
                let fall = |at: f64| power * (root / at).ln();
                let (above, calls) = found(1e-12..=1e9, Snap::Above(1e-6), fall);
                let above = above.unwrap();
                assert!(above >= root * (1.0 - 1e-15) && above <= root * (1.0 + 1.1e-6), "{root}");
                assert!(calls <= 12, "{calls} evaluations for {root}");
                let (below, calls) = found(1e-12..=1e9, Snap::Below(1e-6), |at| -fall(at));
                let below = below.unwrap();
                assert!(below <= root * (1.0 + 1e-15) && below >= root * (1.0 - 1.1e-6), "{root}");
                assert!(calls <= 12, "{calls} evaluations for {root}");
            }
        }
    }

    #[test]
    fn jumps_and_infinities_end_at_the_boundary() {
        for root in [1e-9, 0.7, 3.0, 1e8] {
            for (low, high) in [(f64::INFINITY, f64::NEG_INFINITY), (1.0, 0.0), (1e-300, -5.0)] {
                let jump = |at: f64| if at < root { low } else { high };
                let (found, calls) = found(f64::MIN_POSITIVE..=1e9, Snap::Above(1e-6), jump);
                let found = found.unwrap();
                assert!(found >= root && found <= root * (1.0 + 1e-6), "{root}: {found}");
                assert!(calls < 60, "{calls}");
            }
        }
    }

    #[test]
    fn integers_are_exact() {
        for root in [1.0, 2.0, 3.0, 1000.0, 123_456_789.0, 9e15] {
            let rise =
                |at: f64| if at <= root { (at / root).ln().min(0.0) } else { at / root - 1.0 };
            let (most, calls) = found(1.0..=9_007_199_254_740_992.0, Snap::Integer, rise);
            assert_eq!(most, Some(root));
            assert!(calls < 60, "{calls}");
        }
        let (none, _) = found(1.0..=100.0, Snap::Integer, |_| 1.0);
        let (all, _) = found(1.0..=100.0, Snap::Integer, |_| f64::NEG_INFINITY);
        assert_eq!((none, all), (None, Some(100.0)));
    }

    #[test]
    fn ends_of_the_range_are_reached() {
        for snap in [Snap::Above(1e-6), Snap::Below(1e-6)] {
            assert_eq!(found(1e-9..=1e9, snap, |_| 1.0).0, None);
        }
        assert_eq!(found(1e-9..=1e9, Snap::Above(1e-6), |_| -1.0).0, Some(1e-9));
        assert_eq!(found(1e-9..=1e9, Snap::Below(1e-6), |_| -1.0).0, Some(1e9));
        assert_eq!(
            found(f64::MIN_POSITIVE..=1e9, Snap::Above(1e-6), |_| -1.0).0,
            Some(f64::MIN_POSITIVE)
        );
    }
}
