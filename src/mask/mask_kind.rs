//! From scores to a mask.

use burn::tensor::{Tensor, activation::sigmoid};

use crate::error::{Error, Result};

/// How scores become a mask.
///
/// The gradient passes through the step of a binary mask unchanged (straight-through estimator:
/// Bengio et al. 2013, arXiv 1308.3432).
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum MaskKind {
    /// 1 where the score is at least `threshold`, else 0 (Mallya et al. 2018, arXiv 1801.06519; for BERT: Zhao et
    /// al. 2020, arXiv 2004.12406). Scores start at 0, so a threshold of 0 or below keeps everything.
    Threshold {
        /// The threshold; finite.
        threshold: f64,
    },
    /// 1 for the largest `share` of scores, and for those that tie with the last of them
    /// (edge-popup: Ramanujan et al. 2020, arXiv 1911.13299). At first all scores tie, so
    /// everything is kept.
    TopK {
        /// The share that is kept; above 0, at most 1.
        share: f64,
        /// The scores among which the share is taken.
        scope: Scope,
    },
    /// 1 with probability σ(score) (Zhou et al. 2019, arXiv 1905.01067; FedPM: Isik et al. 2023,
    /// arXiv 2209.15328). [`SuperMaskConfig::refresh`](super::SuperMaskConfig::refresh) makes one
    /// draw for each step. Scores start where this probability is `keep`.
    Stochastic {
        /// The initial probability; above 0, below 1.
        keep: f64,
    },
    /// The multiplier 2 σ(score), from 0 to 2; initially 1.
    Sigmoid,
    /// The multiplier 1 + score; initially 1.
    Multiplier,
}

/// The scores among which [`MaskKind::TopK`] takes its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The scores of one masked parameter: each parameter has its own share.
    Layer,
    /// The scores of all masked parameters together.
    /// [`SuperMaskConfig::refresh`](super::SuperMaskConfig::refresh) finds the cut before each
    /// step.
    Global,
}

impl MaskKind {
    /// # Errors
    /// [`Error::Setting`] for a number out of its range.
    pub(super) fn checked(self) -> Result<Self> {
        let (right, error) = match self {
            Self::Threshold { threshold } => {
                (threshold.is_finite(), Error::setting("threshold", threshold, "finite"))
            }
            Self::TopK { share, scope: Scope::Layer | Scope::Global } => {
                let error = Error::setting("share", share, "above 0 and at most 1");
                (share > 0.0 && share <= 1.0, error)
            }
            Self::Stochastic { keep } => {
                let error = Error::setting("keep", keep, "above 0 and below 1");
                (keep > 0.0 && keep < 1.0, error)
            }
            Self::Sigmoid | Self::Multiplier => return Ok(self),
        };
        if right { Ok(self) } else { Err(error) }
    }

    /// Whether the mask is 0 or 1.
    pub fn is_binary(self) -> bool {
        match self {
            Self::Threshold { .. } | Self::TopK { .. } | Self::Stochastic { .. } => true,
            Self::Sigmoid | Self::Multiplier => false,
        }
    }

    /// The initial size and value of a mask's state, for `count` scores, if the mask has one.
    pub(super) fn initial_state(self, count: usize) -> Option<(usize, f64)> {
        match self {
            Self::Stochastic { .. } => Some((count, 0.5)),
            Self::TopK { scope: Scope::Global, .. } => Some((1, self.initial())),
            Self::TopK { scope: Scope::Layer, .. }
            | Self::Threshold { .. }
            | Self::Sigmoid
            | Self::Multiplier => None,
        }
    }

    /// The initial value of each score.
    pub(super) fn initial(self) -> f64 {
        match self {
            Self::Stochastic { keep } => (keep / (1.0 - keep)).ln(),
            Self::Threshold { .. } | Self::TopK { .. } | Self::Sigmoid | Self::Multiplier => 0.0,
        }
    }

    /// The number of scores that a share of `count` is.
    pub(super) fn kept(share: f64, count: usize) -> usize {
        ((share * count as f64).ceil() as usize).clamp(1, count.max(1))
    }

    /// The mask of `scores`. `state` holds the draws of a stochastic mask, or the cut of a global
    /// top-k.
    pub(super) fn mask(self, scores: Tensor<1>, state: Option<Tensor<1>>) -> Tensor<1> {
        match self {
            Self::Threshold { threshold } => {
                let hard = scores.clone().detach().greater_equal_elem(threshold).float();
                straight_through(hard, scores)
            }
            Self::TopK { share, scope } => {
                let fixed = scores.clone().detach();
                let cut = match (scope, state) {
                    (Scope::Global, Some(cut)) => cut.detach(),
                    (Scope::Layer, _) | (Scope::Global, None) => {
                        let last = Self::kept(share, scores.dims()[0]) - 1;
                        fixed.clone().sort_descending(0).slice_dim(0, last..last + 1)
                    }
                };
                let hard = fixed.greater_equal(cut.expand(scores.dims())).float();
                straight_through(hard, scores)
            }
            Self::Stochastic { .. } => {
                let chance = sigmoid(scores);
                match state {
                    Some(draws) => {
                        let hard = chance.clone().detach().greater(draws.detach()).float();
                        straight_through(hard, chance)
                    }
                    None => chance,
                }
            }
            Self::Sigmoid => sigmoid(scores).mul_scalar(2.0),
            Self::Multiplier => scores.add_scalar(1.0),
        }
    }
}

/// `hard` with the gradient of `soft`. The added difference is exactly zero, so `hard` stays exact.
fn straight_through(hard: Tensor<1>, soft: Tensor<1>) -> Tensor<1> {
    hard.detach() + (soft.clone() - soft.detach())
}
