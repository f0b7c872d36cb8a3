//! How one record's gradient is bounded: the settings, and the scale factors that follow from them.

use burn_dp_accounting::ClippingNorm;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, SelectionError, SettingError};
use crate::model::nearest;

/// A bound on what one record contributes to the summed gradient, in L2 norm over all trainable
/// parameters. Every value of this type is valid.
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
    /// Flat clipping of each group of parameters, to the group's own norm.
    PerGroup(PerGroupClipping),
    /// Flat clipping, to a norm that follows a quantile of the gradient norms (Andrew et al. 2019,
    /// arXiv 1905.03871).
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

    /// Automatic clipping: every gradient is normalized to just under `clipping_norm` (R).
    /// `stability` (γ, in the gradient's unit; the paper uses 0.01) keeps small gradients small.
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

    /// The state with which a run starts.
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
    /// state's C, depending on the kind.
    pub fn sensitivity(&self, state: &ClippingState) -> f64 {
        match self {
            Self::Adaptive(adaptive) => adaptive.within_bounds(state.clipping_norm).value(),
            // Constants of the plan, whatever state a caller passes.
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

    /// The number of groups that are clipped separately: 1 unless clipping is per group.
    pub fn groups(&self) -> usize {
        match self {
            Self::PerGroup(groups) => groups.groups.len(),
            Self::Flat { .. } | Self::Automatic(_) | Self::Adaptive(_) => 1,
        }
    }

    /// The group of the parameter at a dotted path: 0 unless clipping is per group.
    ///
    /// # Errors
    /// [`Error::Setting`] where no group covers the path.
    pub fn group_of(&self, path: &str) -> Result<usize> {
        match self {
            Self::PerGroup(groups) => groups.group_of(path),
            Self::Flat { .. } | Self::Automatic(_) | Self::Adaptive(_) => Ok(0),
        }
    }

    /// The group of each trained path. Every group must cover one: noise is scaled to √(Σ C_k²)
    /// over all groups, so a group that covers nothing would add noise and no gradient.
    ///
    /// # Errors
    /// [`Error::Setting`] where no group covers a path, [`SelectionError::CoversNothing`] where a
    /// group covers no path. `frozen` are the other paths, for the message of that error.
    pub(crate) fn groups_of(&self, trained: &[&str], frozen: &[&str]) -> Result<Vec<usize>> {
        let groups: Vec<usize> =
            trained.iter().map(|path| self.group_of(path)).collect::<Result<_>>()?;
        if let Self::PerGroup(per_group) = self {
            per_group.check_covered(&groups, trained, frozen)?;
        }
        Ok(groups)
    }

    /// # Errors
    /// [`SelectionError::CoversNothing`] for a group whose name is in none of `paths`, trained or
    /// not.
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

    /// The factor by which to multiply one record's gradient of `group`, given its L2 norm over
    /// that group.
    ///
    /// It is always in [0, ∞), and factor · norm is within the group's bound, even after the factor
    /// is rounded to `f32`. The factor is 0 for a norm that is not finite and for a group that does
    /// not exist. The factor is as private as the norm it comes from.
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

/// An unchecked clipping, as a plan's builder accepts it: `clipping(Clipping::flat(1.0))`.
impl TryFrom<Result<Self, SettingError>> for Clipping {
    type Error = SettingError;

    fn try_from(clipping: Result<Self, SettingError>) -> Result<Self, SettingError> {
        clipping
    }
}

/// min(1, C/norm), rounded down so that factor · norm ≤ C even after the factor is rounded to
/// `f32`.
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

/// Rounding to `f32` has a relative error of at most 2^-24. Below the normal range of `f32` there
/// is no such bound.
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

    /// R. The norm of a normalized gradient stays below it.
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
    /// A prefix ends at a dot: `encoder.layer` covers `encoder.layer` and `encoder.layer.weight`
    /// but not `encoder.layers`. The longest matching prefix decides. The empty prefix covers the
    /// rest. One record moves the sum by at most √(Σ C_k²), because the groups are disjoint
    /// coordinates. Noise is scaled to that, so in each step each group has to cover something that
    /// is trained. A step with an empty group is refused with [`SelectionError::CoversNothing`]. If
    /// a run's [`Schedule`](crate::selection::Schedule) changes what is trained, the groups have to
    /// be covered in every phase.
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
        // last place, so the result is increased by more than all of these together.
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
    /// [`SelectionError::CoversNothing`] for a group that is not among `groups`, the groups of the
    /// trained paths.
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

/// Whether the path is the prefix, or continues after it with a dot.
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
