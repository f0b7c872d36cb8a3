//! Rough knowledge of a composition, by which the grid is chosen. Nothing here is a bound; a bad
//! estimate makes the answer slower or looser, never wrong.

use super::pair::{LossPair, Masses};
use crate::normal_tail::{mills, mills_slope};

/// A loss more than this many standard deviations of the sum below ε hardly ever raises the sum above ε.
const LOW: f64 = 8.0;

/// A loss more than this many standard deviations of the sum above ε nearly always raises the sum above ε.
const HIGH: f64 = 5.0;

/// One direction of a pair as some thousand atoms: losses, masses and their logs.
#[derive(Debug, Clone)]
pub(super) struct Atoms(Vec<Atom>);

#[derive(Debug, Clone, Copy)]
struct Atom {
    loss: f64,
    mass: f64,
    log_mass: f64,
}

/// The losses that are not rare: mean and standard deviation of their sum, and the largest standard
/// deviation of a single one.
#[derive(Debug, Clone, Copy)]
struct Spread {
    mean: f64,
    sum: f64,
    one: f64,
}

/// The cumulant generating function log E e^(λL) and its first two derivatives.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cumulants {
    pub(super) log_moment: f64,
    pub(super) mean: f64,
    pub(super) variance: f64,
}

/// What is known about a composition near an ε: the tilt that moves its mean to ε, or the largest tilt
/// whose mean is still below ε. Where the tail is heavy, the mean jumps from the bulk to the tail, and ε
/// may lie in between.
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
    /// About how fast log δ falls with ε, without rare large losses.
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
        let Masses { p, q } = low.up_to(high);
        // Far out one of them underflows; the cell's middle will do there.
        let ratio = p.ln() - q.ln();
        let loss = if ratio.is_finite() { ratio } else { lowest + (highest - lowest) / 2.0 };
        if p > 0.0 && loss.is_finite() {
            forward.push(Atom { loss, mass: p, log_mass: p.ln() });
        }
        if q > 0.0 && loss.is_finite() {
            backward.push(Atom { loss: -loss, mass: q, log_mass: q.ln() });
        }
    }
    (Atoms(forward), Atoms(backward))
}

impl Cumulants {
    /// −log of the factor by which δ differs from e^(K − λε). The factor is about E[e^(−λX)(1 − e^(−X));
    /// X > 0] for a normal X of the tilted deviation s. With Mills' ratio R, this is
    /// (R(λs) − R(λs + s))/√2π.
    fn log_spread(&self, tilt: f64) -> f64 {
        let deviation = self.variance.sqrt();
        let scaled = tilt * deviation;
        let difference = if deviation < 1e-3 {
            deviation * mills_slope(scaled + deviation / 2.0)
        } else {
            mills(scaled) - mills(scaled + deviation)
        };
        0.5 * (2.0 * core::f64::consts::PI).ln() - difference.max(1e-300).ln()
    }
}

impl Atoms {
    fn cumulants(&self, tilt: f64) -> Cumulants {
        let exponent = |atom: &Atom| atom.log_mass + tilt * atom.loss;
        let largest = self.0.iter().map(exponent).fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for atom in &self.0 {
            let weight = (exponent(atom) - largest).exp();
            sum += weight;
            first += weight * atom.loss;
            second += weight * atom.loss * atom.loss;
        }
        let mean = first / sum;
        Cumulants {
            log_moment: largest + sum.ln(),
            mean,
            variance: (second / sum - mean * mean).max(0.0),
        }
    }
}

/// One direction of a composition: the atoms of each pair, with their counts.
pub(super) struct Estimate<'a>(pub(super) Vec<(&'a Atoms, f64)>);

/// What is known near an ε, and the losses that matter there.
#[derive(Debug, Clone)]
pub(super) struct Near {
    pub(super) saddle: Saddle,
    /// Losses outside these bounds may as well lie at the bounds. A loss far above ε takes the sum above ε
    /// whatever the others are, so its size does not matter. The same holds for a loss far below.
    pub(super) bounds: (f64, f64),
    /// The largest standard deviation of one of the losses within the bounds.
    pub(super) deviation: f64,
    clamped: Vec<(Atoms, f64)>,
}

impl Estimate<'_> {
    /// What is known near the ε of a δ.
    pub(super) fn at_delta(&self, delta: f64) -> Near {
        // Start from the leading term alone. It is enough where no loss is rare and large.
        let plain: Vec<(Atoms, f64)> =
            self.0.iter().map(|&(atoms, count)| (atoms.clone(), count)).collect();
        let mut at = Composition(&plain).epsilon_at(delta).max(0.0);
        let log_delta = delta.ln();
        let largest = self.largest();
        // δ falls with ε.
        let (mut low, mut high) = (0.0, largest);
        for _ in 0..60 {
            let spread = self.spread(at);
            let error = self.log_delta(at, spread) - log_delta;
            if error > 0.0 {
                low = at
            } else {
                high = at
            }
            if error.abs() < 0.5 || high <= 1.02 * low || high <= 1e-16 * largest {
                break;
            }
            // Move by one standard deviation, or halve the interval in logarithms.
            let near = if error > 0.0 { at + spread.sum } else { at - spread.sum };
            let middle = if low > 0.0 { low * (high / low).sqrt() } else { high / 16.0 };
            at = if error.abs() < 10.0 && low < near && near < high { near } else { middle };
        }
        self.at_epsilon(at)
    }

    /// What is known near an ε.
    pub(super) fn at_epsilon(&self, epsilon: f64) -> Near {
        let spread = self.spread(epsilon);
        let rest = epsilon - spread.mean;
        let bounds = (
            -to_a_fourth_root_of_two(LOW * spread.sum - rest.min(0.0), f64::ceil),
            to_a_fourth_root_of_two(HIGH * spread.sum + rest.max(0.0), f64::ceil),
        );
        let clamped = self.clamped(bounds);
        let composition = Composition(&clamped);
        let tilt = composition.tilt_at(epsilon);
        let deviation = composition.total(tilt).variance.sqrt();
        let log_delta = self.log_delta(epsilon, spread);
        let saddle = Saddle { tilt, epsilon, log_delta, deviation };
        Near { saddle, bounds, deviation: spread.one, clamped }
    }

    /// The losses that are not rare, for an ε. Each round moves losses to the bounds that the spread of the
    /// round before gives, until the spread hardly shrinks.
    fn spread(&self, epsilon: f64) -> Spread {
        let mut bounds = (f64::NEG_INFINITY, f64::INFINITY);
        let mut spread = Spread { mean: 0.0, sum: f64::INFINITY, one: 0.0 };
        for _ in 0..40 {
            let (mut mean, mut variance, mut one) = (0.0, 0.0, 0.0_f64);
            for (atoms, count) in &self.0 {
                let (first, second) = atoms.moments_within(bounds);
                mean += count * first;
                variance += count * second;
                one = one.max(second.sqrt());
            }
            let before = spread.sum;
            spread = Spread { mean, sum: variance.sqrt(), one };
            let rest = epsilon - mean;
            bounds = (rest.min(0.0) - LOW * spread.sum, rest.max(0.0) + HIGH * spread.sum);
            if spread.sum.is_nan() || spread.sum >= 0.99 * before {
                break;
            }
        }
        spread
    }

    /// About log δ, from two parts: the sum without rare large losses exceeds ε, or one of these losses is
    /// large enough.
    fn log_delta(&self, epsilon: f64, spread: Spread) -> f64 {
        let rest = (epsilon - spread.mean).max(0.0);
        let rare = rest + 0.5 * spread.sum;
        let bulk = self.clamped((rest.min(0.0) - LOW * spread.sum, rare));
        let composition = Composition(&bulk);
        let tilt = composition.tilt_at(epsilon);
        let total = composition.total(tilt);
        let bulk = total.log_moment - tilt * epsilon - total.log_spread(tilt);
        let jump: f64 = self.0.iter().map(|(atoms, count)| count * atoms.above(rest, rare)).sum();
        (bulk.exp() + jump).ln().max(bulk).clamp(-690.0, 0.0)
    }

    fn clamped(&self, bounds: (f64, f64)) -> Vec<(Atoms, f64)> {
        self.0.iter().map(|&(atoms, count)| (atoms.clamped(bounds), count)).collect()
    }

    /// The largest possible sum of losses.
    fn largest(&self) -> f64 {
        let largest = |(atoms, count): &(&Atoms, f64)| {
            count * atoms.0.iter().map(|atom| atom.loss).fold(0.0, f64::max)
        };
        self.0.iter().map(largest).sum()
    }
}

impl Near {
    /// As [`Composition::gentlest_tilt`].
    pub(super) fn gentlest_tilt(&self, saddle: &Saddle, margin: f64) -> f64 {
        Composition(&self.clamped).gentlest_tilt(saddle, margin)
    }
}

impl Atoms {
    /// Mean and variance of the losses. Those outside the bounds are moved to the bounds, or in part to
    /// infinity.
    fn moments_within(&self, (low, high): (f64, f64)) -> (f64, f64) {
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for atom in &self.0 {
            let (loss, mass) = if atom.loss > high {
                (high, atom.mass * (high - atom.loss).exp())
            } else {
                (atom.loss.max(low), atom.mass)
            };
            sum += mass;
            first += mass * loss;
            second += mass * loss * loss;
        }
        let (mean, square) = if sum > 0.0 { (first / sum, second / sum) } else { (0.0, 0.0) };
        (mean, (square - mean * mean).max(0.0))
    }

    /// These atoms, with the losses outside two bounds moved to the bounds in the way that connecting the
    /// dots does.
    fn clamped(&self, (low, high): (f64, f64)) -> Self {
        let mut atoms: Vec<Atom> =
            self.0.iter().filter(|atom| low < atom.loss && atom.loss < high).copied().collect();
        let (mut bottom, mut top) = (0.0, 0.0);
        for atom in &self.0 {
            if atom.loss >= high {
                top += atom.mass * (high - atom.loss).exp();
            } else if atom.loss <= low {
                bottom += atom.mass;
            }
        }
        for (loss, mass) in [(low, bottom), (high, top)] {
            if mass > 0.0 {
                atoms.push(Atom { loss, mass, log_mass: mass.ln() });
            }
        }
        Self(atoms)
    }

    /// The part of a single loss's δ at ε that comes from losses above `least`.
    fn above(&self, epsilon: f64, least: f64) -> f64 {
        let above = self.0.iter().filter(|atom| atom.loss > least);
        above.map(|atom| atom.mass * -(epsilon - atom.loss).exp_m1()).sum()
    }
}

/// Losses with their counts.
struct Composition<'a>(&'a [(Atoms, f64)]);

impl Composition<'_> {
    /// The ε whose δ is about `delta`, by the leading term.
    fn epsilon_at(&self, delta: f64) -> f64 {
        let log_delta = delta.ln();
        let leading = |tilt: f64| {
            let total = self.total(tilt);
            total.log_moment - tilt * total.mean - total.log_spread(tilt)
        };
        let tilt = self.largest_tilt(|tilt| leading(tilt) > log_delta);
        let total = self.total(tilt);
        if tilt > 0.0 {
            (total.log_moment - log_delta - total.log_spread(tilt)) / tilt
        } else {
            total.mean
        }
    }

    /// The saddle point for an ε.
    fn tilt_at(&self, epsilon: f64) -> f64 {
        self.largest_tilt(|tilt| self.total(tilt).mean < epsilon)
    }

    /// The least tilt, in steps of a fourth root of two, for which e^(K − λε) is at most e^`margin` times
    /// δ. Rounding errors are relative to e^(K − λε), hence the limit. Where the tail is heavy, the
    /// distribution is much narrower under a smaller tilt than the saddle's.
    fn gentlest_tilt(&self, saddle: &Saddle, margin: f64) -> f64 {
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

    /// About the largest tilt for which `below` holds; 0 if there is none. It must hold up to some tilt,
    /// and not above it.
    fn largest_tilt(&self, below: impl Fn(f64) -> bool) -> f64 {
        // The variance of a loss that hardly varies may underflow.
        let deviation = self.total(0.0).variance.sqrt().max(1e-100);
        let (mut low, mut high) = (1e-3 / deviation, 1.0 / deviation);
        // Rare large losses may take over at far smaller tilts than one over the deviation.
        for _ in 0..20 {
            if below(low) {
                break;
            }
            (low, high) = (low / 4.0, low);
        }
        if !below(low) {
            return 0.0;
        }
        // A bounded loss has no saddle beyond its bound, and close to the bound there are too few floats to
        // find one.
        for _ in 0..26 {
            if !below(high) {
                break;
            }
            (low, high) = (high, 2.0 * high);
        }
        // The tilt is rounded to a fourth root of two anyway.
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
        self.0.iter().fold(Cumulants::default(), |sum, (part, count)| {
            let once = part.cumulants(tilt);
            Cumulants {
                log_moment: sum.log_moment + count * once.log_moment,
                mean: sum.mean + count * once.mean,
                variance: sum.variance + count * once.variance,
            }
        })
    }
}

/// Rounds to a power of the fourth root of two, so that nearby numbers become the same.
pub(super) fn to_a_fourth_root_of_two(x: f64, rounded: impl Fn(f64) -> f64) -> f64 {
    (rounded(4.0 * x.log2()) / 4.0).exp2()
}
