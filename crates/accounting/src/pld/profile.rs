//! The composed loss distribution and its privacy profile δ(ε).
//!
//! Grids are composed by Fourier transform, after an exponential tilt: each mass is multiplied by
//! e^(λL − K(λ)). The tilt composes as well, and is undone afterward. It moves the losses near the ε of
//! interest to the middle of the distribution. Rounding errors of the transform, and what a finite window
//! wraps around, are then relative to δ instead of to 1, so that a δ of 1e-15 is as exact as one of 1e-5.
//! (Grübel & Hermesmeier 1999 do this for compound losses in insurance.)

use realfft::RealFftPlanner;
use realfft::num_complex::Complex;

use super::grid::Grid;
use super::numeric::bisect;
use super::pair::Masses;

/// The longest window, in grid points.
pub(super) const LONGEST: usize = 1 << 20;

/// Bounds the relative rounding error of a transform, in units of ε · log2(length): the usual bound for
/// decimation in time with accurate twiddle factors has a factor of about 4 (Higham, Accuracy and
/// Stability of Numerical Algorithms, chapter 24).
const TRANSFORM_ERROR: f64 = 4.0;

/// Which side the computed δ is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Upper,
    Lower,
}

/// δ as a function of ε, for a composition of grids.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    tilt: f64,
    /// log of what undoes the tilt: K(λ) of the composition.
    log_scale: f64,
    step: f64,
    /// The loss of the first entry.
    lowest: f64,
    /// At each loss ℓⱼ: Σ over i >= j of the tilted mass times e^(−λ(ℓᵢ−ℓⱼ)).
    mass: Vec<f64>,
    /// The same with each term times 1 − e^(ℓⱼ−ℓᵢ): δ(ℓⱼ) without its factor e^(K − λℓⱼ).
    dots: Vec<f64>,
    /// Below this, losses are missing and δ is not known.
    complete_from: f64,
    /// Probabilities of what is not in the window, under both distributions: P − e^ε·Q is added to δ.
    beyond: Masses,
    /// Tilted probability that may have been wrapped around to where it does not belong. A lower bound
    /// leaves it out.
    wrapped: f64,
    /// How far rounding in the transform may move δ(ε), without its factor e^(K − λε).
    rounding: f64,
}

/// Which part of a composition is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct View {
    pub(super) tilt: f64,
    /// log of the tilted probability that may lie outside the window at each end.
    pub(super) log_outside: f64,
    /// The window reaches up to here, even if there is no mass.
    pub(super) reach: f64,
}

/// One grid and how often it is composed.
pub(super) type Counted<'a> = (&'a Grid, u64);

/// A grid under the tilt: what it is multiplied by, and the result.
struct Tilted<'a> {
    grid: &'a Grid,
    count: f64,
    log_moment: f64,
    masses: Vec<f64>,
    mean: f64,
    variance: f64,
}

impl Profile {
    /// Composes grids of one common step. `None` where that takes a window of more than [`LONGEST`].
    pub(super) fn new(parts: &[Counted<'_>], view: View, bound: Bound) -> Option<Self> {
        let View { tilt, log_outside, reach } = view;
        let step = parts.first().map_or(1.0, |(grid, _)| grid.step);
        let tilted: Vec<Tilted<'_>> =
            parts.iter().map(|&(grid, count)| Tilted::new(grid, count, tilt)).collect();
        let sum = |of: &dyn Fn(&Tilted<'_>) -> f64| tilted.iter().map(of).sum::<f64>();
        let offset = sum(&|part| part.count * part.grid.offset);
        let window = Window::around(&tilted, log_outside, (reach - offset) / step)?;
        let (composed, error) = convolve(&tilted, parts, window);
        let rounding = error.of_delta(tilt, step, composed.len());

        let log_scale = sum(&|part| part.count * part.log_moment);
        let total_count = sum(&|part| part.count);
        // Every mass, moment and product below is off by a few units in the last place.
        let allowance =
            1e-13 + 64.0 * f64::EPSILON * total_count + 4.0 * f64::EPSILON * log_scale.abs();
        // The shares of the cells are computed from differences of tails. Their errors cancel, except for a
        // few units in the last place of 1. These move the mean of each loss by as much.
        let size = |part: &Tilted<'_>| step * (part.mean.abs() + part.variance.sqrt());
        let drift = sum(&|part| part.count * 4.0 * f64::EPSILON * (1.0 + size(part)));
        let drift = if bound == Bound::Upper { drift } else { -drift };
        let lowest = window.first as f64 * step + offset + drift;

        let count = composed.len();
        let (mut mass, mut dots) = (vec![0.0; count], vec![0.0; count]);
        let (fall, fall_more, rise) = ((-tilt * step).exp(), (-step).exp(), -(-step).exp_m1());
        let (mut mass_above, mut dots_above) = (0.0, 0.0);
        for index in (0..count).rev() {
            let own = composed[index].max(0.0);
            dots_above = fall * (fall_more * dots_above + rise * mass_above);
            mass_above = own + fall * mass_above;
            (mass[index], dots[index]) = (mass_above, dots_above);
        }

        let highest = lowest + (count as f64 - 1.0) * step;
        let above = (log_scale + log_outside - tilt * highest).exp();
        // The probability that the outcome of some run is beyond the grid.
        let any = |of: &dyn Fn(&Grid) -> f64, slack: f64| {
            let none = sum(&|part| part.count * (-of(part.grid).min(1.0)).ln_1p());
            -none.exp_m1() * (1.0 + slack)
        };
        let (any_p, any_q) = (|grid: &Grid| grid.beyond.p, |grid: &Grid| grid.beyond.q);
        let (allowance, beyond, wrapped) = match bound {
            Bound::Upper => (allowance, Masses { p: any(&any_p, 1e-13) + above, q: 0.0 }, 0.0),
            Bound::Lower => {
                let beyond = Masses { p: any(&any_p, -1e-13), q: any(&any_q, 1e-13) };
                (-allowance, beyond, 2.0 * log_outside.exp())
            }
        };
        let log_scale = log_scale + allowance;
        let support = sum(&|part| part.count * part.grid.first as f64);
        let all = window.first as f64 <= support;
        let complete_from = if all { f64::NEG_INFINITY } else { lowest };
        Some(Self {
            tilt,
            log_scale,
            step,
            lowest,
            mass,
            dots,
            complete_from,
            beyond,
            wrapped,
            rounding,
        })
    }

    /// How many losses the window holds.
    pub(super) fn len(&self) -> usize {
        self.mass.len()
    }

    /// The profile that promises nothing.
    pub(super) fn trivial() -> Self {
        Self {
            tilt: 0.0,
            log_scale: 0.0,
            step: 1.0,
            lowest: 0.0,
            mass: Vec::new(),
            dots: Vec::new(),
            complete_from: f64::NEG_INFINITY,
            beyond: Masses { p: 1.0, q: 0.0 },
            wrapped: 0.0,
            rounding: 0.0,
        }
    }

    /// Whether the window is too far up to say anything at an ε.
    pub(super) fn misses(&self, epsilon: f64) -> bool {
        epsilon <= self.complete_from
    }

    /// δ at an ε.
    pub(super) fn delta(&self, epsilon: f64) -> f64 {
        let is_lower_bound = self.wrapped > 0.0;
        if epsilon < self.complete_from && !is_lower_bound {
            return 1.0;
        }
        // δ falls with ε, so below the window a lower bound says what it says at the window's end.
        let epsilon = if is_lower_bound { epsilon.max(self.lowest) } else { epsilon };
        // The first grid point that is not below ε.
        let index = ((epsilon - self.lowest) / self.step).ceil().max(0.0) as usize;
        let (Some(mass), Some(dots)) = (self.mass.get(index), self.dots.get(index)) else {
            return self.beyond(epsilon).min(1.0);
        };
        let loss = self.loss(index);
        let undo = |loss: f64| (self.log_scale - self.tilt * loss).exp();
        let inside =
            undo(loss) * ((epsilon - loss).exp() * dots - (epsilon - loss).exp_m1() * mass);
        // At worst, what was wrapped around and what rounding moved lies above ε. For a lower bound,
        // rounding counts twice, because clamping masses at zero has rounded it up once more.
        let delta = if is_lower_bound {
            let inside = inside - (self.wrapped + 2.0 * self.rounding) * undo(epsilon);
            inside.max(0.0) + self.beyond(epsilon)
        } else {
            inside + self.rounding * undo(epsilon) + self.beyond(epsilon)
        };
        // NaN becomes 1.
        if delta < 1.0 { delta.max(0.0) } else { 1.0 }
    }

    fn beyond(&self, epsilon: f64) -> f64 {
        let Masses { p, q } = self.beyond;
        if q > 0.0 { (p - epsilon.exp() * q * (1.0 + 1e-14)).max(0.0) } else { p }
    }

    /// Whether the allowance for rounding is more than a thousandth of δ, or nothing is known.
    pub(super) fn is_rough(&self, epsilon: f64) -> bool {
        let rounding = self.rounding * (self.log_scale - self.tilt * epsilon).exp();
        self.misses(epsilon) || rounding > 1e-3 * self.delta(epsilon)
    }

    /// How fast log δ falls with ε, by the difference over one step.
    pub(super) fn slope(&self, epsilon: f64) -> f64 {
        let ratio = self.delta(epsilon) / self.delta(epsilon + self.step);
        if ratio.is_finite() { ratio.ln().max(0.0) / self.step } else { 0.0 }
    }

    /// The smallest ε >= 0 with δ(ε) at most `delta`, rounded up; +∞ if there is none.
    pub(super) fn epsilon(&self, delta: f64) -> f64 {
        if self.delta(0.0) <= delta {
            return 0.0;
        }
        let highest = self.loss(self.mass.len().saturating_sub(1));
        if self.delta(highest) > delta {
            return f64::INFINITY;
        }
        self.bisect(0.0, highest, delta).1
    }

    /// For a lower bound: an ε >= 0 with δ(ε) not below `delta`; 0 if there is none.
    ///
    /// Far below the middle of the window the bound on what was wrapped around swamps everything, so the
    /// search starts from above.
    pub(super) fn epsilon_below(&self, delta: f64) -> f64 {
        let highest = self.loss(self.mass.len().saturating_sub(1));
        if self.beyond(highest) > delta {
            let far = ((self.beyond.p - delta) / self.beyond.q).ln() * (1.0 - 1e-12) - 1e-12;
            return far.clamp(highest, f64::MAX).max(0.0);
        }
        let above = |&index: &usize| self.delta(self.loss(index)) > delta;
        match (0..self.mass.len()).rev().find(above) {
            None => 0.0,
            Some(index) => {
                let loss = self.loss(index);
                self.bisect(loss, loss + self.step, delta).0.max(0.0)
            }
        }
    }

    /// Narrows an interval at whose lower end δ is above `delta` and at whose upper end it is not.
    fn bisect(&self, low: f64, high: f64, delta: f64) -> (f64, f64) {
        bisect(low, high, 200, |epsilon| self.delta(epsilon) <= delta)
    }

    fn loss(&self, index: usize) -> f64 {
        self.lowest + index as f64 * self.step
    }
}

impl<'a> Tilted<'a> {
    fn new(grid: &'a Grid, count: u64, tilt: f64) -> Self {
        let exponents: Vec<f64> = grid
            .masses
            .iter()
            .enumerate()
            .map(|(index, mass)| mass.ln() + tilt * grid.loss(index))
            .collect();
        let largest = exponents.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut masses: Vec<f64> = exponents.iter().map(|log| (log - largest).exp()).collect();
        let sum: f64 = masses.iter().sum();
        masses.iter_mut().for_each(|mass| *mass /= sum);
        let moment = |power: i32| -> f64 {
            let terms = masses.iter().enumerate();
            terms.map(|(index, mass)| mass * (index as f64).powi(power)).sum()
        };
        let (mean, square) = (moment(1), moment(2));
        Self {
            grid,
            count: count as f64,
            log_moment: largest + sum.ln(),
            masses,
            // In steps, without the offset.
            mean: grid.first as f64 + mean,
            variance: (square - mean * mean).max(0.0),
        }
    }

    /// log of E e^(t·(index − mean)) for a t per step, under the tilted masses.
    fn log_moment_generating(&self, per_step: f64) -> f64 {
        // From the middle outward with one multiplication a term; its rounding, at most 1e-9 of log E,
        // does not matter next to the logarithm of a probability.
        let center = self.mean - self.grid.first as f64;
        let middle = (center as usize).min(self.masses.len());
        let (below, above) = self.masses.split_at(middle);
        let start = (per_step * (middle as f64 - center)).exp();
        let side = |masses: &mut dyn Iterator<Item = &f64>, mut factor: f64, growth: f64| {
            let mut sum = 0.0;
            for &mass in masses {
                if mass > 0.0 {
                    sum += mass * factor;
                }
                factor *= growth;
            }
            sum
        };
        let growth = per_step.exp();
        let sum = side(&mut above.iter(), start, growth)
            + side(&mut below.iter().rev(), start / growth, 1.0 / growth);
        if sum > 0.0 { sum.ln() } else { f64::INFINITY }
    }

    /// How far the support reaches from the mean, in steps.
    fn extent(&self, sign: f64) -> f64 {
        let first = self.grid.first as f64;
        let last = first + self.masses.len() as f64 - 1.0;
        if sign > 0.0 { last - self.mean } else { self.mean - first }
    }
}

/// The multiples of the step that are kept: `first`, `first` + 1, ..., `length` of them.
#[derive(Debug, Clone, Copy)]
struct Window {
    first: i64,
    length: usize,
}

impl Window {
    /// The window by Chernoff's bound on the tilted composition at both ends. It reaches at least up to
    /// `reach`.
    fn around(parts: &[Tilted<'_>], log_outside: f64, reach: f64) -> Option<Self> {
        let sum = |of: &dyn Fn(&Tilted<'_>) -> f64| -> f64 {
            parts.iter().map(|part| part.count * of(part)).sum()
        };
        let mean = sum(&|part| part.mean);
        let deviation = sum(&|part| part.variance).sqrt().max(1e-3);
        let edge = |sign: f64| {
            // The support itself is a bound. The search goes down from the best t for a Gaussian: heavier
            // tails need a smaller t, and the bound has only one minimum.
            let mut best = sum(&|part| part.extent(sign));
            let mut t = (-2.0 * log_outside).sqrt() / deviation;
            let mut last = f64::INFINITY;
            for _ in 0..60 {
                let bound = (sum(&|part| part.log_moment_generating(sign * t)) - log_outside) / t;
                best = best.min(bound);
                if bound > last {
                    break;
                }
                (last, t) = (bound, t / 1.5);
            }
            best
        };
        let first = (mean - edge(-1.0)).floor();
        let last = (mean + edge(1.0)).max(reach).ceil() + 1.0;
        let fits = last - first < LONGEST as f64;
        fits.then(|| Self { first: first as i64, length: fast_length((last - first) as usize + 2) })
    }
}

/// Bounds on the rounding errors of the composed tilted masses.
#[derive(Debug, Clone, Copy)]
struct RoundingError {
    /// The largest error of a single mass.
    largest: f64,
    /// The square root of the sum of the squared errors.
    norm: f64,
}

impl RoundingError {
    /// The error of δ(ε), without its factor e^(K − λε): that of Σ mᵢ e^(−λd)(1 − e^(−d)) over the
    /// distances d from ε. The two bounds give two answers; this is the smaller one.
    fn of_delta(self, tilt: f64, step: f64, count: usize) -> f64 {
        let (mut sum, mut squares) = (0.0, 0.0);
        let (fall, fall_more) = ((-tilt * step).exp(), (-step).exp());
        let (mut decay, mut far) = (1.0, fall_more);
        for _ in 0..count {
            // ε lies up to a step below a grid point.
            let weight = decay * (1.0 - far + 1e-15);
            sum += weight;
            squares += weight * weight;
            (decay, far) = (decay * fall, far * fall_more);
        }
        // Each factor is off by at most one unit in the last place.
        let slack = 1.0 + 1e-9;
        let (sum, squares) = (slack * sum, slack * squares);
        (self.largest * sum).min(self.norm * squares.sqrt())
    }
}

/// The composed tilted masses on the window.
fn convolve(
    tilted: &[Tilted<'_>],
    parts: &[Counted<'_>],
    window: Window,
) -> (Vec<f64>, RoundingError) {
    let length = window.length;
    let mut planner = RealFftPlanner::<f64>::new();
    let forward = planner.plan_fft_forward(length);
    let mut scratch = forward.make_scratch_vec();
    let mut product: Option<Vec<Complex<f64>>> = None;
    for (part, &(_, count)) in tilted.iter().zip(parts) {
        let mut wrapped = vec![0.0; length];
        let start = part.grid.first.rem_euclid(length as i64) as usize;
        for (slot, mass) in (0..length).cycle().skip(start).zip(&part.masses) {
            wrapped[slot] += mass;
        }
        let mut spectrum = forward.make_output_vec();
        // Fails only for buffers of other lengths than the plan's.
        if forward.process_with_scratch(&mut wrapped, &mut spectrum, &mut scratch).is_err() {
            spectrum.iter_mut().for_each(|value| *value = Complex::new(1.0, 0.0));
        }
        let least = (-160.0 / count as f64).exp();
        spectrum.iter_mut().for_each(|value| *value = power(*value, count, least));
        product = Some(match product {
            None => spectrum,
            Some(mut product) => {
                product.iter_mut().zip(&spectrum).for_each(|(value, other)| *value *= other);
                product
            }
        });
    }
    let mut spectrum = product.unwrap_or_default();
    let total: f64 = tilted.iter().map(|part| part.count).sum();
    let size: f64 =
        2.0 * spectrum.iter().map(|value| value.norm_sqr().sqrt()).sum::<f64>() / length as f64;
    // A transform's error is relative to its result's norm; composing n times multiplies it by n.
    let unit = TRANSFORM_ERROR * f64::EPSILON * (2.0 + (length as f64).log2());
    let norm = |masses: &[f64]| masses.iter().map(|mass| mass * mass).sum::<f64>().sqrt();
    let norms: f64 = tilted.iter().map(|part| (part.count + 2.0) * norm(&part.masses)).sum();
    let error = RoundingError {
        largest: unit * (total + 2.0) * size + 1e-30,
        norm: unit * (norms + 2.0) + 1e-30,
    };

    // The length is even: the first and the last coefficient of a real signal are real.
    if let [first, .., last] = spectrum.as_mut_slice() {
        (first.im, last.im) = (0.0, 0.0);
    }
    let inverse = planner.plan_fft_inverse(length);
    let mut output = inverse.make_output_vec();
    let done = inverse.process(&mut spectrum, &mut output).is_ok();
    let start = window.first.rem_euclid(length as i64) as usize;
    output.rotate_left(start % length);
    let scale = 1.0 / length as f64;
    output.iter_mut().for_each(|mass| *mass *= scale);
    // As above, the transform does not fail. If it did, an error of 1 would make the answer trivial and
    // sound.
    (output, if done { error } else { RoundingError { largest: 1.0, norm: 1.0 } })
}

/// z^count, 0 where |z|² is below `least`.
fn power(z: Complex<f64>, count: u64, least: f64) -> Complex<f64> {
    if z.norm_sqr() < least {
        return Complex::new(0.0, 0.0);
    }
    let (mut result, mut square, mut rest) = (Complex::new(1.0, 0.0), z, count);
    while rest > 0 {
        if rest & 1 == 1 {
            result *= square;
        }
        square *= square;
        rest >>= 1;
    }
    result
}

/// The smallest even number without prime factors above 5 that is at least `length`.
fn fast_length(length: usize) -> usize {
    let mut best = length.next_power_of_two().max(2);
    let mut fives = 1;
    while fives < best {
        let mut threes = fives;
        while threes < best {
            let missing = length.div_ceil(threes).next_power_of_two().max(2);
            best = best.min(threes * missing);
            threes *= 3;
        }
        fives *= 5;
    }
    best
}
