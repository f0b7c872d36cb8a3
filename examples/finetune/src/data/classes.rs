//! The names of classes.
//!
//! Which classes there are decides the shape of the model, which is released. So with privacy they must be public:
//! given by name. Where they are taken from the data instead, a note says what is thereby assumed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, bail, ensure};

use super::words::{did_you_mean, listed, quoted};

/// More classes than this are only believed when they are named.
const MOST_FROM_DATA: usize = 1_000;

/// Checks names that somebody gave: two or more, none empty, none twice.
pub(super) fn check(classes: &[String]) -> Result<()> {
    ensure!(
        classes.len() >= 2,
        "--classes names {}, but telling apart needs two or more, such as --classes a,b",
        classes.len()
    );
    let mut seen = BTreeSet::new();
    for class in classes {
        ensure!(!class.trim().is_empty(), "a class has an empty name: look for `,,` in --classes");
        ensure!(class.trim() == class, "the class {} begins or ends with a space", quoted(class));
        ensure!(seen.insert(class), "the class {} is given twice", quoted(class));
    }
    Ok(())
}

/// The sorted set of the labels in a file, and a note that they are then public.
pub(super) fn of_data<'a>(
    labels: impl IntoIterator<Item = &'a str>,
    file: &Path,
    column: &str,
) -> Result<(Vec<String>, String)> {
    let mut records = 0;
    let labels = labels.into_iter().inspect(|_| records += 1);
    let set: BTreeSet<&str> = labels.collect();
    let (found, file) = (set.len(), file.display());
    let column = quoted(column);
    // Not for one class, of which the caller says more.
    if found > 2 && (found > MOST_FROM_DATA || found > records / 2) {
        bail!(
            "{file} has {found} different labels in column {column} for {records} records: it seems to hold \
             numbers or ids, not classes. Choose another column, or name the classes with --classes"
        );
    }
    let mut plain = BTreeMap::new();
    for label in &set {
        if let Some(other) = plain.insert(label.to_lowercase(), label) {
            let (label, other) = (quoted(label), quoted(other));
            bail!(
                "{file} has the labels {other} and {label} in column {column}, which differ in case only: write \
                 them alike, or name the classes with --classes"
            );
        }
    }
    let classes = sorted(set);
    let note = format!(
        "the {found} classes {} are taken from column {column} of {file}, so that their names are treated as \
         public; name them with --classes if a class's being there could tell something about somebody",
        listed(&classes)
    );
    Ok((classes, note))
}

/// By number if all names are integers, else by their letters.
pub(super) fn sorted<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    names.sort_unstable();
    if names.iter().all(|name| name.parse::<i64>().is_ok()) {
        names.sort_by_key(|name| name.parse::<i64>().unwrap_or_default());
    }
    names
}

/// Which class a label is, or what is wrong with it.
pub(super) fn class_of(label: &str, classes: &[String]) -> Result<u32, String> {
    let found = classes.iter().position(|class| class == label);
    found.and_then(|class| u32::try_from(class).ok()).ok_or_else(|| {
        let near = did_you_mean(label, classes.iter().map(String::as_str));
        let label = quoted(label);
        format!("the label {label} is none of the classes {}{near}", listed(classes))
    })
}
