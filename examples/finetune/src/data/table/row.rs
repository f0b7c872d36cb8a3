//! What the parsers of each format make.

use crate::data::bad_records::{Bad, BadKind, Place};
use crate::data::words::quoted;

/// A file's contents, before anyone asks for a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parsed {
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    pub bad: Vec<Bad>,
}

/// One record.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::data) struct Row {
    pub line: usize,
    /// Those that the record has, by rising column.
    fields: Vec<(usize, Field)>,
}

/// What a record says in one column.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::data) enum Field {
    Text(String),
    /// JSON's `null`.
    Missing,
    /// A list or an object of JSON.
    Nested,
}

impl Row {
    pub(super) fn new(line: usize, mut fields: Vec<(usize, Field)>) -> Self {
        fields.sort_by_key(|(column, _)| *column);
        Self { line, fields }
    }

    /// The text in a column, which is empty if the record has none there.
    pub fn text(&self, column: usize, name: &str) -> Result<&str, Bad> {
        let field = self.fields.binary_search_by_key(&column, |(column, _)| *column);
        match field.ok().and_then(|at| self.fields.get(at)) {
            Some((_, Field::Text(text))) => Ok(text),
            Some((_, Field::Nested)) => {
                let told = format!("column {} has a list or an object, not a text", quoted(name));
                Err(self.bad(BadKind::NotText, told))
            }
            Some((_, Field::Missing)) | None => Ok(""),
        }
    }

    /// This record is bad.
    pub fn bad(&self, kind: BadKind, told: String) -> Bad {
        Bad { at: Place::Line(self.line), kind, told }
    }
}
