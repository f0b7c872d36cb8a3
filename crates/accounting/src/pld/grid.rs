//! A privacy-loss distribution on a grid: an upper or a lower bound on a pair's.

use super::pair::{LossPair, Masses, Split};

/// A distribution of the privacy loss on the multiples of a step, shifted by an offset.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    pub(super) step: f64,
    /// What is added to every loss; less than one step.
    pub(super) offset: f64,
    /// The loss of `masses[i]` is (first + i)·step + offset.
    pub(super) first: i64,
    pub(super) masses: Vec<f64>,
    /// What is not on the grid: for an upper bound the probability of an infinite loss (and none under
    /// the other distribution), for a lower bound that of the outcomes above the grid.
    pub(super) beyond: Masses,
}

/// The losses that a grid covers: those between two bounds, without a tail of at most `cut` of probability
/// at each end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    pub(super) lowest: f64,
    pub(super) highest: f64,
    pub(super) cut: f64,
}

impl Span {
    /// The lowest and the highest loss of the pair within the span.
    pub(super) fn of(self, pair: &dyn LossPair) -> (f64, f64) {
        let (low, high) = range(pair, self);
        (low, high.max(low))
    }

    /// The same, seen from the other direction.
    pub(super) fn reversed(self) -> Self {
        Self { lowest: -self.highest, highest: -self.lowest, ..self }
    }
}

/// Both directions of a pair.
#[derive(Debug, Clone)]
pub(super) struct Directions {
    pub(super) forward: Grid,
    pub(super) backward: Grid,
}

impl Grid {
    /// log E e^(tL) over the finite losses.
    pub(super) fn log_moment(&self, tilt: f64) -> f64 {
        let exponent = |(index, mass): (usize, &f64)| mass.ln() + tilt * self.loss(index);
        let terms = || self.masses.iter().enumerate().map(exponent);
        let largest = terms().fold(f64::NEG_INFINITY, f64::max);
        largest + terms().map(|term| (term - largest).exp()).sum::<f64>().ln()
    }

    /// The largest finite loss.
    pub(super) fn highest(&self) -> f64 {
        self.loss(self.masses.len().saturating_sub(1))
    }

    pub(super) fn loss(&self, index: usize) -> f64 {
        (self.first + index as i64) as f64 * self.step + self.offset
    }
}

/// Connect the dots (Doroshenko et al. 2022, arXiv 2207.04380): the pair whose hockey-stick divergence
/// joins the given pair's values at the grid points by straight lines in e^ε. Since the divergence is
/// convex in e^ε, it is an upper bound at every ε, and so is every composition.
///
/// The P-mass and the Q-mass between two adjacent grid points go to those two points, divided so that both
/// masses are kept. What lies beyond the grid goes to its last point and to infinity, again so that both
/// masses are kept. At every ε up to the last point, this is exact.
pub(super) fn connect_the_dots(pair: &dyn LossPair, step: f64, span: Span) -> Directions {
    let cells = Cells::new(pair, step, span);
    let nodes = cells.splits.len();
    let (mut p, mut q) = (vec![0.0; nodes], vec![0.0; nodes]);
    let largest_ratio = step.exp();
    for (index, masses) in cells.inner() {
        // Between the points the ratio P/Q is e^ℓ · r with 1 <= r <= e^step.
        let log_r = (masses.log_ratio() - cells.loss(index)).clamp(0.0, step);
        let (up_p, up_q) = if masses.q > 0.0 && masses.p > 0.0 {
            let up_q = log_r.exp_m1() / step.exp_m1();
            ((up_q * largest_ratio / log_r.exp()).min(1.0), up_q.min(1.0))
        } else {
            // One of them underflowed: each goes where it costs more.
            (1.0, 0.0)
        };
        p[index] += masses.p * (1.0 - up_p);
        p[index + 1] += masses.p * up_p;
        q[index] += masses.q * (1.0 - up_q);
        q[index + 1] += masses.q * up_q;
    }

    // The losses beyond an end go to that end, as far as the other distribution's mass allows.
    let (bottom, top) = cells.outer();
    let up = (bottom.p.ln() - cells.loss(0)).exp().min(bottom.q);
    let down = (top.q.ln() + cells.loss(nodes - 1)).exp().min(top.p);
    p[0] += bottom.p;
    q[0] += up;
    p[nodes - 1] += down;
    q[nodes - 1] += top.q;
    let infinite_p = top.divergence(cells.loss(nodes - 1));
    let infinite_q = bottom.swapped().divergence(-cells.loss(0));

    q.reverse();
    let last = cells.first + nodes as i64 - 1;
    let grid = |first, masses, infinite| {
        let beyond = Masses { p: infinite, q: 0.0 };
        Grid { step, offset: 0.0, first, masses, beyond }
    };
    Directions { forward: grid(cells.first, p, infinite_p), backward: grid(-last, q, infinite_q) }
}

/// A lower bound: an observer who sees only the cell that the loss fell into cannot tell the pair apart any
/// better.
///
/// The loss of a cell is then the log of the ratio of its masses, which lies within the cell. It is rounded
/// down to a shifted grid. The shift suits most of the mass (weighted by e^(tilt·loss)), so rounding costs
/// only second order in the step. Everything above the grid is one cell; everything below is left out.
pub(super) fn merge_cells(pair: &dyn LossPair, step: f64, span: Span, tilt: f64) -> Directions {
    let cells = Cells::new(pair, step, span);
    // The ratio of a cell's masses lies within the cell. Where it does not, the masses are nothing but
    // rounding errors. They are left out, as a lower bound may do. Otherwise the grid would have to reach
    // as far as the errors do.
    let near = |index: usize, loss: f64| (loss - cells.loss(index) - 0.5 * step).abs() <= step;
    let merged: Vec<(f64, Masses)> = cells
        .inner()
        .filter(|(_, masses)| masses.p > 0.0 && masses.q > 0.0)
        .map(|(index, masses)| (index, masses.log_ratio(), masses))
        .filter(|&(index, loss, _)| near(index, loss))
        .map(|(_, loss, masses)| (loss, masses))
        .collect();
    let forward: Vec<(f64, f64)> = merged.iter().map(|&(loss, masses)| (loss, masses.p)).collect();
    let backward: Vec<(f64, f64)> =
        merged.iter().rev().map(|&(loss, masses)| (-loss, masses.q)).collect();
    let (bottom, top) = cells.outer();
    let grid = |atoms: &[(f64, f64)], beyond: Masses| Grid {
        beyond: beyond.cautious(),
        ..rounded_down(atoms, step, tilt)
    };
    Directions { forward: grid(&forward, top), backward: grid(&backward, bottom.swapped()) }
}

/// Losses (increasing) with their masses, rounded down to the shifted grid that costs least.
fn rounded_down(atoms: &[(f64, f64)], step: f64, tilt: f64) -> Grid {
    const SHIFTS: usize = 1024;
    let position = |loss: f64| (loss / step).rem_euclid(1.0);
    let log_weight = |&(loss, mass): &(f64, f64)| mass.ln() + tilt * loss;
    let largest = atoms.iter().map(log_weight).fold(f64::NEG_INFINITY, f64::max);
    let mut histogram = [0.0; SHIFTS];
    for atom in atoms {
        let bin = ((position(atom.0) * SHIFTS as f64) as usize).min(SHIFTS - 1);
        histogram[bin] += (log_weight(atom) - largest).exp();
    }
    // With the shift at a bin's lower end, the bins below it lose almost a whole step.
    let total: f64 = histogram.iter().sum();
    let (mut below, mut best, mut shift) = (0.0, f64::INFINITY, 0.0);
    for (bin, weight) in histogram.iter().enumerate() {
        let start = bin as f64 / SHIFTS as f64;
        let cost = below - start * total;
        if cost < best {
            (best, shift) = (cost, start);
        }
        below += weight;
    }

    let offset = shift * step;
    // Round down a little further than the float result says.
    let index = |loss: f64| {
        let steps = (loss - offset) / step;
        (steps - 1e-9 - 4.0 * f64::EPSILON * steps.abs()).floor() as i64
    };
    let first = atoms.first().map_or(0, |&(loss, _)| index(loss));
    let last = atoms.last().map_or(0, |&(loss, _)| index(loss));
    let mut masses = vec![0.0; (last - first).max(0) as usize + 1];
    for &(loss, mass) in atoms {
        let slot = (index(loss) - first).max(0) as usize;
        if let Some(slot) = masses.get_mut(slot) {
            *slot += mass * (1.0 - 4.0 * f64::EPSILON);
        }
    }
    Grid { step, offset, first, masses, beyond: Masses::NONE }
}

/// The line of losses cut into cells (ℓᵢ, ℓᵢ₊₁] and two ends.
struct Cells {
    first: i64,
    step: f64,
    /// At each grid point.
    splits: Vec<Split>,
}

impl Cells {
    fn new(pair: &dyn LossPair, step: f64, span: Span) -> Self {
        let (lowest, highest) = span.of(pair);
        let first = (lowest / step).floor() as i64;
        let last = ((highest / step).ceil() as i64).max(first + 1);
        let splits = (first..=last).map(|index| pair.split(index as f64 * step)).collect();
        Self { first, step, splits }
    }

    fn loss(&self, index: usize) -> f64 {
        (self.first + index as i64) as f64 * self.step
    }

    /// The masses of the cell above each grid point but the last.
    fn inner(&self) -> impl Iterator<Item = (usize, Masses)> {
        self.splits.windows(2).enumerate().map(|(index, pair)| match pair {
            [low, high] => (index, low.up_to(high)),
            _ => (index, Masses::NONE),
        })
    }

    /// Below the first grid point and above the last.
    fn outer(&self) -> (Masses, Masses) {
        (
            self.splits.first().map_or(Masses::NONE, |split| split.below),
            self.splits.last().map_or(Masses::NONE, |split| split.above),
        )
    }
}

/// The ends of the span without its tails: at most `cut` of Q's mass lies below, and at most `cut` of P's
/// mass above.
fn range(pair: &dyn LossPair, span: Span) -> (f64, f64) {
    let Span { lowest, highest, cut } = span;
    let high = |loss: f64| pair.split(loss).above.p <= cut;
    let low = |loss: f64| pair.split(-loss).below.q <= cut;
    // A span's end needs no search where it is nearer than the tail.
    let highest = if high(highest) { boundary(&high).min(highest) } else { highest };
    let lowest = if low(-lowest) { (-boundary(&low)).max(lowest) } else { lowest };
    (lowest, highest)
}

/// About the smallest number for which `holds` is true. It is true for the answer.
fn boundary(holds: &dyn Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = if holds(0.0) { (-1.0, 0.0) } else { (0.0, 1.0) };
    while low < 0.0 && holds(low) {
        if low < -1e12 {
            return low;
        }
        (low, high) = (2.0 * low, low);
    }
    while !holds(high) {
        if high > 1e12 {
            return high;
        }
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..60 {
        let middle = low + (high - low) / 2.0;
        if holds(middle) {
            high = middle
        } else {
            low = middle
        }
        if high - low <= 1e-6 * high.abs() {
            break;
        }
    }
    high
}
