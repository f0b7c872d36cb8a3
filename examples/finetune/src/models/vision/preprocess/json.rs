//! What both kinds of files have in common.

use anyhow::{Context, Result, ensure};

use super::super::folder::LARGEST;
use super::pipeline::{Crop, Preprocess, Resize};

/// Pixels have 255 levels above black.
pub(super) const LEVELS: f64 = 255.0;

impl Preprocess {
    /// For `rescale · pixel`, from which `mean` is subtracted before it is divided by `std`.
    pub(super) fn of_folder(
        resize: Resize,
        crop: Option<Crop>,
        rescale: f64,
        mean: [f64; 3],
        std: [f64; 3],
    ) -> Result<Self> {
        ensure!(
            rescale > 0.0 && rescale.is_finite(),
            "rescale_factor is {rescale}: give a positive number",
        );
        let is_usable = |x: &f64| x.is_finite();
        ensure!(mean.iter().all(is_usable), "the mean {mean:?} must be of finite numbers");
        ensure!(
            std.iter().all(|x| x.is_finite() && *x > 0.0),
            "the standard deviation {std:?} must be of positive numbers",
        );
        let in_levels = |numbers: [f64; 3]| numbers.map(|x| (x / rescale) as f32);
        Ok(Self { resize, crop, reversed: false, mean: in_levels(mean), std: in_levels(std) })
    }
}

/// A number for each of red, green and blue.
pub(super) fn of_channels(name: &str, numbers: Option<&Vec<f64>>) -> Result<[f64; 3]> {
    let numbers = numbers.with_context(|| format!("{name} is missing: give 3 numbers"))?;
    let found = numbers.len();
    numbers
        .as_slice()
        .try_into()
        .with_context(|| format!("{name} has {found} numbers: give 3, of red, green and blue"))
}

/// Holds that a side is positive and not absurd.
pub(super) fn checked(name: &str, side: usize) -> Result<usize> {
    ensure!((1..=LARGEST).contains(&side), "{name} has {side}: give 1 to {LARGEST}");
    Ok(side)
}
