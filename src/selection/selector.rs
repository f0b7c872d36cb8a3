//! Rules for what is trained.

use std::fmt;

use burn::module::{Module, ParamGroup, Reparameterization};

use super::inventory::{Entry, Inventory};
use super::selected::Selection;
use crate::error::{Error, Result};
use crate::mask::SuperMask;

/// A rule for what is trained, which knows nothing of the data and so costs no privacy.
///
/// Rules compose: `ParamSelector::all().minus(ParamSelector::path("embeddings"))`.
#[derive(Clone, Debug)]
pub struct ParamSelector {
    rule: Rule,
}

#[derive(Clone, Debug)]
enum Rule {
    All,
    Head { layers: usize },
    Bias,
    Norms,
    Path(String),
    Regex { pattern: String, group: ParamGroup },
    Group(ParamGroup),
    Attached(String),
    Scores,
    Union(Box<Rule>, Box<Rule>),
    And(Box<Rule>, Box<Rule>),
    Minus(Box<Rule>, Box<Rule>),
}

impl ParamSelector {
    /// Every parameter: full fine-tuning.
    pub const fn all() -> Self {
        Self { rule: Rule::All }
    }

    /// The last layer that has parameters: linear probing. "Last" is by the order of the model's fields;
    /// where the head is another one, name it with [`path`](Self::path).
    pub const fn head() -> Self {
        Self::last_layers(1)
    }

    /// The last `layers` layers that have parameters, by the order of the model's fields. A layer is an
    /// innermost module: a `Linear`, a `LayerNorm`.
    pub const fn last_layers(layers: usize) -> Self {
        Self { rule: Rule::Head { layers } }
    }

    /// Every bias, and the shift of every normalisation layer: DP-BiTFiT (Bu et al. 2022, arXiv
    /// 2210.00036; BitFit: Ben Zaken et al. 2021, arXiv 2106.10199). A parameter counts as one if its
    /// field's name is `beta` or has the word `bias` in it.
    pub const fn bias() -> Self {
        Self { rule: Rule::Bias }
    }

    /// Scale and shift of every normalisation layer: of each module whose type has `Norm` in its name.
    pub const fn norms() -> Self {
        Self { rule: Rule::Norms }
    }

    /// A parameter, or a module with all that is inside it, by its dotted path (`encoder.layers.0`).
    pub fn path(path: impl Into<String>) -> Self {
        Self { rule: Rule::Path(path.into()) }
    }

    /// Each of several [`path`](Self::path)s.
    ///
    /// # Errors
    /// [`Error::EmptySelection`] where there is none.
    pub fn paths<P: Into<String>>(paths: impl IntoIterator<Item = P>) -> Result<Self> {
        paths.into_iter().map(Self::path).reduce(Self::union).ok_or_else(|| Error::EmptySelection {
            selector: "paths []".into(),
            advice: "name at least one path".into(),
        })
    }

    /// Parameters whose path matches a regular expression somewhere (`attention\..*\.weight$`).
    ///
    /// # Errors
    /// [`Error::InvalidSetting`] for a pattern that does not parse.
    pub fn regex(pattern: &str) -> Result<Self> {
        let group = ParamGroup::from_regex(pattern).map_err(|error| {
            let burn::module::ParamGroupError::InvalidPatternError(reason) = error;
            Error::setting("pattern", reason, "a regular expression")
        })?;
        Ok(Self { rule: Rule::Regex { pattern: pattern.into(), group } })
    }

    /// The parameters of a burn group.
    pub const fn group(group: ParamGroup) -> Self {
        Self { rule: Rule::Group(group) }
    }

    /// The adapters of burn's `Lora` or of [`LowRank`](super::LowRank), attached to the model before.
    pub fn lora() -> Self {
        Self::attached("lora")
    }

    /// The scores of every [`SuperMask`](crate::mask::SuperMask), attached to the model before.
    pub const fn masks() -> Self {
        Self { rule: Rule::Scores }
    }

    /// The parameters of every reparameterization with this name.
    pub fn attached(name: impl Into<String>) -> Self {
        Self { rule: Rule::Attached(name.into()) }
    }

    /// What either rule selects.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { rule: Rule::Union(self.rule.into(), other.rule.into()) }
    }

    /// What both rules select.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { rule: Rule::And(self.rule.into(), other.rule.into()) }
    }

    /// What this rule selects and the other does not.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self { rule: Rule::Minus(self.rule.into(), other.rule.into()) }
    }

    /// Applies the rule to `model`, whose trained parameters it does not change: that is
    /// [`Selection::apply`].
    ///
    /// # Errors
    /// [`Error::UnknownPath`]; [`Error::NoBias`] where biases are asked for and there are none;
    /// [`Error::EmptySelection`]; [`Error::SharedParameter`] for a selected parameter that stands in two
    /// fields; [`Error::NothingToSelect`] for a model without parameters or not on an autodiff device.
    pub fn select<M: Module>(&self, model: &M) -> Result<Selection> {
        let inventory = Inventory::of(model)?;
        let selected = self.rule.select(&inventory)?;
        if !selected.contains(&true) {
            return Err(Error::EmptySelection {
                selector: self.to_string(),
                advice: self.rule.advice().into(),
            });
        }
        Selection::new(self.to_string(), inventory, selected)
    }
}

impl Rule {
    /// For each entry of the inventory, whether it is selected.
    fn select(&self, inventory: &Inventory) -> Result<Vec<bool>> {
        let entries = &inventory.entries;
        let matching = |matches: &dyn Fn(&Entry) -> bool| entries.iter().map(matches).collect();
        let both = |one: &Self, other: &Self, combine: fn(bool, bool) -> bool| {
            let (one, other) = (one.select(inventory)?, other.select(inventory)?);
            Ok(one.into_iter().zip(other).map(|(one, other)| combine(one, other)).collect())
        };
        Ok(match self {
            Self::All => vec![true; entries.len()],
            Self::Head { layers } => last_layers(entries, *layers),
            Self::Bias => {
                let biases: Vec<bool> = matching(&is_bias);
                if !biases.contains(&true) {
                    return Err(Error::NoBias { layers: layers_without_bias(entries) });
                }
                biases
            }
            Self::Norms => matching(&|e| e.layer_type.contains("Norm") && e.attached.is_none()),
            Self::Path(path) => {
                let inside = |candidate: &String| {
                    let rest = candidate.strip_prefix(path.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                let found: Vec<bool> = matching(&|entry| entry.paths.iter().any(inside));
                if !found.contains(&true) {
                    return Err(unknown(path, entries));
                }
                found
            }
            Self::Regex { group, .. } | Self::Group(group) => matching(&|entry| {
                entry.paths.iter().any(|path| group.matches(&entry.id, Some(path)))
            }),
            Self::Attached(name) => matching(&|entry| entry.attached.as_ref() == Some(name)),
            // A mask may have more than scores: the draws of a stochastic one are no parameters.
            Self::Scores => matching(&|entry| {
                entry.attached.as_deref() == Some(SuperMask::NAME) && entry.name() == "scores"
            }),
            Self::Union(one, other) => both(one, other, |one, other| one || other)?,
            Self::And(one, other) => both(one, other, |one, other| one && other)?,
            Self::Minus(one, other) => both(one, other, |one, other| one && !other)?,
        })
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Attached(name) if name == "lora" => {
                "attach adapters first, with `model.apply_reparameterization(LowRank::new(..)?)` or \
                 burn's `model.apply_lora(..)`"
            }
            Self::Scores => "attach masks first, with `SuperMaskConfig::new(..)?.apply(model)?`",
            Self::Norms => "the model has no normalisation layer: choose another rule",
            _ => "print the selection of `ParamSelector::all()` to see what there is",
        }
    }
}

fn is_bias(entry: &Entry) -> bool {
    let name = entry.name();
    entry.attached.is_none() && (name == "beta" || name.split('_').any(|word| word == "bias"))
}

fn last_layers(entries: &[Entry], layers: usize) -> Vec<bool> {
    let mut last: Vec<&str> = Vec::new();
    for entry in entries.iter().rev().filter(|entry| entry.attached.is_none()) {
        if !last.contains(&entry.layer.as_str()) {
            if last.len() == layers {
                break;
            }
            last.push(&entry.layer);
        }
    }
    let is_last = |e: &Entry| e.attached.is_none() && last.contains(&e.layer.as_str());
    entries.iter().map(is_last).collect()
}

/// The first few layers, for a message: with matrices, and thus room for a bias.
fn layers_without_bias(entries: &[Entry]) -> String {
    let matrices = entries.iter().filter(|e| e.attached.is_none() && e.shape.num_dims() >= 2);
    let named: Vec<String> = matrices.take(3).map(|e| format!("`{}`", e.layer)).collect();
    named.join(", ")
}

/// Says where the path leaves the model, and what there is instead.
fn unknown(path: &str, entries: &[Entry]) -> Error {
    let parts: Vec<&str> = path.split('.').collect();
    let paths = || entries.iter().flat_map(|entry| &entry.paths);
    let known = |depth: usize| {
        let prefix = &parts[..depth];
        paths().any(|path| path.split('.').take(depth).eq(prefix.iter().copied()))
    };
    let depth = (0..parts.len()).rev().find(|depth| known(*depth)).unwrap_or(0);
    let mut instead: Vec<&str> = Vec::new();
    for candidate in paths() {
        let mut candidate = candidate.split('.');
        if !candidate.by_ref().take(depth).eq(parts[..depth].iter().copied()) {
            continue;
        }
        if let Some(next) = candidate.next().filter(|next| !instead.contains(next)) {
            instead.push(next);
        }
    }
    let place =
        if depth == 0 { "the model".into() } else { format!("`{}`", parts[..depth].join(".")) };
    Error::UnknownPath { path: path.into(), place, instead: instead.join(", ") }
}

impl fmt::Display for ParamSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.fmt(f)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => write!(f, "all"),
            Self::Head { layers: 1 } => write!(f, "head"),
            Self::Head { layers } => write!(f, "last {layers} layers"),
            Self::Bias => write!(f, "bias"),
            Self::Norms => write!(f, "norms"),
            Self::Path(path) => write!(f, "{path}"),
            Self::Regex { pattern, .. } => write!(f, "/{pattern}/"),
            Self::Group(_) => write!(f, "group"),
            Self::Attached(name) => write!(f, "{name}"),
            Self::Scores => write!(f, "masks"),
            Self::Union(one, other) => write!(f, "({one} or {other})"),
            Self::And(one, other) => write!(f, "({one} and {other})"),
            Self::Minus(one, other) => write!(f, "({one} minus {other})"),
        }
    }
}
