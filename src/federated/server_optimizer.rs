//! How the server moves the weights by a noised mean of updates: post-processing, which costs no privacy.
//!
//! Reddi et al. 2021, "Adaptive federated optimization", arXiv 2003.00295, algorithm 2. The mean of updates takes the place of
//! a gradient with its sign turned.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What the server makes of a round's noised mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ServerOptimizer {
    /// FedAvg: the mean, times a learning rate (1 in McMahan et al. 2017).
    Average {
        /// η.
        learning_rate: f64,
    },
    /// FedAvgM: with momentum.
    Momentum {
        /// η.
        learning_rate: f64,
        /// β.
        momentum: f64,
    },
    /// FedAdam.
    Adam {
        /// η.
        learning_rate: f64,
        /// β₁ and β₂.
        betas: [f64; 2],
        /// τ, which keeps steps small where updates are.
        adaptivity: f64,
    },
    /// FedYogi.
    Yogi {
        /// η.
        learning_rate: f64,
        /// β₁ and β₂.
        betas: [f64; 2],
        /// τ, which keeps steps small where updates are.
        adaptivity: f64,
    },
}

/// What an optimizer remembers from round to round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct OptimizerState {
    first: Vec<f32>,
    second: Vec<f32>,
    /// For how many clients all means so far have stood.
    seen: f64,
}

impl OptimizerState {
    /// One number for each of the run's, from zero; and how many clients have been seen, with these.
    pub(super) fn accumulated(&mut self, length: usize, clients: f64) -> (&mut [f32], f64) {
        self.first.resize(length, 0.0);
        self.seen += clients;
        (&mut self.first, self.seen)
    }
}

impl ServerOptimizer {
    /// # Errors
    /// [`Error::Setting`] for a rate, momentum, beta or adaptivity out of its range.
    pub(super) fn check(self) -> Result<()> {
        let positive = |name, x: f64| match x.is_finite() && x > 0.0 {
            true => Ok(()),
            false => Err(Error::setting(name, x, "finite and greater than 0")),
        };
        let share = |name, x: f64| match (0.0..1.0).contains(&x) {
            true => Ok(()),
            false => Err(Error::setting(name, x, "at least 0 and below 1")),
        };
        match self {
            Self::Average { learning_rate } => positive("server learning rate", learning_rate),
            Self::Momentum { learning_rate, momentum } => {
                positive("server learning rate", learning_rate)?;
                share("server momentum", momentum)
            }
            Self::Adam { learning_rate, betas, adaptivity }
            | Self::Yogi { learning_rate, betas, adaptivity } => {
                positive("server learning rate", learning_rate)?;
                positive("server adaptivity", adaptivity)?;
                betas.into_iter().try_for_each(|beta| share("server beta", beta))
            }
        }
    }

    /// Moves `weights` by the noised mean.
    pub(super) fn apply(self, weights: &mut [f32], mean: &[f64], state: &mut OptimizerState) {
        match self {
            Self::Average { learning_rate } => {
                for (weight, mean) in weights.iter_mut().zip(mean) {
                    *weight = (f64::from(*weight) + learning_rate * mean) as f32;
                }
            }
            Self::Momentum { learning_rate, momentum } => {
                state.first.resize(weights.len(), 0.0);
                for ((weight, mean), velocity) in weights.iter_mut().zip(mean).zip(&mut state.first)
                {
                    *velocity = (momentum * f64::from(*velocity) + mean) as f32;
                    *weight = (f64::from(*weight) + learning_rate * f64::from(*velocity)) as f32;
                }
            }
            Self::Adam { learning_rate, betas, adaptivity } => {
                let second = |v: f64, square: f64| betas[1] * v + (1.0 - betas[1]) * square;
                adapt(weights, mean, state, learning_rate, betas[0], adaptivity, second);
            }
            Self::Yogi { learning_rate, betas, adaptivity } => {
                let second =
                    |v: f64, square: f64| v - (1.0 - betas[1]) * square * (v - square).signum();
                adapt(weights, mean, state, learning_rate, betas[0], adaptivity, second);
            }
        }
    }
}

fn adapt(
    weights: &mut [f32],
    mean: &[f64],
    state: &mut OptimizerState,
    learning_rate: f64,
    beta: f64,
    adaptivity: f64,
    second_moment: impl Fn(f64, f64) -> f64,
) {
    state.first.resize(weights.len(), 0.0);
    state.second.resize(weights.len(), (adaptivity * adaptivity) as f32);
    let moments = state.first.iter_mut().zip(&mut state.second);
    for ((weight, mean), (first, second)) in weights.iter_mut().zip(mean).zip(moments) {
        *first = (beta * f64::from(*first) + (1.0 - beta) * mean) as f32;
        *second = second_moment(f64::from(*second), mean * mean) as f32;
        let step = f64::from(*first) / (f64::from(*second).max(0.0).sqrt() + adaptivity);
        *weight = (f64::from(*weight) + learning_rate * step) as f32;
    }
}
