//! What every reader checks, and what it advises.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// The bytes of a file that `examples/data.sh what` gets.
pub(super) fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}: {}", path.display(), advice(what)))
}

pub(super) fn advice(what: &str) -> String {
    format!("run `examples/data.sh {what}`")
}

/// Labels below the number of classes, as many of each as there should be.
pub(super) fn check_labels(labels: &[u8], classes: usize, each: usize, file: &str) -> Result<()> {
    let mut counts = vec![0usize; classes];
    for label in labels {
        let count = counts.get_mut(usize::from(*label));
        *count.with_context(|| format!("{file} has the label {label}, of {classes} classes"))? += 1;
    }
    for (class, count) in counts.into_iter().enumerate() {
        ensure!(
            count == each,
            "{file} has {count} records of class {class}, but should have {each}"
        );
    }
    Ok(())
}
