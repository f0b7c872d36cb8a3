//! CSV and its relatives, by the csv crate.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use csv::ByteRecord;

use super::lines::{Lines, open_quote};
use super::row::{Field, Parsed, Row};
use crate::data::bad_records::{Bad, BadKind, Place};
use crate::data::words::{count, quoted};

pub(super) fn parse(bytes: &[u8], delimiter: u8, quoting: bool) -> Result<Parsed> {
    if let Some(at) = open_quote(bytes, delimiter).filter(|_| quoting) {
        let line = Lines::new(bytes).line(at);
        let or = match delimiter {
            b'\t' => ", or read quotes as they are with --format plain-tsv",
            _ => "",
        };
        bail!("line {line}: a field starts with a quote that is never closed: close it{or}");
    }
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(quoting)
        .has_headers(false)
        // Rows of another length are bad records, not the end of the file.
        .flexible(true)
        .from_reader(bytes);
    let (mut lines, mut record) = (Lines::new(bytes), ByteRecord::new());
    ensure!(reader.read_byte_record(&mut record)?, "it is empty: the first line names the columns");
    let columns = header(&record)?;
    let mut parsed = Parsed { columns, ..Parsed::default() };
    while reader.read_byte_record(&mut record).context("it is no table")? {
        let position = record.position().map_or(0, csv::Position::byte);
        let line = lines.line(usize::try_from(position)?);
        match row(&record, line, &parsed.columns) {
            Ok(row) => parsed.rows.push(row),
            Err(bad) => parsed.bad.push(bad),
        }
    }
    Ok(parsed)
}

fn header(record: &ByteRecord) -> Result<Vec<String>> {
    let mut columns: Vec<String> = Vec::with_capacity(record.len());
    let mut seen = HashMap::new();
    for (index, name) in record.iter().enumerate() {
        let place = format!("the header's column {}", index + 1);
        let name = std::str::from_utf8(name)
            .with_context(|| format!("{place} is not UTF-8: save the file in UTF-8"))?;
        // Tables are written with several unnamed columns, which nobody can ask for.
        if let Some(first) = seen.insert(name.to_owned(), index + 1).filter(|_| !name.is_empty()) {
            bail!("{place} is named {} as column {first} is: rename one", quoted(name));
        }
        columns.push(name.to_owned());
    }
    Ok(columns)
}

fn row(record: &ByteRecord, line: usize, columns: &[String]) -> Result<Row, Bad> {
    let bad = |kind, told| Bad { at: Place::Line(line), kind, told };
    if record.len() != columns.len() {
        let told = format!("{} instead of {}", count(record.len(), "field"), columns.len());
        return Err(bad(BadKind::Fields, told));
    }
    let fields = record.iter().zip(columns).enumerate().map(|(index, (field, column))| {
        let text = std::str::from_utf8(field).map_err(|_| {
            let told = format!("column {} is not UTF-8: save the file in UTF-8", quoted(column));
            bad(BadKind::NotUtf8, told)
        })?;
        Ok((index, Field::Text(text.to_owned())))
    });
    Ok(Row::new(line, fields.collect::<Result<_, _>>()?))
}
