//! Which columns of a table say what.

use anyhow::{Result, bail, ensure};

use super::bad_records::{Bad, BadKind};
use super::table::{Row, Table};
use super::words::quoted;

/// Where the text of a record comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextFrom {
    Column(String),
    /// Two texts whose relation is the label, such as a premise and a hypothesis.
    Pair(String, String),
    /// Several columns in one text: `mean radius is 17.99, mean texture is 10.38`. So a model of text can classify
    /// a table of numbers. An underscore in a column's name becomes a space, and a missing value `unknown`.
    Joined(Vec<String>),
}

/// Where the label of a record comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelFrom {
    /// One class for each record. Spaces around it don't count.
    Column(String),
    /// Any number of classes for each record: each column is a class, and says 0 or 1 (or `false` or `true`).
    Flags(Vec<String>),
}

/// The columns of a table of texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextColumns {
    pub text: TextFrom,
    pub label: LabelFrom,
    /// Ids of the users, if it is users whose privacy is protected.
    pub user: Option<String>,
}

/// The columns of a table of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageColumns {
    /// Paths of PNG or JPEG files: absolute, or relative to the table's folder. They may lead anywhere that the user
    /// who starts the program may read.
    pub path: String,
    pub label: LabelFrom,
    pub user: Option<String>,
}

/// A column that the table has.
#[derive(Clone, Debug)]
pub(super) struct Column {
    name: String,
    index: usize,
}

impl Column {
    pub fn of(table: &Table, name: &str) -> Result<Self> {
        Ok(Self { name: name.to_owned(), index: table.column(name)? })
    }

    pub fn text<'a>(&self, row: &'a Row) -> Result<&'a str, Bad> {
        row.text(self.index, &self.name)
    }

    /// A text with more than spaces in it.
    pub fn filled<'a>(&self, row: &'a Row, kind: BadKind) -> Result<&'a str, Bad> {
        let text = self.text(row)?;
        if text.trim().is_empty() {
            return Err(row.bad(kind, format!("column {} is empty", quoted(&self.name))));
        }
        Ok(text)
    }

    /// Whether a column for several classes says yes.
    pub fn flag(&self, row: &Row) -> Result<bool, Bad> {
        match self.text(row)?.trim() {
            "1" | "true" | "True" => Ok(true),
            "0" | "false" | "False" => Ok(false),
            other => {
                let told = format!(
                    "column {} has {} instead of 0 or 1",
                    quoted(&self.name),
                    quoted(other)
                );
                Err(row.bad(BadKind::Label, told))
            }
        }
    }
}

impl TextFrom {
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Column(name) => vec![name],
            Self::Pair(first, second) => vec![first, second],
            Self::Joined(names) => names.iter().map(String::as_str).collect(),
        }
    }

    /// The text, and its partner in a pair, of a row with these columns.
    pub(super) fn read(
        &self,
        columns: &[Column],
        row: &Row,
    ) -> Result<(String, Option<String>), Bad> {
        let filled = |column: &Column| Ok(column.filled(row, BadKind::NoText)?.to_owned());
        match (self, columns) {
            (Self::Joined(_), columns) => Ok((joined(columns, row)?, None)),
            (_, [first, second]) => Ok((filled(first)?, Some(filled(second)?))),
            (_, columns) => Ok((columns.iter().map(filled).collect::<Result<_, _>>()?, None)),
        }
    }
}

fn joined(columns: &[Column], row: &Row) -> Result<String, Bad> {
    let (mut parts, mut known) = (Vec::with_capacity(columns.len()), false);
    for column in columns {
        let value = column.text(row)?.trim();
        known |= !value.is_empty();
        let value = if value.is_empty() { "unknown" } else { value };
        parts.push(format!("{} is {value}", column.name.replace('_', " ").trim()));
    }
    if known {
        Ok(parts.join(", "))
    } else {
        Err(row.bad(BadKind::NoText, "all columns are empty".into()))
    }
}

impl LabelFrom {
    pub(super) fn names(&self) -> Vec<&str> {
        match self {
            Self::Column(name) => vec![name],
            Self::Flags(names) => names.iter().map(String::as_str).collect(),
        }
    }
}

/// Columns by name: all there, one at least, and none in two roles, as the label would then be its own input.
pub(super) fn check_roles(inputs: &[&str], labels: &[&str], user: Option<&str>) -> Result<()> {
    ensure!(!inputs.is_empty(), "no column is named as the input");
    ensure!(!labels.is_empty(), "no column is named as the label");
    let roles = [("the input", inputs), ("the label", labels), ("the user", user.as_slice())];
    let named = roles.iter().flat_map(|(role, names)| names.iter().map(move |name| (*role, *name)));
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (role, name) in named {
        match seen.iter().find(|(_, other)| *other == name) {
            Some((other, _)) if *other == role => {
                bail!("column {} is named twice as {role}", quoted(name))
            }
            Some((other, _)) => {
                bail!("column {} is both {other} and {role}: choose another", quoted(name))
            }
            None => seen.push((role, name)),
        }
    }
    Ok(())
}
