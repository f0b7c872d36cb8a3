//! The parts of a batch that are not tensors, but decide what a loss computes with it.

use std::fmt::{self, Debug};

/// The parts of a batch that are not tensors: which options are present, how long lists are, which
/// variant an enum is, and the values of key fields.
///
/// If two batches have equal structures and equal shapes of tensors, the loss is assumed to compute
/// the same for both. A structure therefore has to be complete: [`impl_batch!`](crate::impl_batch)
/// builds it from *every* field. If a part of a batch implements [`Batch`](crate::batch::Batch) by
/// hand and does not report its structure, the whole structure is *unknown*.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Structure {
    /// From the outside in, in mapping order.
    parts: Vec<Part>,
    /// The types that do not report their structure.
    unknown: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Part {
    /// A tensor of this kind and rank.
    Tensor(&'static str, usize),
    /// Whether the option is present.
    Option(bool),
    /// The number of entries.
    List(usize),
    /// The variant of an enum.
    Variant(&'static str),
    /// The value of a field that is not a tensor, as `Debug` prints it.
    Key(String),
    /// The start of a field. Its `End` follows.
    Field(&'static str),
    /// The start of an entry of a list.
    Entry(usize),
    End,
}

// For the implementations that the crate and `impl_batch!` write.
#[doc(hidden)]
impl Structure {
    pub fn tensor(&mut self, kind: &'static str, rank: usize) {
        self.parts.push(Part::Tensor(kind, rank));
    }

    pub fn option(&mut self, present: bool) {
        self.parts.push(Part::Option(present));
    }

    pub fn list(&mut self, length: usize) {
        self.parts.push(Part::List(length));
    }

    pub fn variant(&mut self, name: &'static str) {
        self.parts.push(Part::Variant(name));
    }

    pub fn key(&mut self, value: &impl Debug) {
        self.parts.push(Part::Key(format!("{value:?}")));
    }

    pub fn field(&mut self, name: &'static str, inner: impl FnOnce(&mut Self)) {
        self.inside(Part::Field(name), inner);
    }

    pub fn entry(&mut self, index: usize, inner: impl FnOnce(&mut Self)) {
        self.inside(Part::Entry(index), inner);
    }

    pub fn unknown(&mut self, type_name: &'static str) {
        self.unknown.push(type_name);
    }
}

impl Structure {
    fn inside(&mut self, part: Part, inner: impl FnOnce(&mut Self)) {
        self.parts.push(part);
        inner(self);
        self.parts.push(Part::End);
    }

    /// A type in the batch that does not report its structure.
    pub(crate) fn unknown_type(&self) -> Option<&'static str> {
        self.unknown.first().copied()
    }

    /// The number of tensors. It is wrong if an implementation reports only a part of itself.
    pub(crate) fn tensors(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Tensor(..))).count()
    }

    /// The first difference, in words.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        if self.parts == other.parts {
            return None;
        }
        let pairs = self.parts.iter().zip(&other.parts);
        let at = pairs.take_while(|(a, b)| a == b).count();
        let path = path(&self.parts[..at.min(self.parts.len())]);
        let described = |parts: &[Part]| match parts.get(at) {
            Some(part) => part.to_string(),
            None => "nothing".to_owned(),
        };
        let (first, other) = (described(&self.parts), described(&other.parts));
        Some(format!("{path} is {first} in one and {other} in another"))
    }
}

/// The place where `parts` end, as a path of fields.
fn path(parts: &[Part]) -> String {
    let mut path: Vec<String> = Vec::new();
    for part in parts {
        match part {
            Part::Field(name) => path.push((*name).to_owned()),
            Part::Entry(index) => path.push(index.to_string()),
            Part::End => {
                path.pop();
            }
            _ => {}
        }
    }
    if path.is_empty() { "the batch".to_owned() } else { format!("`{}`", path.join(".")) }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor(kind, rank) => write!(f, "a {kind} tensor of rank {rank}"),
            Self::Option(true) => write!(f, "present"),
            Self::Option(false) => write!(f, "absent"),
            Self::List(1) => write!(f, "a list of 1 entry"),
            Self::List(length) => write!(f, "a list of {length} entries"),
            Self::Variant(name) => write!(f, "the variant `{name}`"),
            Self::Key(value) => write!(f, "{value}"),
            Self::Field(name) => write!(f, "a struct with the field `{name}`"),
            Self::Entry(_) | Self::End => write!(f, "of another length"),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Int, Tensor};

    use super::Structure;
    use crate::batch::{Batch, BatchMapper};

    #[derive(Clone)]
    struct Both {
        class: Option<Tensor<1, Int>>,
        target: Option<Vec<Tensor<1>>>,
    }
    crate::impl_batch!(Both { class, target });

    #[derive(Clone)]
    struct ByHand(Tensor<1>);
    impl Batch for ByHand {
        fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
            Self(self.0.map(mapper))
        }
    }

    // A box would be no batch.
    #[allow(clippy::large_enum_variant)]
    #[derive(Clone)]
    enum Task {
        Class { class: Tensor<1, Int>, step: u8 },
        Pair(Tensor<1>, ByHand),
        Nothing,
    }
    crate::impl_batch!(enum Task { Class { class, #[key] step }, Pair(first, second), Nothing });

    fn of(batch: &impl Batch) -> Structure {
        let mut structure = Structure::default();
        batch.structure(&mut structure);
        structure
    }

    fn numbers() -> Tensor<1> {
        Tensor::zeros([2], &Device::default())
    }

    fn classes() -> Tensor<1, Int> {
        Tensor::zeros([2], &Device::default())
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let class = Both { class: Some(classes()), target: None };
        let two = Both { class: None, target: Some(vec![numbers(), numbers()]) };
        let one = Both { class: None, target: Some(vec![numbers()]) };
        let said = |a: &Structure, b: &Structure| a.difference(b).unwrap_or_default();
        assert_eq!(said(&of(&class), &of(&class)), "");
        assert_eq!(said(&of(&class), &of(&two)), "`class` is present in one and absent in another");
        assert_eq!(
            said(&of(&two), &of(&one)),
            "`target` is a list of 2 entries in one and a list of 1 entry in another"
        );
        let third = |step| (numbers(), Task::Class { class: classes(), step });
        assert_eq!(said(&of(&third(1)), &of(&third(2))), "`1.step` is 1 in one and 2 in another");
        assert_eq!(
            said(&of(&third(1)), &of(&(numbers(), Task::Nothing))),
            "`1` is the variant `Class` in one and the variant `Nothing` in another"
        );
    }

    #[test]
    fn one_part_without_a_structure_makes_the_whole_unknown() {
        let known = Task::Class { class: classes(), step: 1 };
        assert_eq!(of(&known).unknown_type(), None);
        assert_eq!(of(&known).tensors(), 1);
        let unknown = of(&Some(vec![Task::Pair(numbers(), ByHand(numbers()))]));
        assert!(unknown.unknown_type().is_some_and(|name| name.ends_with("ByHand")));
    }
}
