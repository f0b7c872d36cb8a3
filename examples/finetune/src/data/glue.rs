//! Pairs of sentences of GLUE (Wang et al. 2019), which the user puts into the data folder.
//!
//! Either GLUE's own files (`train.tsv`, `dev.tsv`) or an export of the Hugging Face version, as CSV or JSON lines
//! (`train.jsonl`, `validation.jsonl`). GLUE's test sets have no labels, so the development set is held out.
//!
//! GLUE's files are not clean: QQP has questions with a line break in them, which makes two rows with fields missing,
//! and rows without a second question. As everywhere, such rows are left out; a note says how many. A file in which
//! more than one row in a hundred is bad is not what GLUE publishes.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::bad_records::{BadKind, BadRecords};
use super::columns::{Column, LabelFrom, TextColumns, TextFrom};
use super::options::ReadOptions;
use super::split::Split;
use super::table::{Format, Table};
use super::text_records::TextRecords;
use super::words::count;

/// MNLI, which has two development sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Mnli {
    pub train: TextRecords,
    /// From the sources that the training set has.
    pub matched: TextRecords,
    /// From other sources.
    pub mismatched: TextRecords,
}

/// Multi-Genre Natural Language Inference (Williams et al. 2018), in `mnli`: 392,702 pairs.
///
/// # Errors
/// When a file is missing or is not what it should be.
pub fn mnli(folder: &Path) -> Result<Mnli> {
    Ok(Mnli {
        train: MNLI.read(folder, &["train"], 392_702)?,
        matched: MNLI.read(folder, &["dev_matched", "validation_matched"], 9_815)?,
        mismatched: MNLI.read(folder, &["dev_mismatched", "validation_mismatched"], 9_832)?,
    })
}

/// Quora Question Pairs, in `qqp`: 363,846 pairs.
///
/// # Errors
/// When a file is missing or is not what it should be.
pub fn qqp(folder: &Path) -> Result<Split<TextRecords>> {
    QQP.split(folder, 363_846, 40_430)
}

/// Question-answering NLI (Rajpurkar et al. 2016), in `qnli`: 104,743 pairs.
///
/// # Errors
/// When a file is missing or is not what it should be.
pub fn qnli(folder: &Path) -> Result<Split<TextRecords>> {
    QNLI.split(folder, 104_743, 5_463)
}

/// How a task's files are written. Where two names are given, the first is GLUE's and the second Hugging Face's.
struct Task {
    name: &'static str,
    first: [&'static str; 2],
    second: [&'static str; 2],
    label: [&'static str; 2],
    classes: &'static [&'static str],
}

const MNLI: Task = Task {
    name: "mnli",
    first: ["sentence1", "premise"],
    second: ["sentence2", "hypothesis"],
    label: ["gold_label", "label"],
    classes: &["entailment", "neutral", "contradiction"],
};
const QQP: Task = Task {
    name: "qqp",
    first: ["question1", "question1"],
    second: ["question2", "question2"],
    label: ["is_duplicate", "label"],
    classes: &["not_duplicate", "duplicate"],
};
const QNLI: Task = Task {
    name: "qnli",
    first: ["question", "question"],
    second: ["sentence", "sentence"],
    label: ["label", "label"],
    classes: &["entailment", "not_entailment"],
};

impl Task {
    fn split(&self, folder: &Path, train: usize, dev: usize) -> Result<Split<TextRecords>> {
        Ok(Split {
            train: self.read(folder, &["train"], train)?,
            test: self.read(folder, &["dev", "validation"], dev)?,
        })
    }

    /// One file, which has `published` records as it was published.
    fn read(&self, folder: &Path, names: &[&str], published: usize) -> Result<TextRecords> {
        let (file, format) = self.file(&folder.join(self.name), names)?;
        let table = Table::read(&file, Some(format))?;
        let of = |names: [&str; 2]| {
            let known = names.iter().find(|name| table.columns().iter().any(|it| it == *name));
            (*known.unwrap_or(&names[0])).to_owned()
        };
        let label = of(self.label);
        let classes = self.names_in(&table, &label)?;
        let columns = TextColumns {
            text: TextFrom::Pair(of(self.first), of(self.second)),
            label: LabelFrom::Column(label),
            user: None,
        };
        let left_out = BadRecords::LeaveOut;
        let options = ReadOptions { classes: Some(classes), bad_records: left_out };
        let mut records = TextRecords::train(&table, &columns, &options)?;
        let all = table.rows().len() + table.bad().len();
        let bad = all - records.len();
        ensure!(
            bad <= 10 || bad * 100 <= all,
            "{} of {}: that is more than GLUE's file has, so get it again",
            records.notes.join("; "),
            count(all, "record")
        );
        records.classes = self.classes.iter().map(|class| (*class).to_owned()).collect();
        if records.len() != published {
            let (file, found) = (file.display(), records.len());
            records.notes.push(format!("{file} has {found} records; GLUE's has {published}"));
        }
        Ok(records)
    }

    /// The first file that is there.
    fn file(&self, place: &Path, names: &[&str]) -> Result<(PathBuf, Format)> {
        let endings = [
            ("tsv", Format::PlainTsv),
            ("jsonl", Format::JsonLines),
            ("json", Format::JsonLines),
            ("csv", Format::Csv),
        ];
        for name in names {
            for (ending, format) in endings {
                let file = place.join(format!("{name}.{ending}"));
                if file.exists() {
                    return Ok((file, format));
                }
            }
        }
        let name = names.first().copied().unwrap_or_default();
        bail!(
            "cannot find {}: put GLUE's {name}.tsv there, or the Hugging Face version as {}.jsonl or .csv",
            place.join(format!("{name}.tsv")).display(),
            names.last().copied().unwrap_or_default()
        )
    }

    /// The classes as this file names them: Hugging Face's are numbered, and so are QQP's.
    fn names_in(&self, table: &Table, label: &str) -> Result<Vec<String>> {
        let column = Column::of(table, label)?;
        let first = table.rows().iter().find_map(|row| column.filled(row, BadKind::Label).ok());
        let numbered = first.is_some_and(|label| label.trim().parse::<i64>().is_ok());
        ensure!(first.is_some(), "{} has no labels: it is no training set", table.file().display());
        Ok(self
            .classes
            .iter()
            .enumerate()
            .map(|(number, name)| if numbered { number.to_string() } else { (*name).to_owned() })
            .collect())
    }
}
