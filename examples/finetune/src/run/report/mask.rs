//! The mask that a run exports.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use burn::module::Module;
use burn_dp::mask::{MaskSet, SuperMaskConfig};
use serde::{Deserialize, Serialize};

/// The exported mask, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MaskSummary {
    /// Scores, each a bit of the mask.
    pub scores: usize,
    /// Weights that the mask is over.
    pub weights: usize,
    /// Weights that it keeps.
    pub kept: usize,
    /// The exported file, entropy-coded, with its header.
    pub bytes: usize,
}

/// Writes a binary mask to `mask.bin`, and what it keeps of each layer to `mask.txt`; nothing for a soft one.
pub fn save<M: Module>(
    folder: &Path,
    config: &SuperMaskConfig,
    model: &M,
) -> Result<Option<MaskSummary>> {
    if !config.kind().is_binary() {
        return Ok(None);
    }
    let masks = MaskSet::of(config, model)?;
    let bytes = masks.to_bytes()?;
    let place = || format!("cannot write to {}", folder.display());
    fs::write(folder.join("mask.bin"), &bytes).with_context(place)?;
    fs::write(folder.join("mask.txt"), format!("{masks}\n")).with_context(place)?;
    let sizes = masks.layers().iter().map(|layer| layer.shape().iter().product::<usize>());
    Ok(Some(MaskSummary {
        scores: masks.scores(),
        weights: sizes.sum(),
        kept: masks.kept_weights(),
        bytes: bytes.len(),
    }))
}
