//! Pairs of distributions that dominate a mechanism: what the accountant knows about it.
//!
//! (P, Q) dominates a mechanism if no two neighboring data sets give outputs that are easier to tell
//! apart, at any ratio of the two errors (Zhu, Dong & Wang 2022, arXiv 2106.08567). Then the composition of
//! the pairs dominates the composition of the mechanisms. The *privacy loss* is L = log(P/Q). "Forward"
//! tells P from Q, "backward" Q from P; for add/remove these are removal and addition.

/// A dominating pair: the distribution of its losses under P and under Q.
pub(super) trait LossPair {
    /// Where the two distributions lie relative to a loss.
    fn split(&self, loss: f64) -> Split;

    /// Increasing losses, dense where either distribution has its mass: for estimates only.
    fn probes(&self) -> Vec<f64>;

    /// Whether (P, Q) and (Q, P) are the same up to renaming outcomes.
    fn is_symmetric(&self) -> bool;

    /// An upper bound on the total variation distance of P and Q, which is δ at ε = 0.
    fn distance(&self) -> f64 {
        self.split(0.0).above.divergence(0.0)
    }

    /// The pair as a shift of Gaussian noise, if it is one.
    fn shift(&self) -> Option<Shift> {
        None
    }

    /// If some single losses have a probability of their own, a loss that divides them all. A grid that
    /// contains it is exact for them.
    fn unit(&self) -> Option<f64> {
        None
    }
}

/// A run releases noise of deviation `z`. Under P, Bin(`records`, `rate`) is added to it; under Q, nothing.
pub(super) struct Shift {
    pub(super) records: f64,
    pub(super) rate: f64,
    pub(super) z: f64,
}

/// Probabilities of the losses above and not above a value, each accurate where it is small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Split {
    /// L > ℓ.
    pub(super) above: Masses,
    /// L ≤ ℓ.
    pub(super) below: Masses,
}

/// A probability under P and under Q.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Masses {
    pub(super) p: f64,
    pub(super) q: f64,
}

impl Masses {
    pub(super) const ALL: Self = Self { p: 1.0, q: 1.0 };
    pub(super) const NONE: Self = Self { p: 0.0, q: 0.0 };

    /// An upper bound on p − e^ε·q, whatever rounding did to the masses.
    pub(super) fn divergence(self, epsilon: f64) -> f64 {
        let most = self.p * (1.0 + rounding(self.p));
        // Below this there are few digits left, or none.
        let normal = self.q > 1e-300 && epsilon < 700.0;
        let least = if normal { self.q * epsilon.exp() * (1.0 - rounding(self.q)) } else { 0.0 };
        (most - least).clamp(0.0, 1.0)
    }

    /// A lower bound on p and an upper bound on q.
    pub(super) fn cautious(self) -> Self {
        let q = self.q * (1.0 + rounding(self.q));
        // A mass that underflowed is not 0.
        Self { p: self.p * (1.0 - rounding(self.p)), q: q.max(f64::MIN_POSITIVE) }
    }

    /// log(p/q), to all digits where p is near q.
    pub(super) fn log_ratio(self) -> f64 {
        let excess = (self.p - self.q) / self.q;
        if excess.abs() < 0.5 { excess.ln_1p() } else { self.p.ln() - self.q.ln() }
    }

    pub(super) const fn swapped(self) -> Self {
        Self { p: self.q, q: self.p }
    }

    fn rest(self) -> Self {
        Self { p: 1.0 - self.p, q: 1.0 - self.q }
    }

    /// `share` of these and the rest of the others.
    fn mixed(share: f64, these: Self, others: Self) -> Self {
        Self {
            p: share * these.p + (1.0 - share) * others.p,
            q: share * these.q + (1.0 - share) * others.q,
        }
    }
}

impl Split {
    /// Every loss is above.
    pub(super) const ABOVE: Self = Self { above: Masses::ALL, below: Masses::NONE };
    /// No loss is above.
    pub(super) const BELOW: Self = Self { above: Masses::NONE, below: Masses::ALL };

    pub(super) fn from_above(above: Masses) -> Self {
        Self { above, below: above.rest() }
    }

    pub(super) fn from_below(below: Masses) -> Self {
        Self { above: below.rest(), below }
    }

    /// The masses of the losses above this split's value and not above that of `high`: the difference of
    /// the tails, on the side where they are small.
    pub(super) fn up_to(&self, high: &Self) -> Masses {
        let side = |above: (f64, f64), below: (f64, f64)| {
            let difference = if above.0 < 0.5 { above.0 - above.1 } else { below.1 - below.0 };
            difference.max(0.0)
        };
        Masses {
            p: side((self.above.p, high.above.p), (self.below.p, high.below.p)),
            q: side((self.above.q, high.above.q), (self.below.q, high.below.q)),
        }
    }
}

/// With probability `weight` the first pair, otherwise the second; everybody sees which.
///
/// It dominates a mechanism of two cases if each pair dominates its case, and if the case does not depend
/// on the record in question.
pub(super) struct Either<A, B> {
    pub(super) weight: f64,
    pub(super) first: A,
    pub(super) second: B,
}

impl<A: LossPair, B: LossPair> LossPair for Either<A, B> {
    fn split(&self, loss: f64) -> Split {
        let (first, second) = (self.first.split(loss), self.second.split(loss));
        Split {
            above: Masses::mixed(self.weight, first.above, second.above),
            below: Masses::mixed(self.weight, first.below, second.below),
        }
    }

    fn probes(&self) -> Vec<f64> {
        let mut probes = self.first.probes();
        probes.extend(self.second.probes());
        probes.sort_by(f64::total_cmp);
        probes
    }

    fn is_symmetric(&self) -> bool {
        self.first.is_symmetric() && self.second.is_symmetric()
    }

    fn distance(&self) -> f64 {
        self.weight * self.first.distance() + (1.0 - self.weight) * self.second.distance()
    }
}

impl LossPair for Box<dyn LossPair> {
    fn split(&self, loss: f64) -> Split {
        (**self).split(loss)
    }

    fn probes(&self) -> Vec<f64> {
        (**self).probes()
    }

    fn is_symmetric(&self) -> bool {
        (**self).is_symmetric()
    }

    fn distance(&self) -> f64 {
        (**self).distance()
    }

    fn shift(&self) -> Option<Shift> {
        (**self).shift()
    }

    fn unit(&self) -> Option<f64> {
        (**self).unit()
    }
}

/// Bounds the relative rounding error of a tail probability. The error of its argument t, a few units in
/// the last place, is multiplied by about t², which is 2·log(1/mass).
fn rounding(mass: f64) -> f64 {
    if mass > 0.0 { 64.0 * f64::EPSILON * (1.0 - mass.min(1.0).ln()) } else { 0.0 }
}
