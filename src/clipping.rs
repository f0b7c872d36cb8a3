//! How one record's gradient is bounded: pure data and the scale factors that follow from it.

use burn_dp_accounting::{ClippingNorm, NoiseMultiplier};
use serde::{Deserialize, Serialize};

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

/// min(1, C/norm), rounded down so that factor · norm ≤ C also once the factor is an `f32`.
///
/// A norm that is NaN, infinite or negative gives 0: such a record contributes nothing.
pub fn clip_factor(norm: f64, clipping_norm: ClippingNorm) -> f64 {
    if !norm.is_finite() || norm < 0.0 {
        0.0
    } else if norm <= clipping_norm.value() {
        1.0
    } else {
        rounded_down(clipping_norm.value() / norm)
    }
}

/// Rounding to `f32` is off by at most 2^-24 relative, and below its normal range by anything.
fn rounded_down(factor: f64) -> f64 {
    let lowered = factor.min(f64::from(f32::MAX)) * (1.0 - f64::from(f32::EPSILON));
    if lowered < f64::from(f32::MIN_POSITIVE) { 0.0 } else { lowered }
}

/// The settings of [`Clipping::Automatic`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredAutomatic", into = "StoredAutomatic")]
pub struct AutomaticClipping {
    clipping_norm: ClippingNorm,
    stability: f64,
}

impl AutomaticClipping {
    fn new(clipping_norm: ClippingNorm, stability: f64) -> Result<Self, SettingError> {
        if !(stability.is_finite() && stability > 0.0) {
            return Err(SettingError::invalid("stability", stability, "finite and greater than 0"));
        }
        Ok(Self { clipping_norm, stability })
    }

    /// R, which the norm of a normalized gradient stays below.
    pub const fn clipping_norm(&self) -> ClippingNorm {
        self.clipping_norm
    }

    /// γ, in the gradient's unit.
    pub const fn stability(&self) -> f64 {
        self.stability
    }

    fn factor(&self, norm: f64) -> f64 {
        if !norm.is_finite() || norm < 0.0 {
            return 0.0;
        }
        rounded_down(self.clipping_norm.value() / (norm + self.stability))
    }
}

#[derive(Serialize, Deserialize)]
struct StoredAutomatic {
    clipping_norm: ClippingNorm,
    stability: f64,
}

impl From<AutomaticClipping> for StoredAutomatic {
    fn from(AutomaticClipping { clipping_norm, stability }: AutomaticClipping) -> Self {
        Self { clipping_norm, stability }
    }
}

impl TryFrom<StoredAutomatic> for AutomaticClipping {
    type Error = SettingError;

    fn try_from(stored: StoredAutomatic) -> Result<Self, SettingError> {
        Self::new(stored.clipping_norm, stored.stability)
    }
}

/// The settings of [`Clipping::PerGroup`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(String, ClippingNorm)>", into = "Vec<(String, ClippingNorm)>")]
pub struct PerGroupClipping {
    groups: Vec<(String, ClippingNorm)>,
    total: ClippingNorm,
}

impl PerGroupClipping {
    /// Groups as (prefix of the dotted parameter path, C_k).
    ///
    /// A prefix ends at a dot: `encoder.layer` covers `encoder.layer` and `encoder.layer.weight` but
    /// not `encoder.layers`. The longest matching prefix decides; the empty one is the rest. One
    /// record moves the sum by at most √(Σ C_k²), because the groups are disjoint coordinates. Noise is
    /// scaled to that, so in each step each group has to cover something that is trained: a step with an
    /// empty group is refused with [`SelectionError::CoversNothing`]. A run whose
    /// [`Schedule`](crate::selection::Schedule) changes what is trained needs groups that hold in every phase.
    ///
    /// # Errors
    /// [`SettingError`] where there is no group, a prefix occurs twice, or √(Σ C_k²) is not
    /// finite.
    pub fn new(groups: Vec<(String, ClippingNorm)>) -> Result<Self, SettingError> {
        if groups.is_empty() {
            return Err(SettingError::invalid("clipping groups", "empty", "at least one group"));
        }
        for (index, (prefix, _)) in groups.iter().enumerate() {
            if groups.iter().take(index).any(|(earlier, _)| earlier == prefix) {
                return Err(SettingError::invalid(
                    "clipping groups",
                    prefix,
                    "a prefix that occurs once",
                ));
            }
        }
        // hypot neither overflows nor underflows on the way. Each call may lose one unit in the
        // last place, so the sum is taken up by more than all of them together.
        let norm = groups.iter().fold(0.0, |sum, (_, norm)| libm::hypot(sum, norm.value()));
        let total = norm * (1.0 + 2.0 * f64::EPSILON * groups.len() as f64);
        Ok(Self { groups, total: ClippingNorm::try_from(total)? })
    }

    /// The groups as given.
    pub fn groups(&self) -> &[(String, ClippingNorm)] {
        &self.groups
    }

    fn group_of(&self, path: &str) -> Result<usize> {
        let matching =
            self.groups.iter().enumerate().filter(|(_, (prefix, _))| covers(prefix, path));
        matching.max_by_key(|(_, (prefix, _))| prefix.len()).map(|(index, _)| index).ok_or_else(
            || {
                Error::setting(
                    "parameter path",
                    path,
                    "covered by a clipping group: add one with the empty prefix for the rest",
                )
            },
        )
    }

    /// # Errors
    /// [`SelectionError::CoversNothing`] for a group that is none of `groups`, those of the trained paths.
    fn check_covered(&self, groups: &[usize], trained: &[&str], frozen: &[&str]) -> Result<()> {
        let empty = self.groups.iter().enumerate().find(|(group, _)| !groups.contains(group));
        let Some((_, (prefix, _))) = empty else { return Ok(()) };
        let any = |paths: &[&str]| paths.iter().any(|path| covers(prefix, path));
        let advice = if any(trained) {
            "groups with longer prefixes take all of it; leave this one out".into()
        } else if any(frozen) {
            "what it names is frozen; leave the group out while it is".into()
        } else {
            nearest(prefix, trained.iter().copied())
        };
        let what = "trained parameter, and its clipping norm would only add noise";
        let (setting, name) = ("clipping group", prefix.clone());
        Err(Error::Selection(SelectionError::CoversNothing { setting, name, what, advice }))
    }
}

/// Whether the path is the prefix, or goes on after it with a dot.
fn covers(prefix: &str, path: &str) -> bool {
    let rest = path.strip_prefix(prefix);
    prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl From<PerGroupClipping> for Vec<(String, ClippingNorm)> {
    fn from(clipping: PerGroupClipping) -> Self {
        clipping.groups
    }
}

impl TryFrom<Vec<(String, ClippingNorm)>> for PerGroupClipping {
    type Error = SettingError;

    fn try_from(groups: Vec<(String, ClippingNorm)>) -> Result<Self, SettingError> {
        Self::new(groups)
    }
}

mod adaptive;

pub use adaptive::{AdaptiveClipping, ClippingState};

#[cfg(test)]
mod tests;
