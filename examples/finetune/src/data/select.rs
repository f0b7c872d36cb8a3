//! Records of a table, with all that can be wrong with them found before any is used.

use std::path::Path;

use anyhow::{Result, bail, ensure};

use super::bad_records::{Bad, BadKind, settle};
use super::classes;
use super::columns::{Column, LabelFrom};
use super::labels::Labels;
use super::options::ReadOptions;
use super::table::{Row, Table};
use super::words::count;

/// Fewer records are no training data.
const FEWEST: usize = 10;

/// What a table says of some records.
pub(super) struct Selected<T> {
    pub contents: Vec<T>,
    /// Lines on which the records begin.
    pub lines: Vec<usize>,
    pub labels: Labels,
    pub users: Option<Vec<String>>,
    pub classes: Vec<String>,
    pub notes: Vec<String>,
}

/// A label as it stands in the table.
enum Label {
    Name(String),
    Flags(Vec<bool>),
}

struct Candidate<T> {
    row: usize,
    content: T,
    label: Label,
    user: Option<String>,
}

/// The records of a table; `content` reads what is classified.
pub(super) fn select<T>(
    table: &Table,
    content: impl Fn(&Row) -> Result<T, Bad>,
    label: &LabelFrom,
    user: Option<&str>,
    options: &ReadOptions,
) -> Result<Selected<T>> {
    let find = |name: &str| Column::of(table, name);
    let labels = label.names().into_iter().map(find).collect::<Result<Vec<_>>>()?;
    let user = user.map(find).transpose()?;
    let mut bad = table.bad().to_vec();
    let mut candidates = Vec::with_capacity(table.rows().len());
    for (index, row) in table.rows().iter().enumerate() {
        let read = || {
            let id = |user: &Column| Ok(user.filled(row, BadKind::NoUser)?.trim().to_owned());
            let (content, label) = (content(row)?, read_label(label, &labels, row)?);
            Ok(Candidate { row: index, content, label, user: user.as_ref().map(id).transpose()? })
        };
        match read() {
            Ok(candidate) => candidates.push(candidate),
            Err(found) => bad.push(found),
        }
    }
    let (classes, note) = class_names(table, label, &candidates, options)?;
    let mut selected = Selected {
        contents: Vec::with_capacity(candidates.len()),
        lines: Vec::with_capacity(candidates.len()),
        labels: match label {
            LabelFrom::Column(_) => Labels::Classes(Vec::new()),
            LabelFrom::Flags(names) => Labels::Multi { flags: Vec::new(), classes: names.len() },
        },
        users: user.is_some().then(Vec::new),
        classes,
        notes: note.into_iter().collect(),
    };
    for candidate in candidates {
        let row = table.rows().get(candidate.row);
        if let Err(told) = selected.push(candidate, row.map_or(0, |row| row.line)) {
            bad.extend(row.map(|row| row.bad(BadKind::Label, told)));
        }
    }
    selected.notes.extend(settle(table.file(), bad, options.bad_records)?);
    Ok(selected)
}

fn read_label(from: &LabelFrom, columns: &[Column], row: &Row) -> Result<Label, Bad> {
    Ok(match (from, columns) {
        (LabelFrom::Column(_), [column]) => {
            Label::Name(column.filled(row, BadKind::Label)?.trim().to_owned())
        }
        (_, columns) => {
            Label::Flags(columns.iter().map(|column| column.flag(row)).collect::<Result<_, _>>()?)
        }
    })
}

/// The classes, and a note if the data decided.
fn class_names<T>(
    table: &Table,
    label: &LabelFrom,
    candidates: &[Candidate<T>],
    options: &ReadOptions,
) -> Result<(Vec<String>, Option<String>)> {
    match (label, &options.classes) {
        (LabelFrom::Flags(names), None) => Ok((names.clone(), None)),
        (LabelFrom::Flags(names), Some(classes)) => {
            ensure!(
                names == classes,
                "with several label columns these are the classes: leave out --classes"
            );
            Ok((names.clone(), None))
        }
        (LabelFrom::Column(_), Some(classes)) => {
            classes::check(classes)?;
            Ok((classes.clone(), None))
        }
        (LabelFrom::Column(column), None) => {
            let names = candidates.iter().filter_map(|candidate| match &candidate.label {
                Label::Name(name) => Some(name.as_str()),
                Label::Flags(_) => None,
            });
            let (classes, note) = classes::of_data(names, table.file(), column)?;
            Ok((classes, Some(note)))
        }
    }
}

impl<T> Selected<T> {
    /// Adds a record, if its label is one of the classes.
    fn push(&mut self, candidate: Candidate<T>, line: usize) -> Result<(), String> {
        match (&mut self.labels, candidate.label) {
            (Labels::Classes(labels), Label::Name(name)) => {
                labels.push(classes::class_of(&name, &self.classes)?);
            }
            (Labels::Multi { flags, .. }, Label::Flags(row)) => flags.extend(row),
            _ => return Err("its label is of another kind".into()),
        }
        self.contents.push(candidate.content);
        self.lines.push(line);
        if let (Some(users), Some(user)) = (&mut self.users, candidate.user) {
            users.push(user);
        }
        Ok(())
    }
}

/// Refuses what nothing can be learned from: few records, or records of one class.
pub(super) fn check_training(labels: &Labels, classes: &[String], file: &Path) -> Result<()> {
    let (records, file) = (labels.len(), file.display());
    ensure!(
        records >= FEWEST,
        "{file} has {} to train on, but training needs {FEWEST}, and with privacy hundreds: add records",
        count(records, "record")
    );
    let counts = labels.counts(classes.len());
    let present: Vec<&String> = classes
        .iter()
        .zip(counts)
        .filter(|(_, count)| *count > 0)
        .map(|(class, _)| class)
        .collect();
    match (labels, present.as_slice()) {
        (Labels::Classes(_), [only]) => bail!(
            "{file} has records of one class only, `{only}`: add records of another, or choose another label column"
        ),
        _ => Ok(()),
    }
}

/// Refuses to test on nothing.
pub(super) fn check_test(labels: &Labels, file: &Path) -> Result<()> {
    ensure!(!labels.is_empty(), "{} has no record to test on: add records", file.display());
    Ok(())
}
