//! From a question to a grid and back: how finely to look, where, and in which direction.

use std::rc::Rc;

use super::estimate::{Estimate, Near, to_a_fourth_root_of_two};
use super::grid::{Directions, Grid, Span, connect_the_dots, merge_cells};
use super::numeric::bisect;
use super::pair::{LossPair, Masses};
use super::part::Part;
use super::profile::{Bound, LONGEST, Profile, View};
use super::witness;

/// How far log δ may be off because of the grid.
const ACCURACY: f64 = 1e-4;

/// How far ε may be off because of the grid, relatively, if that allows more.
const RELATIVE_ACCURACY: f64 = 2e-5;

/// How far δ may be off, relatively, because of rounding in the transform.
const ROUNDING: f64 = 1e-5;

/// The largest grid of one mechanism.
const LARGEST_GRID: f64 = 1.2e5;

/// How much larger (in log) rounding may be than it should; tried in this order. A heavy tail can drag the
/// window away from ε. Gentler tilts bring it back, at the price of more rounding.
const LENIENCY: [f64; 3] = [0.0, 8.0, 16.0];

/// A window of this length takes some ten milliseconds. Beyond it, a coarser grid is used.
const AFFORDABLE: f64 = 250_000.0;

/// How far log δ may be off where the grid is coarser to keep the window short.
const LEAST_ACCURACY: f64 = 3e-3;

/// How often a question may be asked again on the grid of a better ε.
const ATTEMPTS: usize = 8;

/// How often a question may be asked again on a better grid for the same ε.
const REFINEMENTS: usize = 3;

/// The direction in which data sets are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// Answers questions about one composition.
pub(super) struct Question<'a> {
    parts: &'a [Part],
    symmetric: bool,
    count: f64,
    /// What was computed last.
    known: Vec<Answer>,
}

/// Everything that a profile depends on besides the composition, rounded so that nearby questions get
/// the very same profile.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Settings {
    direction: Direction,
    step: f64,
    /// The losses of one mechanism that the grid looks at.
    span: Span,
    view: View,
}

/// A profile with the grids that made it.
#[derive(Clone)]
struct Answer {
    settings: Settings,
    grids: Rc<Vec<Directions>>,
    profile: Rc<Profile>,
}

impl Answer {
    /// Whether its grid had to be coarser than it should have been.
    fn is_finest(&self) -> bool {
        self.grids.first().is_some_and(|grids| grids.forward.step > self.settings.step)
    }
}

impl<'a> Question<'a> {
    pub(super) fn new(parts: &'a [Part]) -> Self {
        Self {
            parts,
            symmetric: parts.iter().all(|part| part.pair.is_symmetric()),
            count: parts.iter().map(|part| part.count as f64).sum(),
            known: Vec::new(),
        }
    }

    /// An upper bound on δ at ε.
    pub(super) fn delta(&mut self, epsilon: f64) -> f64 {
        if let Some(only) = self.only() {
            return exact_delta(only, epsilon).min(only.distance());
        }
        self.composed_delta(epsilon).min(self.distance())
    }

    fn composed_delta(&mut self, epsilon: f64) -> f64 {
        let answer = self.answer(Direction::Forward, epsilon);
        let forward = self.delta_by(&answer, epsilon);
        if self.backward_is_below(&answer.grids, epsilon, forward) {
            return forward;
        }
        let answer = self.answer(Direction::Backward, epsilon);
        forward.max(self.delta_by(&answer, epsilon))
    }

    /// An ε whose δ, as [`delta`](Self::delta) computes it, is at most `delta`.
    pub(super) fn epsilon(&mut self, delta: f64) -> f64 {
        if let Some(only) = self.only() {
            return exact_epsilon(only, delta);
        }
        if self.distance() <= delta {
            return 0.0;
        }
        let forward = self.epsilon_in(Direction::Forward, delta);
        if !forward.is_finite() {
            return forward;
        }
        let answer = self.answer(Direction::Forward, forward);
        if self.backward_is_below(&answer.grids, forward, self.delta_by(&answer, forward)) {
            return forward;
        }
        let mut epsilon = forward.max(self.epsilon_in(Direction::Backward, delta));
        // Each direction was computed on the grid of its own ε; on the grid of the larger one, δ may differ
        // in the last digits.
        let mut margin = 1e-9 * (epsilon + 1e-9);
        while epsilon.is_finite() && self.delta(epsilon) > delta {
            epsilon += margin;
            margin *= 16.0;
        }
        epsilon
    }

    /// A lower bound on ε, given an upper bound.
    pub(super) fn lower_epsilon(&mut self, delta: f64, upper: f64) -> f64 {
        let tested = witness::epsilon(self.parts, delta);
        match self.only() {
            Some(only) => tested.max(exact_lower_epsilon(only, delta)),
            None => tested.max(self.observed_epsilon(delta, upper)),
        }
    }

    /// A lower bound from an observer who sees only the cells of a grid.
    fn observed_epsilon(&mut self, delta: f64, upper: f64) -> f64 {
        let answer = self.answer(Direction::Forward, upper);
        // Either direction is a lower bound; only the larger one is of interest.
        let directions: &[Direction] = match self.backward_is_below(&answer.grids, upper, delta) {
            true => &[Direction::Forward],
            false => &[Direction::Forward, Direction::Backward],
        };
        let mut lower = |&direction: &Direction| {
            let answer = self.answer(direction, upper);
            let Settings { span, view, .. } = answer.settings;
            let step = answer.grids.first().map_or(1.0, |grids| grids.forward.step);
            let length = answer.profile.len() as f64;
            // Rounding within a cell loses more than connecting the dots does, so a finer grid is used
            // where it is affordable.
            let finer = [4.0, 2.0].into_iter().find(|finer| finer * length < AFFORDABLE);
            let mut step = step / finer.unwrap_or(1.0);
            loop {
                let merged = |part: &Part| merge_cells(part.pair.as_ref(), step, span, view.tilt);
                let grids: Vec<Directions> = self.parts.iter().map(merged).collect();
                let counted = self.counted(&grids, direction);
                if let Some(profile) = Profile::new(&counted, view, Bound::Lower) {
                    return profile.epsilon_below(delta);
                }
                step *= 2.0;
                if !step.is_finite() {
                    return 0.0;
                }
            }
        };
        directions.iter().map(&mut lower).fold(0.0, f64::max)
    }

    /// The pair, if there is only one and it is composed once.
    fn only(&self) -> Option<&'a dyn LossPair> {
        match self.parts {
            [Part { pair, count: 1, .. }] if witness::has_all_digits(pair.as_ref()) => {
                Some(pair.as_ref())
            }
            _ => None,
        }
    }

    /// The total variation distance, δ at ε = 0, by coupling run by run: the outcomes differ only if those
    /// of some run differ.
    fn distance(&self) -> f64 {
        let same: f64 =
            self.parts.iter().map(|part| part.count as f64 * (-part.pair.distance()).ln_1p()).sum();
        (-same.exp_m1() * (1.0 + 1e-13)).min(1.0)
    }

    /// One direction's ε, for which [`answer`](Self::answer) gives a δ of at most `delta`.
    fn epsilon_in(&mut self, direction: Direction, delta: f64) -> f64 {
        let mut epsilon = self.estimate(direction).at_delta(delta).saddle.epsilon.max(0.0);
        // Repeat until the grid is the one that belongs to ε, and gives about this ε.
        for _ in 0..ATTEMPTS {
            let answer = self.answer(direction, epsilon);
            let enough = self.delta_by(&answer, epsilon) <= delta;
            let mut better = answer.profile.epsilon(delta);
            if !better.is_finite() {
                let tilt = self.estimate(direction).at_epsilon(epsilon).saddle.tilt;
                better = self.chernoff_epsilon(&answer, tilt, delta);
            }
            if enough && better >= epsilon * (1.0 - 1e-6) {
                return epsilon;
            }
            if !better.is_finite() {
                if enough {
                    return epsilon;
                }
                // Not even the top of the grid is enough.
                better = 1.5 * epsilon.max(answer.settings.span.highest);
            }
            epsilon = better;
        }
        // The grids of nearby ε disagree in the last digits. Raise ε until its own grid confirms it.
        let mut margin = 1e-6 * (epsilon + 1e-9);
        for _ in 0..ATTEMPTS {
            let answer = self.answer(direction, epsilon);
            if self.delta_by(&answer, epsilon) <= delta {
                return epsilon;
            }
            epsilon += margin;
            margin *= 16.0;
        }
        f64::INFINITY
    }

    /// A bound on one direction's δ: the profile's, or Chernoff's where that is smaller. Chernoff's is
    /// looser but has no rounding of a transform, so it is only computed where that rounding shows.
    fn delta_by(&self, answer: &Answer, epsilon: f64) -> f64 {
        let profile = answer.profile.delta(epsilon);
        if !answer.profile.is_rough(epsilon) {
            return profile;
        }
        let direction = answer.settings.direction;
        let tilt = self.estimate(direction).at_epsilon(epsilon).saddle.tilt;
        profile.min(self.chernoff(&answer.grids, direction, tilt).delta(epsilon))
    }

    /// The ε that Chernoff's bound at a tilt gives for δ.
    fn chernoff_epsilon(&self, answer: &Answer, tilt: f64, delta: f64) -> f64 {
        self.chernoff(&answer.grids, answer.settings.direction, tilt).epsilon(delta)
    }

    /// The profile for an ε. Its settings depend on nothing but this ε.
    fn answer(&mut self, direction: Direction, epsilon: f64) -> Answer {
        let mut near = self.estimate(direction).at_epsilon(epsilon);
        let (mut slope, mut leniency) = (near.saddle.slope(), LENIENCY.into_iter());
        let mut lenient = leniency.next().unwrap_or(0.0);
        let mut answer = self.computed(self.settings(direction, &near, slope, lenient));
        for _ in 0..REFINEMENTS {
            let profile = &answer.profile;
            if profile.misses(epsilon) {
                let Some(next) = leniency.next() else { break };
                lenient = next;
            } else {
                // Where rare large losses dominate the moments, the saddle point gives neither δ nor the
                // slope at which δ falls through the bulk. The profile itself gives both.
                let (log_delta, steeper) = (profile.delta(epsilon).ln(), profile.slope(epsilon));
                let saddle = &mut near.saddle;
                let known = log_delta >= saddle.log_delta - 5.0 || !profile.is_rough(epsilon);
                if known && steeper <= 2.0 * slope {
                    break;
                }
                saddle.log_delta = saddle.log_delta.min(log_delta.floor()).max(-690.0);
                slope = steeper.max(slope);
            }
            let settings = self.settings(direction, &near, slope, lenient);
            // A finer grid is not asked for again where there is none.
            let finer = settings.step < answer.settings.step && !answer.is_finest();
            let other = settings.view.tilt != answer.settings.view.tilt
                || settings.span != answer.settings.span;
            if !(finer || other || answer.profile.misses(epsilon)) {
                break;
            }
            answer = self.computed(settings);
        }
        answer
    }

    /// Whether the backward direction's δ at ε is at most `delta`, by Chernoff's bound on the grids: a
    /// sufficient condition that costs little.
    fn backward_is_below(&self, grids: &[Directions], epsilon: f64, delta: f64) -> bool {
        if self.symmetric {
            return true;
        }
        let tilt = self.estimate(Direction::Backward).at_epsilon(epsilon).saddle.tilt;
        self.chernoff(grids, Direction::Backward, tilt).delta(epsilon) <= delta
    }

    /// The bound at about `tilt`. The tilt is lower where connecting the dots, which adds λ(λ+1)·step²/12
    /// to each log moment, would make up most of the bound.
    fn chernoff(&self, grids: &[Directions], direction: Direction, tilt: f64) -> Chernoff {
        let counted = self.counted(grids, direction);
        let step = counted.first().map_or(1.0, |(grid, _)| grid.step);
        let tilt = tilt.min((12.0 / self.count).sqrt() / step);
        let sum = |of: &dyn Fn(&Grid) -> f64| -> f64 {
            counted.iter().map(|&(grid, count)| count as f64 * of(grid)).sum()
        };
        Chernoff {
            tilt,
            log_moment: sum(&|grid| grid.log_moment(tilt)),
            infinite: sum(&|grid| grid.beyond.p),
            highest: sum(&Grid::highest),
        }
    }

    fn estimate(&self, direction: Direction) -> Estimate<'a> {
        let atoms = |part: &'a Part| match direction {
            Direction::Forward => (&part.forward, part.count as f64),
            Direction::Backward => (&part.backward, part.count as f64),
        };
        Estimate(self.parts.iter().map(atoms).collect())
    }

    /// `slope` is a lower bound on how fast log δ falls, where it is known; `leniency`, how much larger
    /// (in log) rounding may be than it should.
    fn settings(&self, direction: Direction, near: &Near, slope: f64, leniency: f64) -> Settings {
        let saddle = &near.saddle;
        let deviation = saddle.deviation.max(1e-12);
        // Below one deviation the leading term says little about δ, so tails are kept further.
        let central = saddle.tilt * deviation < 1.0;
        let digits = match central {
            true => -30.0,
            false => saddle.log_delta / core::f64::consts::LN_10 - 10.0,
        };
        let digits = (digits / 5.0).floor() * 5.0;
        let cut = 10.0_f64.powf(digits.max(-290.0)) / self.count;

        // Connecting the dots adds about step²/12 to the mean of each loss and step²/6 to its variance,
        // hence λ(λ+1)·step²/12 to log δ.
        let slope = slope.max(saddle.slope());
        let allowed = ACCURACY.max(RELATIVE_ACCURACY * saddle.epsilon * slope);
        let finest = (12.0 * allowed / self.count / slope / (slope + 1.0)).sqrt();
        let mut step = ((2.0 * finest.log2()).floor() / 2.0).exp2();
        // On a finer grid, the masses of the cells would be lost in the rounding of the tails.
        step = step.max(to_a_fourth_root_of_two(6e-8 * near.deviation.sqrt(), f64::ceil));
        let (lowest, highest) = near.bounds;
        let span = Span { lowest, highest, cut };
        // Grids are laid out forward.
        let span = if direction == Direction::Forward { span } else { span.reversed() };
        let ranges = self.parts.iter().map(|part| span.of(part.pair.as_ref()));
        let widest = ranges.map(|(low, high)| high - low).fold(0.0, f64::max);
        let coarse = finest * (LEAST_ACCURACY / allowed).sqrt();
        let too_fine = |step: f64| {
            let length = 15.0 * deviation / step;
            length > LONGEST as f64 || (length > AFFORDABLE && 2.0 * step < coarse)
        };
        while widest / step > LARGEST_GRID || too_fine(step) {
            step *= 2.0;
        }
        let unit = self.parts.iter().find_map(|part| part.pair.unit());
        if let Some(unit) = unit.filter(|&unit| unit > step) {
            step = unit / (unit / step).ceil();
        }

        let margin = (ROUNDING / (100.0 * f64::EPSILON * (self.count + 2.0))).ln().clamp(0.0, 15.0);
        let margin = margin + leniency;
        let (tilt, log_outside) = if central {
            (saddle.tilt, -40.0)
        } else {
            (near.gentlest_tilt(saddle, margin), -18.0 - margin)
        };
        let tilt = to_a_fourth_root_of_two(tilt.min(0.5 / step), f64::round);
        let unit = to_a_fourth_root_of_two(deviation, f64::ceil);
        let reach = ((saddle.epsilon + 10.0 / slope) / unit).ceil().max(0.0) * unit;
        Settings { direction, step, span, view: View { tilt, log_outside, reach } }
    }

    /// The profile with these settings, computed unless it is known.
    fn computed(&mut self, settings: Settings) -> Answer {
        if let Some(known) = self.known.iter().find(|known| known.settings == settings) {
            return known.clone();
        }
        let Settings { direction, span, view, .. } = settings;
        let mut step = settings.step;
        let (grids, profile) = loop {
            let grids = self.grids(step, span);
            let counted = self.counted(&grids, direction);
            if let Some(profile) = Profile::new(&counted, view, Bound::Upper) {
                break (grids, profile.into());
            }
            // The window would be too long, so use a coarser grid.
            step *= 2.0;
            if !step.is_finite() {
                break (grids, Profile::trivial().into());
            }
        };
        let answer = Answer { settings, grids, profile };
        if self.known.len() >= 4 {
            self.known.remove(0);
        }
        self.known.push(answer.clone());
        answer
    }

    /// The grids. Those of both directions are made together, so they may be known from the other
    /// direction.
    fn grids(&self, step: f64, span: Span) -> Rc<Vec<Directions>> {
        let same = |known: &&Answer| {
            known.settings.span == span
                && known.grids.first().is_some_and(|grids| grids.forward.step == step)
        };
        if let Some(known) = self.known.iter().find(same) {
            return known.grids.clone();
        }
        let dots = |part: &Part| connect_the_dots(part.pair.as_ref(), step, span);
        self.parts.iter().map(dots).collect::<Vec<_>>().into()
    }

    fn counted<'g>(&self, grids: &'g [Directions], direction: Direction) -> Vec<(&'g Grid, u64)> {
        let of = |grids: &'g Directions| match direction {
            Direction::Forward => &grids.forward,
            Direction::Backward => &grids.backward,
        };
        grids.iter().zip(self.parts).map(|(grids, part)| (of(grids), part.count)).collect()
    }
}

/// δ of a single run, in either direction: p − e^ε·q of the losses above ε.
fn exact_delta(pair: &dyn LossPair, epsilon: f64) -> f64 {
    let forward = pair.split(epsilon).above.divergence(epsilon);
    if pair.is_symmetric() {
        return forward;
    }
    forward.max(pair.split(-epsilon).below.swapped().divergence(epsilon))
}

/// The largest ε whose δ, by a lower bound in either direction, is above `delta`; 0 if there is none.
fn exact_lower_epsilon(pair: &dyn LossPair, delta: f64) -> f64 {
    let at_least = |test: Masses, epsilon: f64| {
        let Masses { p, q } = test.cautious();
        p - epsilon.exp() * (1.0 + 1e-14) * q
    };
    let exceeds = |epsilon: f64| {
        at_least(pair.split(epsilon).above, epsilon) > delta
            || at_least(pair.split(-epsilon).below.swapped(), epsilon) > delta
    };
    let (mut low, mut high) = (0.0, 1.0);
    while exceeds(high) {
        if high > 1e300 {
            return high;
        }
        (low, high) = (high, 16.0 * high);
    }
    bisect(low, high, 1100, |epsilon| !exceeds(epsilon)).0
}

/// The smallest ε with a δ of at most `delta`, by [`exact_delta`]; +∞ if there is none.
fn exact_epsilon(pair: &dyn LossPair, delta: f64) -> f64 {
    if pair.distance().min(exact_delta(pair, 0.0)) <= delta {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, f64::MIN_POSITIVE);
    while exact_delta(pair, high) > delta {
        if high > 1e300 {
            return f64::INFINITY;
        }
        (low, high) = (high, high * if high < 1e-15 { 1e15 } else { 16.0 });
    }
    bisect(low, high, 200, |epsilon| exact_delta(pair, epsilon) <= delta).1
}

/// What one tilt says of a composition of grids: δ(ε) <= e^(K(λ) − λε) λ^λ / (λ+1)^(λ+1), because
/// 1 − e^(ε−L), where it is positive, is at most e^(λ(L−ε)) λ^λ / (λ+1)^(λ+1).
struct Chernoff {
    tilt: f64,
    log_moment: f64,
    infinite: f64,
    highest: f64,
}

impl Chernoff {
    /// More than the rounding of the moment.
    const ROUNDING: f64 = 1e-6;

    fn delta(&self, epsilon: f64) -> f64 {
        if self.highest <= epsilon {
            return self.infinite;
        }
        let bound = (self.log_moment - self.tilt * epsilon + self.log_most()).exp();
        (bound * (1.0 + Self::ROUNDING) + self.infinite).min(1.0)
    }

    fn epsilon(&self, delta: f64) -> f64 {
        let rest = (delta - self.infinite) / (1.0 + 2.0 * Self::ROUNDING);
        let epsilon = (self.log_moment + self.log_most() - rest.ln()) / self.tilt;
        if epsilon > 0.0 { epsilon.min(self.highest.max(0.0)) } else { f64::INFINITY }
    }

    fn log_most(&self) -> f64 {
        let tilt = self.tilt;
        if tilt > 0.0 { tilt * (tilt / (tilt + 1.0)).ln() - tilt.ln_1p() } else { 0.0 }
    }
}
