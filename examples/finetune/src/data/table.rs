//! The user's own table: CSV, TSV or JSON lines, with a header.
//!
//! Line numbers are those that an editor shows: the first line is 1, also where a quoted field spans several.

mod delimited;
mod format;
mod json_lines;
mod lines;
mod row;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

pub use self::format::Format;

use self::row::Parsed;
pub(super) use self::row::Row;
use super::bad_records::Bad;
use super::words::{did_you_mean, listed, quoted};

/// A table's columns and rows, and the rows that could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    file: PathBuf,
    parsed: Parsed,
}

impl Table {
    /// Reads a file, whose name's ending says the format if none is given.
    ///
    /// # Errors
    /// When it cannot be read, is no table, has no header, or names a column twice.
    pub fn read(file: &Path, format: Option<Format>) -> Result<Self> {
        let shown = file.display();
        let about =
            fs::metadata(file).with_context(|| format!("cannot read {shown}: check its path"))?;
        ensure!(about.is_file(), "{shown} is no file: name the table itself");
        let format = match format {
            Some(format) => format,
            None => Format::of(file)?,
        };
        let bytes = fs::read(file).with_context(|| format!("cannot read {shown}"))?;
        Self::parse(file, &bytes, format)
    }

    /// The table in `bytes`; `file` is what errors call it, and paths of images are relative to its folder.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub fn parse(file: &Path, bytes: &[u8], format: Format) -> Result<Self> {
        refuse_other_files(bytes).with_context(|| format!("cannot read {}", file.display()))?;
        // Spreadsheets begin a file in UTF-8 with this mark, which is no part of the first column's name.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let parsed = match format {
            Format::Csv => delimited::parse(bytes, b',', true),
            Format::Semicolon => delimited::parse(bytes, b';', true),
            Format::Tsv => delimited::parse(bytes, b'\t', true),
            Format::PlainTsv => delimited::parse(bytes, b'\t', false),
            Format::JsonLines => json_lines::parse(bytes),
        };
        let parsed = parsed.with_context(|| format!("cannot read {}", file.display()))?;
        Ok(Self { file: file.to_owned(), parsed })
    }

    /// Names of the columns, as they stand in the header.
    pub fn columns(&self) -> &[String] {
        &self.parsed.columns
    }

    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.parsed.rows
    }

    /// The rows that are none.
    pub(super) fn bad(&self) -> &[Bad] {
        &self.parsed.bad
    }

    /// The position of a column.
    pub(super) fn column(&self, name: &str) -> Result<usize> {
        let columns = self.columns();
        if let Some(column) = columns.iter().position(|column| column == name) {
            return Ok(column);
        }
        let near = did_you_mean(name, columns.iter().map(String::as_str));
        let separator = match columns {
            [only] if only.contains(';') => "; it seems to be separated by `;`: --format semicolon",
            [only] if only.contains('\t') => "; it seems to be separated by tabs: --format tsv",
            _ => "",
        };
        let (file, name, columns) = (self.file.display(), quoted(name), listed(columns));
        bail!("{file} has no column {name}: its columns are {columns}{near}{separator}")
    }
}

/// What is often taken for a table, and what to do with it.
fn refuse_other_files(bytes: &[u8]) -> Result<()> {
    let kinds: [(&[u8], &str); 5] = [
        (b"PK\x03\x04", "it is a workbook or a zip archive: export it as CSV, or unpack it"),
        (b"PAR1", "it is in Parquet: convert it to CSV or JSON lines"),
        (b"\x1f\x8b", "it is compressed: unpack it with gunzip"),
        (b"\xff\xfe", "it is in UTF-16: save it in UTF-8"),
        (b"\xfe\xff", "it is in UTF-16: save it in UTF-8"),
    ];
    for (start, told) in kinds {
        ensure!(!bytes.starts_with(start), "{told}");
    }
    Ok(())
}
