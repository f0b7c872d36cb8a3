//! How much noise each round gets.

use serde::Serialize;

use crate::error::{Error, Result};

/// How much noise each round gets, in units of the plan's. Where the plan has a target, the whole run meets it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub enum Schedule {
    /// The plan's, in each round.
    #[default]
    Constant,
    /// A public factor for each round: heterogeneous composition. Less noise later usually helps, when updates have become small.
    Public(Vec<f64>),
    /// By a rule that sees releases only; a filter grants each round (Feldman & Zrnic 2021, arXiv 2008.11193), and the guarantee is
    /// the budget, which is the plan's target.
    Adaptive(AdaptiveNoise),
}

/// Less noise once a release is hardly more than noise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AdaptiveNoise {
    /// The factor of the first round.
    pub first: f64,
    /// What a factor is multiplied by when the last release was hardly more than noise; below 1.
    pub decay: f64,
    /// No factor is smaller.
    pub least: f64,
    /// A release is hardly more than noise if its squared norm is below (1 + `signal`) times what noise alone has on average.
    pub signal: f64,
}

impl Schedule {
    pub(super) fn check(&self, rounds: u64) -> Result<()> {
        let positive = |name, x: f64| match x.is_finite() && x > 0.0 {
            true => Ok(()),
            false => Err(Error::setting(name, x, "finite and greater than 0")),
        };
        match self {
            Self::Constant => Ok(()),
            Self::Public(factors) => {
                if factors.len() as u64 != rounds {
                    let requirement = "one factor for each round";
                    return Err(Error::setting("schedule of noise", factors.len(), requirement));
                }
                factors.iter().try_for_each(|factor| positive("factor of noise", *factor))
            }
            Self::Adaptive(AdaptiveNoise { first, decay, least, signal }) => {
                positive("first factor of noise", *first)?;
                positive("least factor of noise", *least)?;
                positive("signal", *signal)?;
                positive("decay of noise", *decay)?;
                match *decay < 1.0 && least <= first {
                    true => Ok(()),
                    false => {
                        Err(Error::setting("decay of noise", decay, "below 1, least <= first"))
                    }
                }
            }
        }
    }

    pub(super) fn first(&self) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Public(factors) => factors.first().copied().unwrap_or(1.0),
            Self::Adaptive(rule) => rule.first,
        }
    }

    pub(super) fn next(&self, factors: &[f64], released: &[f64], std: f64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Public(public) => public.get(factors.len()).copied().unwrap_or(1.0),
            Self::Adaptive(rule) => rule.next(factors, released, std),
        }
    }

    pub(super) fn planned(&self, rounds: u64) -> Vec<f64> {
        let rounds = usize::try_from(rounds).unwrap_or(usize::MAX);
        match self {
            Self::Constant => vec![1.0; rounds],
            Self::Public(factors) => factors.clone(),
            Self::Adaptive(rule) => vec![rule.first; rounds],
        }
    }

    /// Whether rounds can have had these factors, and the one that comes `next`.
    pub(super) fn is_possible(&self, factors: &[f64], next: f64) -> bool {
        let mut all = factors.iter().copied().chain([next]);
        match self {
            Self::Constant => all.all(|factor| factor == 1.0),
            Self::Public(public) => {
                public.starts_with(factors) && public.get(factors.len()).is_none_or(|x| *x == next)
            }
            Self::Adaptive(rule) => all.all(|factor| (rule.least..=rule.first).contains(&factor)),
        }
    }

    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Constant => String::new(),
            Self::Public(_) => "Noise: times a public factor for each round.\n".to_owned(),
            Self::Adaptive(_) => {
                "Noise: less after releases that were hardly more than noise; a filter grants each \
                                  round, and the guarantee is the budget.\n"
                    .to_owned()
            }
        }
    }
}

impl AdaptiveNoise {
    fn next(self, factors: &[f64], released: &[f64], std: f64) -> f64 {
        let last = factors.last().copied().unwrap_or(self.first);
        let squares: f64 = released.iter().map(|x| x * x).sum();
        let noise = released.len() as f64 * std * std;
        match squares < (1.0 + self.signal) * noise {
            true => (last * self.decay).max(self.least),
            false => last,
        }
    }
}
