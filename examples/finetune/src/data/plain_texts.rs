//! Texts without labels, which a language model learns from.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::bad_records::{BadKind, BadRecords, settle};
use super::columns::Column;
use super::hash::hash;
use super::held_out::HeldOut;
use super::split::Split;
use super::table::{Format, Table};

/// The texts of a column of a table or, where no column is named, the lines of a text file that are not empty. Some are held out by
/// the rule of [`HeldOut`].
///
/// # Errors
/// When the file cannot be read, has no such column, has records without a text that are not to be left out, or has too few.
pub fn plain_texts(
    file: &Path,
    column: Option<&str>,
    format: Option<Format>,
    bad_records: BadRecords,
    held_out: HeldOut,
) -> Result<Split<Vec<String>>> {
    let texts = match column {
        Some(column) => of_column(&Table::read(file, format)?, column, bad_records)?,
        None => {
            let text = fs::read_to_string(file)
                .with_context(|| format!("cannot read {} as text", file.display()))?;
            text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
        }
    };
    let (test, train): (Vec<_>, Vec<_>) =
        texts.into_iter().partition(|text| held_out.takes(hash([text.as_bytes()])));
    let shown = file.display();
    ensure!(
        train.len() >= FEWEST,
        "{shown} has {} texts to train on; give {FEWEST} or more",
        train.len()
    );
    ensure!(
        !test.is_empty(),
        "no text of {shown} is held out: add texts, or hold out more of them"
    );
    Ok(Split { train, test })
}

const FEWEST: usize = 10;

fn of_column(table: &Table, name: &str, bad_records: BadRecords) -> Result<Vec<String>> {
    let column = Column::of(table, name)?;
    let (mut texts, mut bad) = (Vec::new(), table.bad().to_vec());
    for row in table.rows() {
        match column.filled(row, BadKind::NoText) {
            Ok(text) => texts.push(text.to_owned()),
            Err(found) => bad.push(found),
        }
    }
    for note in settle(table.file(), bad, bad_records)? {
        eprintln!("note: {note}");
    }
    Ok(texts)
}
