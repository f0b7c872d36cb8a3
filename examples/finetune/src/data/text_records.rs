//! Labeled texts, from the user's own table.

use std::path::Path;

use anyhow::Result;

use super::columns::{Column, TextColumns, check_roles};
use super::hash::hash;
use super::held_out::HeldOut;
use super::labels::Labels;
use super::options::ReadOptions;
use super::select::{Selected, check_test, check_training, select};
use super::sentences::Sentences;
use super::split::{Split, sides};
use super::table::Table;
use super::units::{Units, repeats};

/// Labeled texts, or pairs of texts.
#[derive(Clone, Debug, PartialEq)]
pub struct TextRecords {
    /// Each text, with its partner where records are pairs.
    pub texts: Vec<(String, Option<String>)>,
    /// One for each text.
    pub labels: Labels,
    /// The records of each user, if users are known.
    pub users: Option<Units>,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// What the user should be told about the data: what was left out, what is taken to be public.
    pub notes: Vec<String>,
}

impl TextRecords {
    /// Records to train on.
    ///
    /// # Errors
    /// When a column is missing or has two roles, when there are bad records and these are not to be left out, with
    /// fewer than ten records, or with one class only.
    pub fn train(table: &Table, columns: &TextColumns, options: &ReadOptions) -> Result<Self> {
        let records = Self::read(table, columns, options)?;
        check_training(&records.labels, &records.classes, table.file())?;
        Ok(records)
    }

    /// Held-out records of a file of their own, whose classes are those of the training data.
    ///
    /// # Errors
    /// As [`TextRecords::train`], but any record is enough.
    pub fn test(
        table: &Table,
        columns: &TextColumns,
        train: &Self,
        options: &ReadOptions,
    ) -> Result<Self> {
        let options = ReadOptions { classes: Some(train.classes.clone()), ..options.clone() };
        let records = Self::read(table, columns, &options)?;
        check_test(&records.labels, table.file())?;
        Ok(records)
    }

    fn read(table: &Table, columns: &TextColumns, options: &ReadOptions) -> Result<Self> {
        let (names, user) = (columns.text.names(), columns.user.as_deref());
        check_roles(&names, &columns.label.names(), user)?;
        let inputs =
            names.iter().map(|name| Column::of(table, name)).collect::<Result<Vec<_>>>()?;
        let text = |row: &_| columns.text.read(&inputs, row);
        let Selected { contents, labels, users, classes, mut notes, .. } =
            select(table, text, &columns.label, user, options)?;
        let hashes: Vec<u64> = contents.iter().map(content_hash).collect();
        if users.is_none() {
            notes.extend(repeats(&hashes, table.file()));
        }
        let users = users.map(|users| Units::new(users, &hashes, &labels));
        Ok(Self { texts: contents, labels, users, classes, notes })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.texts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Sets records apart for testing, by the rule of [`HeldOut`].
    ///
    /// # Errors
    /// When no record is held out, or what is left is too little to train on. `file` is what the error names.
    pub fn split(self, held_out: HeldOut, file: &Path) -> Result<Split<Self>> {
        let hashes: Vec<u64> = self.texts.iter().map(content_hash).collect();
        let (train, test) = sides(&hashes, self.users.as_ref(), held_out);
        let part = |kept: &[usize], notes| Self {
            texts: kept.iter().filter_map(|record| self.texts.get(*record)).cloned().collect(),
            labels: self.labels.subset(kept),
            users: self.users.as_ref().map(|users| users.subset(kept)),
            classes: self.classes.clone(),
            notes,
        };
        let split =
            Split { train: part(&train, self.notes.clone()), test: part(&test, Vec::new()) };
        check_training(&split.train.labels, &self.classes, file)?;
        check_test(&split.test.labels, file)?;
        Ok(split)
    }
}

fn content_hash((text, partner): &(String, Option<String>)) -> u64 {
    hash([Some(text), partner.as_ref()].into_iter().flatten().map(|text| text.as_bytes()))
}

impl From<Sentences> for TextRecords {
    fn from(sentences: Sentences) -> Self {
        Self {
            texts: sentences.texts.into_iter().map(|text| (text, None)).collect(),
            labels: Labels::Classes(sentences.labels.into_iter().map(u32::from).collect()),
            users: None,
            classes: vec!["negative".into(), "positive".into()],
            notes: Vec::new(),
        }
    }
}
