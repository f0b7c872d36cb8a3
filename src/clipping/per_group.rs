//! Groups of parameters, each clipped to a norm of its own.

use burn_dp_accounting::ClippingNorm;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, SelectionError, SettingError};
use crate::model::nearest;

/// The settings of [`Clipping::PerGroup`](super::Clipping::PerGroup).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(String, ClippingNorm)>", into = "Vec<(String, ClippingNorm)>")]
pub struct PerGroupClipping {
    pub(super) groups: Vec<(String, ClippingNorm)>,
    pub(super) total: ClippingNorm,
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

    pub(super) fn group_of(&self, path: &str) -> Result<usize> {
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
    pub(super) fn check_covered(
        &self,
        groups: &[usize],
        trained: &[&str],
        frozen: &[&str],
    ) -> Result<()> {
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
pub(super) fn covers(prefix: &str, path: &str) -> bool {
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
