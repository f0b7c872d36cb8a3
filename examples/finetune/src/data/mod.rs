//! Real data sets, read from what `examples/data.sh` downloads or from the official files.
//!
//! Everything is checked before any of it is used: sizes, numbers of records, labels. An error names the file
//! and what to do.

mod cifar10;
mod fashion_mnist;
mod sentences;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

pub use cifar10::cifar10;
pub use fashion_mnist::fashion_mnist;
pub use sentences::{Sentences, rotten_tomatoes, sentiment, sst2};

/// Training and held-out records.
#[derive(Clone, Debug)]
pub struct Split<T> {
    pub train: T,
    pub test: T,
}

/// Labelled images of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// `[records, channels, height, width]`, flat.
    pub pixels: Vec<u8>,
    /// One for each record, below the number of classes.
    pub labels: Vec<u8>,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub classes: &'static [&'static str],
}

impl Images {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of one record, channel by channel.
    pub fn image(&self, record: usize) -> &[u8] {
        let size = self.channels * self.height * self.width;
        &self.pixels[record * size..(record + 1) * size]
    }
}

/// Where `examples/data.sh` puts everything: `$BURN_DP_DATA`, or `burn-dp/data` in the user's cache.
///
/// # Errors
/// When there is neither that variable nor a home directory.
pub fn folder() -> Result<PathBuf> {
    let set =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("BURN_DP_DATA") {
        return Ok(folder);
    }
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let cache = cache.context("set BURN_DP_DATA to the folder that examples/data.sh fills")?;
    Ok(cache.join("burn-dp").join("data"))
}

/// The bytes of a file that `examples/data.sh what` gets.
fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}: {}", path.display(), advice(what)))
}

fn advice(what: &str) -> String {
    format!("run `examples/data.sh {what}`")
}

/// Labels below the number of classes, as many of each as there should be.
fn check_labels(labels: &[u8], classes: usize, each: usize, file: &str) -> Result<()> {
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
