//! The result of a rule on one model.

use std::collections::{HashMap, HashSet};
use std::fmt;

use burn::module::{Module, Param, ParamGroup, ParamId};
use burn::tensor::Tensor;

use super::inventory::{Entry, Inventory};
use crate::error::{Error, ModelError, Result, SelectionError};
use crate::model::{Change, Place, change};

/// The parameters of one model that a rule selected, and the model's previous state.
///
/// `Display` prints a table of what is trained; layers that differ only in their number share a line.
#[derive(Clone, Debug)]
pub struct Selection {
    rule: String,
    inventory: Inventory,
    /// Whether each parameter is selected.
    selected: Vec<bool>,
}

impl Selection {
    pub(super) fn new(rule: String, inventory: Inventory, selected: Vec<bool>) -> Result<Self> {
        let this = Self::unshared(rule, inventory, selected);
        this.entries().try_for_each(Entry::check_alone)?;
        Ok(this)
    }

    /// A selection of parameters that are known to occur in one field each.
    pub(super) const fn unshared(rule: String, inventory: Inventory, selected: Vec<bool>) -> Self {
        Self { rule, inventory, selected }
    }

    /// Freezes the parameters that are not selected and trains the others. Training flags (dropout,
    /// batch normalization) stay as they are.
    ///
    /// # Errors
    /// [`SelectionError::OfAnotherModel`] where a selected parameter is not in `model`, and
    /// [`ModelError::SharedParameter`] where its id occurs in two fields.
    pub fn apply<M: Module>(&self, model: M) -> Result<M> {
        self.set(model, |index| self.selected[index])
    }

    /// Restores what was trained when the selection was made.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn undo<M: Module>(&self, model: M) -> Result<M> {
        self.set(model, |index| self.inventory.entries[index].trained)
    }

    /// The rule, in words.
    pub(crate) fn rule(&self) -> &str {
        &self.rule
    }

    /// Whether the model trained exactly this when the selection was made.
    pub(crate) fn was_applied(&self) -> bool {
        self.inventory.entries.iter().map(|entry| entry.trained).eq(self.selected.iter().copied())
    }

    /// The selected parameters as a burn group, for an optimizer's or a scheduler's groups.
    pub fn group(&self) -> ParamGroup {
        ParamGroup::from_ids(self.entries().map(|entry| entry.id).collect())
    }

    /// The paths of the selected parameters, in the model's order.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries().map(Entry::path)
    }

    /// The paths of the parameters that are not selected.
    pub(crate) fn left_out(&self) -> Vec<&str> {
        let all = self.inventory.entries.iter().zip(&self.selected);
        all.filter(|(_, selected)| !**selected).map(|(entry, _)| entry.path()).collect()
    }

    /// The number of selected scalars.
    pub fn trained(&self) -> usize {
        self.entries().map(Entry::scalars).sum()
    }

    /// The number of scalars of the model's parameters.
    pub fn total(&self) -> usize {
        self.inventory.scalars()
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        let selected = self.inventory.entries.iter().zip(&self.selected);
        selected.filter(|(_, selected)| **selected).map(|(entry, _)| entry)
    }

    fn set<M: Module>(&self, model: M, trained: impl Fn(usize) -> bool) -> Result<M> {
        let entries = self.inventory.entries.iter().enumerate();
        let wanted = entries.filter(|(index, _)| trained(*index)).map(|(_, entry)| entry.id);
        let wanted = wanted.collect();
        let mut setter = SetTrained { wanted, found: HashMap::new(), shared: None };
        let model = change(model, &mut setter);
        if let Some((first, second)) = setter.shared {
            return Err(Error::Model(ModelError::SharedParameter { first, second }));
        }
        match setter.found.len() == setter.wanted.len() {
            true => Ok(model),
            false => Err(Error::Selection(SelectionError::OfAnotherModel)),
        }
    }
}

struct SetTrained {
    wanted: HashSet<ParamId>,
    /// The first field of each id.
    found: HashMap<ParamId, String>,
    shared: Option<(String, String)>,
}

impl Change for SetTrained {
    fn float<const D: usize>(
        &mut self,
        place: &Place,
        param: Param<Tensor<D>>,
    ) -> Param<Tensor<D>> {
        let trained = self.wanted.contains(&param.id);
        if trained && let Some(first) = self.found.insert(param.id, place.path()) {
            self.shared = Some((first, place.path()));
        }
        param.set_require_grad(trained)
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = lines(self.entries());
        let width = lines.iter().map(|line| line.path.len()).max().unwrap_or(0);
        for Line { path, shape, count, scalars } in &lines {
            let shape = match count {
                1 => format!("{shape:?}"),
                _ => format!("{count} x {shape:?}"),
            };
            writeln!(f, "{path:width$}  {shape:>20}  {:>12}", grouped(*scalars))?;
        }
        let (trained, total) = (self.trained(), self.total());
        let percent = 100.0 * trained as f64 / total as f64;
        write!(
            f,
            "{}: {} of {} parameters are trained ({percent:.3} %)",
            self.rule,
            grouped(trained),
            grouped(total)
        )
    }
}

/// Parameters of one shape whose paths differ only in numbers.
struct Line {
    path: String,
    shape: Vec<usize>,
    count: usize,
    scalars: usize,
}

fn lines<'e>(entries: impl Iterator<Item = &'e Entry>) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for entry in entries {
        let star = |part| if str::parse::<usize>(part).is_ok() { "*" } else { part };
        let path = entry.path().split('.').map(star).collect::<Vec<_>>().join(".");
        let shape = entry.shape.as_slice().to_vec();
        match lines.iter_mut().find(|line| line.path == path && line.shape == shape) {
            Some(line) => {
                line.count += 1;
                line.scalars += entry.scalars();
            }
            None => lines.push(Line { path, shape, count: 1, scalars: entry.scalars() }),
        }
    }
    lines
}

/// `1234567` as `1,234,567`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
