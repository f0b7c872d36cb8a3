//! Rules for what is trained.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::mem::replace;

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
    /// The rest is empty for a rule alone. Else both are one list in postfix order (a b or c minus), because a
    /// tree would be as deep as there are rules in it, and so would be every walk through it and its drop.
    first: Rule,
    rest: VecDeque<Step>,
}

#[derive(Clone, Debug)]
enum Step {
    Rule(Rule),
    Combined(Combine),
}

/// How the last two sets of parameters become one.
#[derive(Clone, Copy, Debug)]
enum Combine {
    Union,
    And,
    Minus,
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
}

impl ParamSelector {
    const fn alone(rule: Rule) -> Self {
        Self { first: rule, rest: VecDeque::new() }
    }

    /// Every parameter: full fine-tuning.
    pub const fn all() -> Self {
        Self::alone(Rule::All)
    }

    /// The last layer that has parameters: linear probing. "Last" is by the order of the model's fields;
    /// where the head is another one, name it with [`path`](Self::path).
    pub const fn head() -> Self {
        Self::last_layers(1)
    }

    /// The last `layers` layers that have parameters, by the order of the model's fields. A layer is an
    /// innermost module: a `Linear`, a `LayerNorm`.
    pub const fn last_layers(layers: usize) -> Self {
        Self::alone(Rule::Head { layers })
    }

    /// Every bias, and the shift of every normalisation layer: DP-BiTFiT (Bu et al. 2022, arXiv
    /// 2210.00036; BitFit: Ben Zaken et al. 2021, arXiv 2106.10199). A parameter counts as one if its
    /// field's name is `beta` or has the word `bias` in it.
    pub const fn bias() -> Self {
        Self::alone(Rule::Bias)
    }

    /// Scale and shift of every normalisation layer: of each module whose type has `Norm` in its name.
    pub const fn norms() -> Self {
        Self::alone(Rule::Norms)
    }

    /// A parameter, or a module with all that is inside it, by its dotted path (`encoder.layers.0`).
    pub fn path(path: impl Into<String>) -> Self {
        Self::alone(Rule::Path(path.into()))
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
        Ok(Self::alone(Rule::Regex { pattern: pattern.into(), group }))
    }

    /// The parameters of a burn group.
    pub const fn group(group: ParamGroup) -> Self {
        Self::alone(Rule::Group(group))
    }

    /// The adapters of burn's `Lora` or of [`LowRank`](super::LowRank), attached to the model before.
    pub fn lora() -> Self {
        Self::attached("lora")
    }

    /// The scores of every [`SuperMask`](crate::mask::SuperMask), attached to the model before.
    pub const fn masks() -> Self {
        Self::alone(Rule::Scores)
    }

    /// The parameters of every reparameterization with this name.
    pub fn attached(name: impl Into<String>) -> Self {
        Self::alone(Rule::Attached(name.into()))
    }

    /// What either rule selects.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        self.combined(other, Combine::Union)
    }

    /// What both rules select.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.combined(other, Combine::And)
    }

    /// What this rule selects and the other does not.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.combined(other, Combine::Minus)
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
        let selected = self.selected(&inventory)?;
        if !selected.contains(&true) {
            return Err(Error::EmptySelection {
                selector: self.to_string(),
                advice: self.advice().into(),
            });
        }
        Selection::new(self.to_string(), inventory, selected)
    }

    fn combined(mut self, mut other: Self, how: Combine) -> Self {
        // The shorter list moves, so that a rule made of many is made in no more steps, whichever side it grows at.
        if self.rest.len() >= other.rest.len() {
            self.rest.push_back(Step::Rule(other.first));
            self.rest.append(&mut other.rest);
        } else {
            other.rest.push_front(Step::Rule(other.first));
            self.rest.drain(..).rev().for_each(|step| other.rest.push_front(step));
            self.rest = other.rest;
        }
        self.rest.push_back(Step::Combined(how));
        self
    }

    /// For each entry of the inventory, whether it is selected.
    fn selected(&self, inventory: &Inventory) -> Result<Vec<bool>> {
        let mut last = self.first.select(inventory)?;
        let mut before = Vec::new();
        for step in &self.rest {
            match step {
                Step::Rule(rule) => before.push(replace(&mut last, rule.select(inventory)?)),
                Step::Combined(how) => {
                    let one: Vec<bool> = before.pop().unwrap_or_default();
                    let both = one.into_iter().zip(&last);
                    last = both.map(|(one, other)| how.combine(one, *other)).collect();
                }
            }
        }
        Ok(last)
    }

    fn advice(&self) -> &'static str {
        if self.rest.is_empty() { self.first.advice() } else { Rule::All.advice() }
    }
}

impl Combine {
    fn combine(self, one: bool, other: bool) -> bool {
        match self {
            Self::Union => one || other,
            Self::And => one && other,
            Self::Minus => one && !other,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Union => " or ",
            Self::And => " and ",
            Self::Minus => " minus ",
        }
    }
}

impl Rule {
    /// For each entry of the inventory, whether it is selected.
    fn select(&self, inventory: &Inventory) -> Result<Vec<bool>> {
        let entries = &inventory.entries;
        let matching = |matches: &dyn Fn(&Entry) -> bool| entries.iter().map(matches).collect();
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
    let mut last: HashSet<&str> = HashSet::new();
    for entry in entries.iter().rev().filter(|entry| entry.attached.is_none()) {
        if !last.contains(entry.layer.as_str()) {
            if last.len() == layers {
                break;
            }
            last.insert(&entry.layer);
        }
    }
    let is_last = |e: &Entry| e.attached.is_none() && last.contains(e.layer.as_str());
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
        // What stands around each rule: brackets before it, and words and brackets after it.
        let rules = 1 + self.rest.iter().filter(|step| matches!(step, Step::Rule(_))).count();
        let mut opening = vec![0; rules];
        let mut after = vec![(0, ""); rules];
        let mut spans = vec![(0, 0)];
        for step in &self.rest {
            match step {
                Step::Rule(_) => {
                    let next = spans.last().map_or(0, |(_, last)| last + 1);
                    spans.push((next, next));
                }
                Step::Combined(how) => {
                    let (Some(other), Some(one)) = (spans.pop(), spans.pop()) else { continue };
                    opening[one.0] += 1;
                    after[one.1].1 = how.word();
                    after[other.1].0 += 1;
                    spans.push((one.0, other.1));
                }
            }
        }
        let others = self.rest.iter().filter_map(|step| match step {
            Step::Rule(rule) => Some(rule),
            Step::Combined(_) => None,
        });
        for (i, rule) in std::iter::once(&self.first).chain(others).enumerate() {
            let (closing, word) = after[i];
            (0..opening[i]).try_for_each(|_| f.write_str("("))?;
            rule.fmt(f)?;
            (0..closing).try_for_each(|_| f.write_str(")"))?;
            f.write_str(word)?;
        }
        Ok(())
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
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::LinearConfig;
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_combination_is_written_as_it_was_made() {
        let path = ParamSelector::path;
        let one = path("a").union(path("b")).minus(path("c").and(path("d")));
        assert_eq!(one.to_string(), "((a or b) minus (c and d))");
        let other = path("x").and(one.clone().union(path("y")));
        assert_eq!(other.to_string(), "(x and (((a or b) minus (c and d)) or y))");
        assert_eq!(one.minus(other).to_string().matches('(').count(), 3 + 5 + 1);
    }

    #[test]
    fn thousands_of_rules_need_no_stack() {
        let rules = || {
            let model = LinearConfig::new(2, 3).init(&Device::default().autodiff());
            let one = |_| ParamSelector::path("weight");
            let grown = (0..20_000).map(one).reduce(ParamSelector::union).unwrap();
            let other = (0..20_000).map(one).reduce(|all, one| one.union(all)).unwrap();
            for rule in [grown, other] {
                let copy = rule.clone();
                drop(rule);
                assert_eq!(copy.to_string().matches(" or ").count(), 19_999);
                assert_eq!(copy.select(&model).unwrap().paths().count(), 1);
            }
        };
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(rules).unwrap();
        thread.join().unwrap();
    }
}
