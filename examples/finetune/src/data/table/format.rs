//! Formats of tables.

use std::path::Path;

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Format {
    /// Commas; `"` around fields with commas, quotes or line breaks, and `""` for a quote within.
    Csv,
    /// As CSV, with `;` instead of the comma.
    Semicolon,
    /// As CSV, with tabs instead of commas.
    Tsv,
    /// Tabs, and a quote is a character like any other, as in GLUE's files.
    PlainTsv,
    /// A JSON object a line.
    JsonLines,
}

impl Format {
    /// The format that the ending of a file's name says.
    ///
    /// # Errors
    /// When it says none.
    pub fn of(file: &Path) -> Result<Self> {
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        Ok(match ending.to_ascii_lowercase().as_str() {
            "csv" => Self::Csv,
            "tsv" | "tab" => Self::Tsv,
            "jsonl" | "ndjson" | "json" => Self::JsonLines,
            _ => bail!(
                "{} has no ending .csv, .tsv or .jsonl: convert it to one of these, or name its format with \
                 --format csv, semicolon, tsv, plain-tsv or json-lines",
                file.display()
            ),
        })
    }
}
