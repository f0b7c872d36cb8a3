//! A table of the paths of images and their labels.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{ImageRecords, Listed};
use crate::data::bad_records::{BadKind, Place};
use crate::data::columns::{Column, ImageColumns, check_roles};
use crate::data::options::ReadOptions;
use crate::data::select::{check_test, check_training, select};
use crate::data::table::Table;

/// Images to train on, whose paths and labels stand in a table.
///
/// # Errors
/// When a column is missing, when there are bad records or images and these are not to be left out, with fewer than
/// ten records, or with one class only.
pub fn image_table(
    table: &Table,
    columns: &ImageColumns,
    size: usize,
    options: &ReadOptions,
) -> Result<ImageRecords> {
    let records = read(table, columns, size, options)?;
    check_training(&records.labels, &records.classes, table.file())?;
    Ok(records)
}

/// Held-out images of a table of their own, whose classes and size are those of the training data.
///
/// # Errors
/// As [`image_table`], but any record is enough.
pub fn image_test_table(
    table: &Table,
    columns: &ImageColumns,
    train: &ImageRecords,
    options: &ReadOptions,
) -> Result<ImageRecords> {
    let options = ReadOptions { classes: Some(train.classes.clone()), ..options.clone() };
    let records = read(table, columns, train.size, &options)?;
    check_test(&records.labels, table.file())?;
    Ok(records)
}

fn read(
    table: &Table,
    columns: &ImageColumns,
    size: usize,
    options: &ReadOptions,
) -> Result<ImageRecords> {
    let user = columns.user.as_deref();
    check_roles(&[&columns.path], &columns.label.names(), user)?;
    let path = Column::of(table, &columns.path)?;
    let folder = table.file().parent().unwrap_or(Path::new(""));
    // An absolute path replaces the folder.
    let file = |row: &_| Ok::<PathBuf, _>(folder.join(path.filled(row, BadKind::Image)?.trim()));
    let selected = select(table, file, &columns.label, user, options)?;
    let listed = Listed {
        files: selected.contents,
        places: selected.lines.into_iter().map(Place::Line).collect(),
        labels: selected.labels,
        users: selected.users,
        classes: selected.classes,
        notes: selected.notes,
    };
    ImageRecords::of(listed, size, table.file(), options)
}
