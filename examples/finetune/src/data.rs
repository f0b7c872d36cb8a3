//! Real data sets, read from what `examples/data.sh` downloads or from the official files.
//!
//! Everything is checked before any of it is used: sizes, numbers of records, labels. An error names the file
//! and what to do.

mod checks;
mod cifar10;
mod fashion_mnist;
mod sentences;
mod split;

use std::path::PathBuf;

use anyhow::{Context, Result};

pub use cifar10::cifar10;
pub use fashion_mnist::fashion_mnist;
pub use sentences::{Sentences, rotten_tomatoes, sentiment, sst2};
pub use split::{Images, Split};

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
