//! The rule by which one record's gradient is bounded, and everything that follows from it.

use burn_dp_accounting::{ClippingNorm, NoiseMultiplier};
use serde::{Deserialize, Serialize};

use super::adaptive::{AdaptiveClipping, ClippingState};
use super::automatic::AutomaticClipping;
use super::factor::clip_factor;
use super::per_group::{PerGroupClipping, covers};
use crate::error::{Error, Result, SelectionError, SettingError};
use crate::model::nearest;

/// A bound on what one record contributes to the summed gradient, in L2 norm over all trainable
/// parameters. A value that exists is valid.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Clipping {
    /// g · min(1, C/‖g‖) (Abadi et al. 2016, arXiv 1607.00133).
    Flat {
        /// C.
        clipping_norm: ClippingNorm,
    },
    /// g · R/(‖g‖ + γ) (AUTO-S, Bu et al. 2022, arXiv 2206.07136).
    Automatic(AutomaticClipping),
    /// Each group of parameters flat, to its own norm.
    PerGroup(PerGroupClipping),
    /// Flat, to a norm that follows a quantile of the gradient norms (Andrew et al. 2019, arXiv
    /// 1905.03871).
    Adaptive(AdaptiveClipping),
}

impl Clipping {
    /// Flat clipping to `clipping_norm`.
    ///
    /// # Errors
    /// [`SettingError`] where C is not finite and greater than 0.
    pub fn flat(
        clipping_norm: impl TryInto<ClippingNorm, Error: Into<SettingError>>,
    ) -> Result<Self, SettingError> {
        let clipping_norm = clipping_norm.try_into().map_err(Into::into)?;
        Ok(Self::Flat { clipping_norm })
    }

    /// Automatic clipping: every gradient is normalized to just under `clipping_norm` (R), and
    /// `stability` (γ, in the gradient's unit; the paper uses 0.01) keeps small ones small.
    ///
    /// # Errors
    /// [`SettingError`] where R or `stability` is not finite and greater than 0.
    pub fn automatic(
        clipping_norm: impl TryInto<ClippingNorm, Error: Into<SettingError>>,
        stability: f64,
    ) -> Result<Self, SettingError> {
        let clipping_norm = clipping_norm.try_into().map_err(Into::into)?;
        AutomaticClipping::new(clipping_norm, stability).map(Self::Automatic)
    }

    /// Per-group clipping; see [`PerGroupClipping::new`].
    ///
    /// # Errors
    /// As [`PerGroupClipping::new`].
    pub fn per_group<P, N>(groups: impl IntoIterator<Item = (P, N)>) -> Result<Self, SettingError>
    where
        P: Into<String>,
        N: TryInto<ClippingNorm, Error: Into<SettingError>>,
    {
        let checked =
            |(prefix, norm): (P, N)| Ok((prefix.into(), norm.try_into().map_err(Into::into)?));
        let groups = groups.into_iter().map(checked).collect::<Result<_, SettingError>>()?;
        PerGroupClipping::new(groups).map(Self::PerGroup)
    }

    /// Adaptive clipping; see [`AdaptiveClipping::new`].
    ///
    /// # Errors
    /// As [`AdaptiveClipping::new`].
    pub fn adaptive(
        initial: impl TryInto<ClippingNorm, Error: Into<SettingError>>,
        quantile: f64,
        learning_rate: f64,
        count_noise_std: f64,
    ) -> Result<Self, SettingError> {
        let initial = initial.try_into().map_err(Into::into)?;
        AdaptiveClipping::new(initial, quantile, learning_rate, count_noise_std).map(Self::Adaptive)
    }

    /// The state to start a run with.
    pub fn initial_state(&self) -> ClippingState {
        ClippingState {
            clipping_norm: match self {
                Self::Flat { clipping_norm } => *clipping_norm,
                Self::Automatic(automatic) => automatic.clipping_norm,
                Self::PerGroup(groups) => groups.total,
                Self::Adaptive(adaptive) => adaptive.initial,
            },
        }
    }

    /// A bound on the L2 norm of one record's contribution to the sum: C, R, √(Σ C_k²), or the
    /// state's C, by kind.
    pub fn sensitivity(&self, state: &ClippingState) -> f64 {
        match self {
            Self::Adaptive(adaptive) => adaptive.within_bounds(state.clipping_norm).value(),
            // Constants of the plan, whatever state a caller brings.
            Self::Flat { .. } | Self::Automatic(_) | Self::PerGroup(_) => {
                self.initial_state().clipping_norm.value()
            }
        }
    }

    /// A bound on the L2 norm of one record's contribution to the coordinates of `group`: 0 where there is no such group.
    pub(crate) fn bound(&self, group: usize, state: &ClippingState) -> f64 {
        match self {
            Self::Flat { .. } | Self::Automatic(_) | Self::Adaptive(_) => self.sensitivity(state),
            Self::PerGroup(groups) => {
                groups.groups.get(group).map_or(0.0, |(_, clipping_norm)| clipping_norm.value())
            }
        }
    }

    /// σ_b, the standard deviation of the noise on the count that the rule releases beside the sum, if it does.
    pub(crate) const fn count_noise_std(&self) -> Option<f64> {
        match self {
            Self::Adaptive(adaptive) => Some(adaptive.count_noise_std()),
            Self::Flat { .. } | Self::Automatic(_) | Self::PerGroup(_) => None,
        }
    }

    /// z_Δ: what is left of the noise multiplier for the gradient sum.
    ///
    /// The sum, scaled to sensitivity 1, has noise z_Δ; a centered count, of sensitivity 1/2, has noise σ_b. Together
    /// they are one Gaussian release with z^−2 = z_Δ^−2 + (2σ_b)^−2. Replace-one doubles both sensitivities, so the
    /// relation is the same.
    ///
    /// # Errors
    /// [`Error::Setting`] where nothing is left.
    pub(crate) fn gradient_noise_multiplier(&self, of: NoiseMultiplier) -> Result<NoiseMultiplier> {
        let adaptive = match self {
            Self::Adaptive(adaptive) => adaptive,
            Self::Flat { .. } | Self::Automatic(_) | Self::PerGroup(_) => return Ok(of),
        };
        let count = adaptive.count_noise_std() / adaptive.count_sensitivity();
        of.beside(count).ok_or_else(|| {
            Error::setting(
                "count_noise_std",
                adaptive.count_noise_std(),
                "greater than half the noise multiplier, or no noise budget is left for the gradient",
            )
        })
    }

    /// What happens to each gradient, after "gradients, ".
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Flat { clipping_norm } => {
                format!("each clipped to L2 norm {}", clipping_norm.value())
            }
            Self::Automatic(automatic) => {
                format!("each normalized to L2 norm below {}", automatic.clipping_norm().value())
            }
            Self::PerGroup(groups) => {
                format!("each clipped in {} groups of parameters", groups.groups().len())
            }
            Self::Adaptive(adaptive) => {
                format!(
                    "each clipped to a norm that follows their {} quantile",
                    adaptive.quantile()
                )
            }
        }
    }

    /// How many groups are clipped apart: 1 unless per-group.
    pub fn groups(&self) -> usize {
        match self {
            Self::PerGroup(groups) => groups.groups.len(),
            Self::Flat { .. } | Self::Automatic(_) | Self::Adaptive(_) => 1,
        }
    }

    /// The group of the parameter at a dotted path: always 0 unless per-group.
    ///
    /// # Errors
    /// [`Error::Setting`] where no group covers the path.
    pub fn group_of(&self, path: &str) -> Result<usize> {
        match self {
            Self::PerGroup(groups) => groups.group_of(path),
            Self::Flat { .. } | Self::Automatic(_) | Self::Adaptive(_) => Ok(0),
        }
    }

    /// The group of each trained path. Every group has one: noise is scaled to √(Σ C_k²) over all groups, so
    /// one that covers nothing would add noise and no gradient.
    ///
    /// # Errors
    /// [`Error::Setting`] where no group covers a path, [`SelectionError::CoversNothing`] where a group covers
    /// none; `frozen` are the other paths, for its message.
    pub(crate) fn groups_of(&self, trained: &[&str], frozen: &[&str]) -> Result<Vec<usize>> {
        let groups: Vec<usize> =
            trained.iter().map(|path| self.group_of(path)).collect::<Result<_>>()?;
        if let Self::PerGroup(per_group) = self {
            per_group.check_covered(&groups, trained, frozen)?;
        }
        Ok(groups)
    }

    /// # Errors
    /// [`SelectionError::CoversNothing`] for a group whose name is in none of `paths`, whatever is trained of them.
    pub(crate) fn check_names(&self, paths: &[&str]) -> Result<()> {
        let groups = match self {
            Self::PerGroup(per_group) => per_group.groups(),
            Self::Flat { .. } | Self::Automatic(_) | Self::Adaptive(_) => return Ok(()),
        };
        let absent = |prefix: &str| !paths.iter().any(|path| covers(prefix, path));
        match groups.iter().find(|(prefix, _)| absent(prefix)) {
            Some((prefix, _)) => {
                let (setting, name) = ("clipping group", prefix.clone());
                let advice = nearest(prefix, paths.iter().copied());
                Err(Error::Selection(SelectionError::CoversNothing {
                    setting,
                    name,
                    what: "parameter",
                    advice,
                }))
            }
            None => Ok(()),
        }
    }

    /// [`factor`](Self::factor) for numbers that stay in double precision, without the allowance for `f32`: the caller's
    /// norm has one for the quotient and the products.
    pub(crate) fn factor_in_double_precision(
        &self,
        group: usize,
        norm: f64,
        state: &ClippingState,
    ) -> f64 {
        let bound = self.bound(group, state);
        match self {
            Self::Automatic(_) => self.factor(group, norm, state),
            Self::Flat { .. } | Self::PerGroup(_) | Self::Adaptive(_) => {
                match (norm.is_finite(), norm <= bound) {
                    (false, _) => 0.0,
                    (true, true) => 1.0,
                    (true, false) => bound / norm,
                }
            }
        }
    }

    /// What to multiply one record's gradient of `group` by, given its L2 norm over that group.
    ///
    /// Always in [0, ∞) and so that factor · norm is within the group's bound, also after the factor
    /// is rounded to `f32`. A norm that is not finite gives 0, and so does a group that does not
    /// exist. The factor is as private as the norm it comes from.
    pub fn factor(&self, group: usize, norm: f64, state: &ClippingState) -> f64 {
        let only = group == 0;
        match self {
            Self::Flat { clipping_norm } if only => clip_factor(norm, *clipping_norm),
            Self::Automatic(automatic) if only => automatic.factor(norm),
            Self::Adaptive(adaptive) if only => {
                clip_factor(norm, adaptive.within_bounds(state.clipping_norm))
            }
            Self::Flat { .. } | Self::Automatic(_) | Self::Adaptive(_) => 0.0,
            Self::PerGroup(groups) => match groups.groups.get(group) {
                Some((_, clipping_norm)) => clip_factor(norm, *clipping_norm),
                None => 0.0,
            },
        }
    }
}

/// A clipping that was not checked yet, where a plan's builder takes one: `clipping(Clipping::flat(1.0))`.
impl TryFrom<Result<Self, SettingError>> for Clipping {
    type Error = SettingError;

    fn try_from(clipping: Result<Self, SettingError>) -> Result<Self, SettingError> {
        clipping
    }
}

impl From<AdaptiveClipping> for Clipping {
    fn from(adaptive: AdaptiveClipping) -> Self {
        Self::Adaptive(adaptive)
    }
}

impl ClippingState {
    /// One step of adaptive clipping: C ← C · e^(−η (b̃ − γ)), kept within the public bounds, where
    /// `noised_fraction_below` (b̃) is the noised fraction of records with norm at most C. Other
    /// kinds of clipping have nothing to update.
    ///
    /// # Errors
    /// [`Error::Setting`] where b̃ is not finite; the state is unchanged then.
    pub fn update(&mut self, clipping: &Clipping, noised_fraction_below: f64) -> Result<()> {
        let adaptive = match clipping {
            Clipping::Adaptive(adaptive) => adaptive,
            Clipping::Flat { .. } | Clipping::Automatic(_) | Clipping::PerGroup(_) => return Ok(()),
        };
        self.clipping_norm = adaptive.next(self.clipping_norm, noised_fraction_below)?;
        Ok(())
    }
}
