//! What the tests share.

use std::fs;
use std::path::Path;

use anyhow::Result;
use finetune::data::{
    BadRecords, Format, LabelFrom, ReadOptions, Table, TextColumns, TextFrom, TextRecords,
};
use tempfile::{TempDir, tempdir};

/// A folder with these files.
pub fn folder(files: &[(&str, &[u8])]) -> Result<TempDir> {
    let folder = tempdir()?;
    for (name, bytes) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap_or(folder.path()))?;
        fs::write(file, bytes)?;
    }
    Ok(folder)
}

pub fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// One text, one label.
pub fn columns(user: Option<&str>) -> TextColumns {
    TextColumns {
        text: TextFrom::Column("text".into()),
        label: LabelFrom::Column("label".into()),
        user: user.map(str::to_owned),
    }
}

pub fn leave_out() -> ReadOptions {
    ReadOptions { bad_records: BadRecords::LeaveOut, ..ReadOptions::default() }
}

pub fn classes(classes: &[&str]) -> ReadOptions {
    ReadOptions { classes: Some(names(classes)), ..ReadOptions::default() }
}

pub fn csv(text: impl AsRef<[u8]>) -> Result<Table> {
    Table::parse(Path::new("own.csv"), text.as_ref(), Format::Csv)
}

/// Twelve rows `text,label,user`; the first is on line 2.
pub fn rows() -> Vec<String> {
    let label = |i| if i % 2 == 0 { "good" } else { "bad" };
    (0..12).map(|i| format!("text {i},{},u{}", label(i), i % 5)).collect()
}

pub fn table_of(rows: &[String]) -> String {
    format!("text,label,user\n{}\n", rows.join("\n"))
}

pub fn train(text: impl AsRef<[u8]>, options: &ReadOptions) -> Result<TextRecords> {
    TextRecords::train(&csv(text)?, &columns(None), options)
}
