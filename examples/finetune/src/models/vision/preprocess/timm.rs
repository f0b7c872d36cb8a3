//! `pretrained_cfg` in timm's `config.json`, as timm's transform for evaluation reads it.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::super::folder::read_json;
use super::json::{LEVELS, checked, of_channels};
use super::pipeline::{Crop, Preprocess, Resize};
use super::resize::Filter;

pub(super) fn read(folder: &Path) -> Result<Preprocess> {
    let config: Config = read_json(folder, "config.json")?;
    let file = folder.join("config.json");
    config
        .pretrained_cfg
        .preprocess()
        .with_context(|| format!("pretrained_cfg in {} cannot be used", file.display()))
}

#[derive(Deserialize)]
struct Config {
    pretrained_cfg: Pretrained,
}

/// What has to do with images. The other fields tell where the weights are from.
#[derive(Deserialize)]
struct Pretrained {
    input_size: [usize; 3],
    mean: Option<Vec<f64>>,
    std: Option<Vec<f64>>,
    #[serde(default = "bilinear")]
    interpolation: String,
    crop_pct: Option<f64>,
    crop_mode: Option<String>,
    crop_border_pixels: Option<usize>,
}

fn bilinear() -> String {
    "bilinear".to_owned()
}

/// timm's default.
const CROP_PCT: f64 = 0.875;

impl Pretrained {
    fn preprocess(&self) -> Result<Preprocess> {
        let [channels, height, width] = self.input_size;
        let size = checked("input_size", height)?;
        ensure!(
            channels == 3 && height == width,
            "input_size is {:?}: only 3 channels, and as many rows as columns are supported",
            self.input_size,
        );
        if let Some(mode) = &self.crop_mode {
            ensure!(mode == "center", "crop_mode is {mode:?}: only center is supported");
        }
        let border = self.crop_border_pixels.unwrap_or(0);
        ensure!(border == 0, "crop_border_pixels is {border}: it is not supported");
        let filter = match self.interpolation.as_str() {
            "bilinear" => Filter::Bilinear,
            "bicubic" => Filter::Bicubic,
            other => bail!("interpolation is {other:?}: bilinear and bicubic are supported"),
        };
        let share = self.crop_pct.unwrap_or(CROP_PCT);
        ensure!(
            (0.01..=1.0).contains(&share),
            "crop_pct is {share}: give more than 0.01, and 1 at most",
        );
        let shorter = (size as f64 / share) as usize;
        let crop = Crop { size: [size; 2], half_to_even: true };
        Preprocess::of_folder(
            Resize::Shorter(shorter, filter),
            Some(crop),
            1.0 / LEVELS,
            of_channels("mean", self.mean.as_ref())?,
            of_channels("std", self.std.as_ref())?,
        )
    }
}
