//! Rough knowledge of a composition, by which the grid is chosen. Nothing here is a bound; a bad
//! estimate makes the answer slower or looser, never wrong.

use super::pair::LossPair;

/// One direction of a pair as some thousand atoms: losses and logs of their masses.
#[derive(Debug, Clone)]
pub(super) struct Atoms(Vec<(f64, f64)>);

/// The cumulant generating function log E e^(λL) and its first two derivatives.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cumulants {
    pub(super) log_moment: f64,
    pub(super) mean: f64,
    pub(super) variance: f64,
}

/// What is known about a composition near an ε: the tilt that moves its mean there, or the largest one
/// below. Where the tail is heavy the mean jumps from the bulk to the tail, and ε may lie in between.
#[derive(Debug, Clone, Copy)]
pub(super) struct Saddle {
    pub(super) tilt: f64,
    pub(super) epsilon: f64,
    /// log δ, by its leading term.
    pub(super) log_delta: f64,
    /// The standard deviation of the tilted composition.
    pub(super) deviation: f64,
}

impl Saddle {
    /// About how fast log δ falls with ε, but for rare large losses.
    pub(super) fn slope(&self) -> f64 {
        self.tilt + 1.0 / self.deviation.max(1e-12)
    }
}

/// Forward and backward atoms of a pair.
pub(super) fn atoms(pair: &dyn LossPair) -> (Atoms, Atoms) {
    let probes: Vec<_> = pair.probes().into_iter().map(|loss| (loss, pair.split(loss))).collect();
    let (mut forward, mut backward) = (Vec::new(), Vec::new());
    for cell in probes.windows(2) {
        let [(lowest, low), (highest, high)] = cell else { continue };
        let difference = |above: (f64, f64), below: (f64, f64)| {
            if above.0 < 0.5 { above.0 - above.1 } else { below.1 - below.0 }
        };
        let p = difference((low.above.p, high.above.p), (low.below.p, high.below.p));
        let q = difference((low.above.q, high.above.q), (low.below.q, high.below.q));
        // Far out one of them underflows; the cell's middle will do there.
        let ratio = p.ln() - q.ln();
        let loss = if ratio.is_finite() { ratio } else { lowest + (highest - lowest) / 2.0 };
        if p > 0.0 && loss.is_finite() {
            forward.push((loss, p.ln()));
        }
        if q > 0.0 && loss.is_finite() {
            backward.push((-loss, q.ln()));
        }
    }
    (Atoms(forward), Atoms(backward))
}

impl Cumulants {
    /// δ is about e^(K − λε) / (λ(λ+1) s √2π) where λs is large: log of the denominator, with 1 added for
    /// where it is not.
    fn log_spread(&self, tilt: f64) -> f64 {
        (1.0 + self.variance.sqrt() * 2.5 * tilt * (tilt + 1.0)).ln()
    }
}

impl Atoms {
    fn cumulants(&self, tilt: f64) -> Cumulants {
        let exponent = |&(loss, log_mass): &(f64, f64)| log_mass + tilt * loss;
        let largest = self.0.iter().map(exponent).fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for atom in &self.0 {
            let weight = (exponent(atom) - largest).exp();
            sum += weight;
            first += weight * atom.0;
            second += weight * atom.0 * atom.0;
        }
        let mean = first / sum;
        Cumulants {
            log_moment: largest + sum.ln(),
            mean,
            variance: (second / sum - mean * mean).max(0.0),
        }
    }
}

/// A composition: each direction's atoms with their counts.
pub(super) struct Estimate<'a>(pub(super) Vec<(&'a Atoms, f64)>);

impl Estimate<'_> {
    /// The saddle point for a δ: where the composition's δ, by its leading term, is about that.
    pub(super) fn at_delta(&self, delta: f64) -> Saddle {
        let log_delta = delta.ln();
        let leading = |tilt: f64| {
            let total = self.total(tilt);
            total.log_moment - tilt * total.mean - total.log_spread(tilt)
        };
        let tilt = self.largest_tilt(|tilt| leading(tilt) > log_delta);
        let total = self.total(tilt);
        let epsilon = if tilt > 0.0 {
            (total.log_moment - log_delta - total.log_spread(tilt)) / tilt
        } else {
            total.mean
        };
        Saddle { tilt, epsilon, log_delta, deviation: total.variance.sqrt() }
    }

    /// The saddle point for an ε.
    pub(super) fn at_epsilon(&self, epsilon: f64) -> Saddle {
        let tilt = self.largest_tilt(|tilt| self.total(tilt).mean < epsilon);
        let total = self.total(tilt);
        let log_delta = total.log_moment - tilt * epsilon - total.log_spread(tilt);
        Saddle { tilt, epsilon, log_delta: log_delta.min(0.0), deviation: total.variance.sqrt() }
    }

    /// The least tilt, in steps of a fourth root of two, for which e^(K − λε), to which rounding errors
    /// are relative, is at most e^`margin` times δ. Where the tail is heavy the distribution is much
    /// narrower under a smaller tilt than the saddle's.
    pub(super) fn gentlest_tilt(&self, saddle: &Saddle, margin: f64) -> f64 {
        let mut tilt = saddle.tilt;
        while tilt > 0.01 * saddle.tilt {
            let gentler = tilt * 0.5_f64.powf(0.25);
            let log_bound = self.total(gentler).log_moment - gentler * saddle.epsilon;
            if log_bound > saddle.log_delta + margin {
                break;
            }
            tilt = gentler;
        }
        tilt
    }

    /// About the largest tilt for which `below` holds, which it does up to some tilt; 0 for none.
    fn largest_tilt(&self, below: impl Fn(f64) -> bool) -> f64 {
        // Of a loss that hardly varies at all the variance underflows.
        let deviation = self.total(0.0).variance.sqrt().max(1e-100);
        let (mut low, mut high) = (1e-3 / deviation, 1.0 / deviation);
        // Rare large losses may take over long before one deviation.
        for _ in 0..20 {
            if below(low) {
                break;
            }
            (low, high) = (low / 4.0, low);
        }
        if !below(low) {
            return 0.0;
        }
        // A bounded loss has no saddle beyond its bound, and no float left to find one near it.
        for _ in 0..26 {
            if !below(high) {
                break;
            }
            (low, high) = (high, 2.0 * high);
        }
        // The tilt is kept to a fourth root of two anyway.
        for _ in 0..64 {
            if high <= 1.05 * low {
                break;
            }
            let middle = low * (high / low).sqrt();
            if below(middle) { low = middle } else { high = middle }
        }
        low
    }

    fn total(&self, tilt: f64) -> Cumulants {
        self.0.iter().fold(Cumulants::default(), |sum, (atoms, count)| {
            let once = atoms.cumulants(tilt);
            Cumulants {
                log_moment: sum.log_moment + count * once.log_moment,
                mean: sum.mean + count * once.mean,
                variance: sum.variance + count * once.variance,
            }
        })
    }
}
