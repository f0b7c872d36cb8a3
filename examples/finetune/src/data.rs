//! Standard data sets, read from what `examples/data.sh` downloads or from the official files; and the user's own:
//! a table of texts, a folder of images for each class, or a table of images.
//!
//! Everything is checked before any of it is used, hence before any privacy is spent: sizes, numbers of records,
//! labels, images. An error names the file and line, and what to do. It is for who holds the data: it may quote a
//! label, but no text.

mod bad_records;
mod celeba;
mod checks;
mod cifar10;
mod cifar100;
mod class_weights;
mod classes;
mod columns;
mod fashion_mnist;
mod glue;
mod hash;
mod held_out;
mod image_records;
mod labels;
mod options;
mod plain_texts;
mod select;
mod sentences;
mod split;
mod table;
mod text_records;
mod units;
mod words;

use std::path::PathBuf;

use anyhow::{Context, Result};

pub use bad_records::BadRecords;
pub use celeba::celeba;
pub use cifar10::cifar10;
pub use cifar100::cifar100;
pub use class_weights::ClassWeights;
pub use columns::{ImageColumns, LabelFrom, TextColumns, TextFrom};
pub use fashion_mnist::fashion_mnist;
pub use glue::{Mnli, mnli, qnli, qqp};
pub(crate) use hash::hash;
pub use held_out::HeldOut;
pub use image_records::{ImageRecords, image, image_folder, image_table, image_test_table};
pub use labels::Labels;
pub use options::ReadOptions;
pub use plain_texts::plain_texts;
pub use sentences::{Sentences, rotten_tomatoes, sentiment, sst2};
pub use split::{Images, Split};
pub use table::{Format, Table};
pub use text_records::TextRecords;
pub use units::Units;

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
