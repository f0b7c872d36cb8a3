//! Rules for what is trained.

use std::collections::VecDeque;
use std::fmt;

use burn::module::{Module, ParamGroup, Reparameterization};

use super::inventory::{Entry, Inventory};
use super::selected::Selection;
use crate::error::{Error, Result, SelectionError};
use crate::mask::SuperMask;
use crate::model::nearest;

/// A rule for what is trained. It knows nothing of the data and so costs no privacy.
///
/// Rules compose: `ParamSelector::all().minus(ParamSelector::path("embeddings"))`. Each part of a
/// rule has to match something in the model, also inside `union`, `and` and `minus`. Otherwise a
/// misspelled path after `minus` would train what was meant to be frozen. Only `bias` and `norms`
/// may match nothing after `minus`, because many models have none.
#[derive(Clone, Debug)]
pub struct ParamSelector {
    /// Operands come before their operator (reverse Polish notation), so that no rule is too long
    /// for the stack.
    first: Rule,
    rest: VecDeque<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Rule(Rule),
    Join(Join),
}

#[derive(Clone, Copy, Debug)]
enum Join {
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
    /// Every parameter: full fine-tuning.
    pub const fn all() -> Self {
        Self::of(Rule::All)
    }

    /// The last layer that has parameters: linear probing. "Last" is by the order of the model's
    /// fields. If the head is another layer, name it with [`path`](Self::path).
    pub const fn head() -> Self {
        Self::last_layers(1)
    }

    /// The last `layers` layers that have parameters, by the order of the model's fields. A layer is an
    /// innermost module: a `Linear`, a `LayerNorm`.
    pub const fn last_layers(layers: usize) -> Self {
        Self::of(Rule::Head { layers })
    }

    /// Every bias, and the shift of every normalization layer: DP-BiTFiT (Bu et al. 2022, arXiv
    /// 2210.00036; BitFit: Ben Zaken et al. 2021, arXiv 2106.10199). A parameter counts as a bias
    /// if its field's name is `beta` or has the word `bias` in it.
    pub const fn bias() -> Self {
        Self::of(Rule::Bias)
    }

    /// Scale and shift of every normalization layer. A layer counts as one if its type has `Norm`
    /// in its name.
    pub const fn norms() -> Self {
        Self::of(Rule::Norms)
    }

    /// A parameter, or a module with everything inside it, by its dotted path (`encoder.layers.0`).
    pub fn path(path: impl Into<String>) -> Self {
        Self::of(Rule::Path(path.into()))
    }

    /// Each of several [`path`](Self::path)s, taken together.
    ///
    /// # Errors
    /// [`SelectionError::Empty`] where there is none.
    pub fn paths<P: Into<String>>(paths: impl IntoIterator<Item = P>) -> Result<Self> {
        paths.into_iter().map(Self::path).reduce(Self::union).ok_or_else(|| {
            Error::Selection(SelectionError::Empty {
                selector: "paths []".into(),
                advice: "name at least one path".into(),
            })
        })
    }

    /// Parameters whose path matches a regular expression somewhere (`attention\..*\.weight$`).
    ///
    /// # Errors
    /// [`Error::Setting`] for a pattern that does not parse.
    pub fn regex(pattern: &str) -> Result<Self> {
        let group = ParamGroup::from_regex(pattern).map_err(|error| {
            let burn::module::ParamGroupError::InvalidPatternError(reason) = error;
            Error::setting("pattern", reason, "a regular expression")
        })?;
        Ok(Self::of(Rule::Regex { pattern: pattern.into(), group }))
    }

    /// The parameters of a burn group.
    pub const fn group(group: ParamGroup) -> Self {
        Self::of(Rule::Group(group))
    }

    /// The adapters of burn's `Lora` or of [`LowRank`](super::LowRank). Attach them first.
    pub fn lora() -> Self {
        Self::attached("lora")
    }

    /// The scores of every [`SuperMask`](crate::mask::SuperMask). Attach the masks first.
    pub const fn masks() -> Self {
        Self::of(Rule::Scores)
    }

    /// The parameters of every reparameterization with this name.
    pub fn attached(name: impl Into<String>) -> Self {
        Self::of(Rule::Attached(name.into()))
    }

    /// The parameters that either rule selects.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        self.joined(other, Join::Union)
    }

    /// The parameters that both rules select.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.joined(other, Join::And)
    }

    /// The parameters that this rule selects and the other does not.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.joined(other, Join::Minus)
    }

    /// Resolves the rule against `model`. It does not change what the model trains;
    /// [`Selection::apply`] does.
    ///
    /// # Errors
    /// [`SelectionError::UnknownPath`]; [`SelectionError::NoBias`] where biases are requested and
    /// there are none; [`SelectionError::Empty`] where the rule, or a part of it, matches nothing;
    /// [`ModelError::SharedParameter`](crate::error::ModelError::SharedParameter) for a selected
    /// parameter that occurs in two fields; [`SelectionError::NothingToSelect`] for a model without
    /// parameters or not on an autodiff device.
    pub fn select<M: Module>(&self, model: &M) -> Result<Selection> {
        let inventory = Inventory::of(model)?;
        let selected = self.selected(&inventory)?;
        if !selected.contains(&true) {
            return Err(Error::Selection(SelectionError::Empty {
                selector: self.to_string(),
                advice: ADVICE.into(),
            }));
        }
        Selection::new(self.to_string(), inventory, selected)
    }

    const fn of(rule: Rule) -> Self {
        Self { first: rule, rest: VecDeque::new() }
    }

    fn joined(mut self, mut other: Self, join: Join) -> Self {
        // The shorter list moves, so that building a rule of many parts takes linear time,
        // whichever side it grows at.
        if self.rest.len() >= other.rest.len() {
            self.rest.push_back(Part::Rule(other.first));
            self.rest.append(&mut other.rest);
        } else {
            other.rest.push_front(Part::Rule(other.first));
            self.rest.drain(..).rev().for_each(|part| other.rest.push_front(part));
            self.rest = other.rest;
        }
        self.rest.push_back(Part::Join(join));
        self
    }

    /// Whether each entry of the inventory is selected.
    fn selected(&self, inventory: &Inventory) -> Result<Vec<bool>> {
        let entries = &inventory.entries;
        let mut taken_away = self.taken_away().into_iter();
        let mut operands = vec![self.first.select(entries, taken_away.next() == Some(true))?];
        for (part, taken_away) in self.rest.iter().zip(taken_away) {
            match part {
                Part::Rule(rule) => operands.push(rule.select(entries, taken_away)?),
                Part::Join(join) => {
                    let other = operands.pop().unwrap_or_default();
                    if let Some(one) = operands.last_mut() {
                        one.iter_mut().zip(other).for_each(|(one, other)| join.apply(one, other));
                    }
                }
            }
        }
        Ok(operands.pop().unwrap_or_default())
    }

    /// Whether each part is on the right side of a `minus`.
    fn taken_away(&self) -> Vec<bool> {
        // Read from the end: an operator comes before its operands, and the right operand before
        // the left.
        let mut open = vec![false];
        let mut flags = Vec::new();
        for part in self.rest.iter().rev() {
            let taken_away = open.pop().unwrap_or(false);
            flags.push(taken_away);
            if let Part::Join(join) = part {
                open.extend([taken_away, taken_away || matches!(join, Join::Minus)]);
            }
        }
        flags.push(open.pop().unwrap_or(false));
        flags.reverse();
        flags
    }
}

/// The advice for a rule that matches nothing.
const ADVICE: &str = "print the selection of `ParamSelector::all()` to see what there is";

impl Join {
    const fn apply(self, one: &mut bool, other: bool) {
        *one = match self {
            Self::Union => *one || other,
            Self::And => *one && other,
            Self::Minus => *one && !other,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Union => "or",
            Self::And => "and",
            Self::Minus => "minus",
        }
    }
}

impl Rule {
    /// Whether each entry is selected. At least one is, unless the rule may match nothing where it
    /// is taken away.
    fn select(&self, entries: &[Entry], taken_away: bool) -> Result<Vec<bool>> {
        let matching = |matches: &dyn Fn(&Entry) -> bool| entries.iter().map(matches).collect();
        let found: Vec<bool> = match self {
            Self::All => vec![true; entries.len()],
            Self::Head { layers } => last_layers(entries, *layers),
            Self::Bias => matching(&is_bias),
            Self::Norms => matching(&|e| e.layer_type.contains("Norm") && e.attached.is_none()),
            Self::Path(path) => {
                let inside = |candidate: &String| {
                    let rest = candidate.strip_prefix(path.as_str());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                matching(&|entry| entry.paths.iter().any(inside))
            }
            Self::Regex { group, .. } | Self::Group(group) => matching(&|entry| {
                entry.paths.iter().any(|path| group.matches(&entry.id, Some(path)))
            }),
            Self::Attached(name) => matching(&|entry| entry.attached.as_ref() == Some(name)),
            // A mask may have more than scores: the draws of a stochastic mask are not trainable
            // parameters.
            Self::Scores => matching(&|entry| {
                entry.attached.as_deref() == Some(SuperMask::NAME) && entry.name() == "scores"
            }),
        };
        match found.contains(&true) || (taken_away && self.may_be_absent()) {
            true => Ok(found),
            false => Err(self.matches_nothing(entries)),
        }
    }

    /// Whether a model may have none of these.
    const fn may_be_absent(&self) -> bool {
        match self {
            Self::Bias | Self::Norms => true,
            Self::All | Self::Head { .. } | Self::Scores => false,
            // Names that the user gave.
            Self::Path(_) | Self::Regex { .. } | Self::Group(_) | Self::Attached(_) => false,
        }
    }

    fn matches_nothing(&self, entries: &[Entry]) -> Error {
        let paths = || entries.iter().flat_map(|entry| &entry.paths).map(String::as_str);
        let advice = match self {
            Self::Bias => return Error::Selection(SelectionError::NoBias { layers: layers_without_bias(entries) }),
            Self::Path(path) => return unknown(path, entries),
            Self::Attached(name) if name == "lora" => {
                "attach adapters first, with `LowRank::new(..)?.apply(model)?` or burn's \
                 `model.apply_lora(..)`"
                    .into()
            }
            Self::Attached(name) => {
                let attached = entries.iter().filter_map(|entry| entry.attached.as_deref());
                nearest(name, attached)
            }
            Self::Regex { pattern, .. } => nearest(pattern, paths()),
            Self::Scores => "attach masks first, with `SuperMaskConfig::new(..)?.apply(model)?`".into(),
            Self::Norms => "the model has no normalization layer: choose another rule".into(),
            Self::Head { layers: 0 } => "ask for at least 1 layer".into(),
            Self::Group(_) => {
                "a group of ids is of one model, and loading a record changes a model's ids: make the group \
                 after that"
                    .into()
            }
            Self::All | Self::Head { .. } => ADVICE.into(),
        };
        Error::Selection(SelectionError::Empty { selector: self.to_string(), advice })
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

/// The first few layers that have matrices, and thus room for a bias, for a message.
fn layers_without_bias(entries: &[Entry]) -> String {
    let matrices = entries.iter().filter(|e| e.attached.is_none() && e.shape.num_dims() >= 2);
    let named: Vec<String> = matrices.take(3).map(|e| format!("`{}`", e.layer)).collect();
    named.join(", ")
}

/// An error that says where the path leaves the model, and what is there instead.
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
    Error::Selection(SelectionError::UnknownPath {
        path: path.into(),
        place,
        instead: instead.join(", "),
    })
}

impl fmt::Display for ParamSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // For each part, the parentheses that open before it and the word before those.
        let mut before = vec![(0, None); self.rest.len() + 1];
        let mut operands = vec![0];
        for (index, part) in self.rest.iter().enumerate() {
            match part {
                Part::Rule(_) => operands.push(index + 1),
                Part::Join(join) => {
                    let right = operands.pop().unwrap_or(0);
                    before[right].1 = Some(join.word());
                    before[operands.last().copied().unwrap_or(0)].0 += 1;
                }
            }
        }
        let first = Part::Rule(self.first.clone());
        for ((open, word), part) in before.into_iter().zip([&first].into_iter().chain(&self.rest)) {
            if let Some(word) = word {
                write!(f, " {word} ")?;
            }
            (0..open).try_for_each(|_| write!(f, "("))?;
            match part {
                Part::Rule(rule) => rule.fmt(f)?,
                Part::Join(_) => write!(f, ")")?,
            }
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
