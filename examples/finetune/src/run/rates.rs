//! Learning rates over the steps of a run.

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// How learning rates change, and what else the optimizer can be asked for.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct RateArgs {
    /// How learning rates change after the warm-up
    #[arg(long, value_enum, default_value_t = Decay::Linear)]
    pub decay: Decay,
    /// The share of steps over which learning rates rise from zero
    #[arg(long, default_value_t = 0.06)]
    pub warm_up: f64,
    /// Decoupled weight decay, in units of the learning rate (AdamW)
    #[arg(long, default_value_t = 0.0)]
    pub weight_decay: f32,
    /// The result is the mean of the weights after so large a share of the steps, the last ones. It costs no privacy
    #[arg(long, default_value_t = 0.1)]
    pub average: f64,
}

/// How learning rates change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Not at all
    Constant,
    /// Evenly, down to zero
    Linear,
    /// Along half a cosine, down to zero
    Cosine,
}

impl RateArgs {
    /// # Errors
    /// When a setting is out of range.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        let shares = [("--warm-up", self.warm_up), ("--average", self.average)];
        for (flag, share) in shares {
            anyhow::ensure!(
                (0.0..=1.0).contains(&share),
                "{flag} {share} is no share: give 0 to 1"
            );
        }
        anyhow::ensure!(
            self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
            "--weight-decay {} must be a number that is not negative",
            self.weight_decay
        );
        Ok(())
    }

    /// What learning rates are multiplied by at a step, of so many.
    pub(super) fn factor(&self, step: u64, steps: u64) -> f64 {
        let warm_up = self.warm_up * steps as f64;
        let now = step as f64 + 0.5;
        if now < warm_up {
            return now / warm_up;
        }
        let gone = (now - warm_up) / (steps as f64 - warm_up).max(1.0);
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => (1.0 - gone).max(0.0),
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * gone.min(1.0)).cos()),
        }
    }

    /// Whether the weights after a step, of so many, count in the result's mean.
    pub(super) fn counts(&self, taken: u64, steps: u64) -> bool {
        let last = (self.average * steps as f64).floor() as u64;
        last > 1 && taken + last > steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(decay: Decay) -> RateArgs {
        RateArgs { decay, warm_up: 0.1, weight_decay: 0.0, average: 0.2 }
    }

    #[test]
    fn rates_rise_and_then_fall() {
        for decay in [Decay::Constant, Decay::Linear, Decay::Cosine] {
            let factors: Vec<f64> = (0..100).map(|step| args(decay).factor(step, 100)).collect();
            assert!(factors.iter().all(|factor| (0.0..=1.0).contains(factor) && *factor > 0.0));
            assert!(factors[..10].is_sorted_by(|a, b| a < b));
            assert!(factors[10..].is_sorted_by(|a, b| a >= b));
        }
        // A run of one step takes it.
        assert!(args(Decay::Linear).factor(0, 1) > 0.0);
    }

    #[test]
    fn the_last_steps_are_averaged() {
        let counted = (1..=100).filter(|taken| args(Decay::Linear).counts(*taken, 100)).count();
        assert_eq!(counted, 20);
        assert!(args(Decay::Linear).counts(100, 100) && !args(Decay::Linear).counts(3, 3));
    }
}
