//! Dominating pairs of pure differential privacy and of Laplace noise.

use super::pair::{LossPair, Masses, Split};

/// Randomized response: it dominates every ε-differentially private mechanism (Kairouz, Oh &
/// Viswanath 2015, arXiv 1311.0776).
pub(super) struct RandomizedResponse {
    pub(super) epsilon: f64,
}

impl LossPair for RandomizedResponse {
    fn split(&self, loss: f64) -> Split {
        let lie = 1.0 / (1.0 + self.epsilon.exp());
        if loss >= self.epsilon {
            Split::BELOW
        } else if loss >= -self.epsilon {
            Split { above: Masses { p: 1.0 - lie, q: lie }, below: Masses { p: lie, q: 1.0 - lie } }
        } else {
            Split::ABOVE
        }
    }

    fn probes(&self) -> Vec<f64> {
        let e = self.epsilon;
        vec![-e - 1e-9 * e, -e, e - 1e-9 * e, e]
    }

    fn is_symmetric(&self) -> bool {
        true
    }

    fn unit(&self) -> Option<f64> {
        Some(self.epsilon)
    }
}

/// Laplace noise of scale z on a sum that a record moves by 1: P = Lap(1, z), Q = Lap(0, z).
pub(super) struct Laplace {
    pub(super) z: f64,
}

impl LossPair for Laplace {
    fn split(&self, loss: f64) -> Split {
        let largest = 1.0 / self.z;
        if loss >= largest {
            return Split::BELOW;
        }
        if loss < -largest {
            return Split::ABOVE;
        }
        // L(x) = (2x − 1)/z between 0 and 1, constant outside.
        let x = (loss * self.z + 1.0) / 2.0;
        let below = 0.5 * ((x - 1.0) / self.z).exp();
        let above = 0.5 * (-x / self.z).exp();
        Split {
            above: Masses { p: 1.0 - below, q: above },
            below: Masses { p: below, q: 1.0 - above },
        }
    }

    fn probes(&self) -> Vec<f64> {
        let largest = 1.0 / self.z;
        let inner = (0..=2000).map(|n| largest * (f64::from(n) / 1000.0 - 1.0));
        [-largest * (1.0 + 1e-9)].into_iter().chain(inner).collect()
    }

    fn is_symmetric(&self) -> bool {
        true
    }

    fn unit(&self) -> Option<f64> {
        Some(1.0 / self.z)
    }
}

/// The base mechanism on a Poisson sample: P′ = (1−q)Q + qP against Q (Zhu, Dong & Wang 2022).
pub(super) struct Subsampled<B> {
    pub(super) rate: f64,
    pub(super) base: B,
}

impl<B: LossPair> LossPair for Subsampled<B> {
    fn split(&self, loss: f64) -> Split {
        let share = loss.exp_m1() / self.rate;
        if share <= -1.0 {
            return Split::ABOVE;
        }
        let base = self.base.split(share.ln_1p());
        let mix = |masses: Masses| Masses {
            p: self.rate * masses.p + (1.0 - self.rate) * masses.q,
            q: masses.q,
        };
        Split { above: mix(base.above), below: mix(base.below) }
    }

    fn probes(&self) -> Vec<f64> {
        let loss = |u: f64| (self.rate * u.exp_m1()).ln_1p();
        self.base.probes().into_iter().map(loss).collect()
    }

    fn is_symmetric(&self) -> bool {
        false
    }
}
