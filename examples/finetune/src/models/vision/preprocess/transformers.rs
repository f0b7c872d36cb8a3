//! transformers' `preprocessor_config.json`.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::folder::read_json;
use super::json::{LEVELS, checked, of_channels};
use super::pipeline::{Crop, Preprocess, Resize};
use super::resize::Filter;

const FILE: &str = "preprocessor_config.json";

pub(super) fn read(folder: &Path) -> Result<Preprocess> {
    let config: Config = read_json(folder, FILE)?;
    let file = folder.join(FILE);
    config.preprocess().with_context(|| format!("{} cannot be used", file.display()))
}

#[derive(Deserialize)]
struct Config {
    image_processor_type: Option<String>,
    /// What older files call the same.
    feature_extractor_type: Option<String>,
    do_resize: Option<bool>,
    size: Option<Value>,
    resample: Option<u64>,
    crop_pct: Option<f64>,
    do_center_crop: Option<bool>,
    crop_size: Option<Value>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<Vec<f64>>,
    image_std: Option<Vec<f64>>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// Fields that change no pixel of an RGB image.
const HARMLESS: [&str; 12] = [
    "_valid_processor_keys",
    "auto_map",
    "backend",
    "data_format",
    "device",
    "disable_grouping",
    "do_convert_rgb",
    "do_reduce_labels",
    "input_data_format",
    "processor_class",
    "reduce_labels",
    "return_tensors",
];

/// Image processors that differ in more than their settings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Processor {
    /// ViT, BEiT: a size that is one number is that of both sides.
    Plain,
    /// DeiT: the same, and the middle is taken unless the file says otherwise.
    Cropping,
    /// ConvNeXT, which ResNet uses: a size below 384 is that of the middle of a larger image.
    ConvNext,
}

impl Config {
    fn preprocess(&self) -> Result<Preprocess> {
        for (name, value) in &self.others {
            let does_nothing = value.is_null() || *value == Value::Bool(false);
            ensure!(
                does_nothing || HARMLESS.contains(&name.as_str()),
                "{name} is {value}: this field is not supported",
            );
        }
        ensure!(
            self.do_resize.unwrap_or(true),
            "do_resize is false: images have to be resized to the network's size",
        );
        let (resize, crop) = self.geometry()?;
        let (mean, std) = if self.do_normalize.unwrap_or(true) {
            let mean = of_channels("image_mean", self.image_mean.as_ref())?;
            (mean, of_channels("image_std", self.image_std.as_ref())?)
        } else {
            ([0.0; 3], [1.0; 3])
        };
        let rescale = if self.do_rescale.unwrap_or(true) {
            self.rescale_factor.unwrap_or(1.0 / LEVELS)
        } else {
            1.0
        };
        Preprocess::of_folder(resize, crop, rescale, mean, std)
    }

    fn geometry(&self) -> Result<(Resize, Option<Crop>)> {
        let (processor, filter) = (self.processor()?, self.filter()?);
        let size =
            self.size.as_ref().context("size is missing: give the images' height and width")?;
        let size = Size::read("size", size)?;
        if processor == Processor::ConvNext {
            return self.convnext(size, filter);
        }
        ensure!(
            self.crop_pct.is_none(),
            "crop_pct is given, which only ConvNextImageProcessor has",
        );
        let resize = match size {
            Size::Number(side) => Resize::Exactly([side; 2], filter),
            Size::Sides(sides) => Resize::Exactly(sides, filter),
            Size::ShortestEdge(side) => Resize::Shorter(side, filter),
        };
        if !self.do_center_crop.unwrap_or(processor == Processor::Cropping) {
            return Ok((resize, None));
        }
        let crop =
            self.crop_size.as_ref().context("crop_size is missing, but do_center_crop is on")?;
        let crop = match Size::read("crop_size", crop)? {
            Size::Number(side) => [side; 2],
            Size::Sides(sides) => sides,
            Size::ShortestEdge(_) => bail!("crop_size has shortest_edge: give height and width"),
        };
        let [height, width] = match resize {
            Resize::Interpolate(sides) | Resize::Exactly(sides, _) => sides,
            Resize::Shorter(side, _) => [side; 2],
        };
        ensure!(
            crop[0] <= height && crop[1] <= width,
            "crop_size {crop:?} is larger than size [{height}, {width}]: images would get a black \
             border, which is not supported",
        );
        Ok((resize, Some(Crop { size: crop, half_to_even: false })))
    }

    /// Below 384, a larger image is made, of which the middle stays.
    fn convnext(&self, size: Size, filter: Filter) -> Result<(Resize, Option<Crop>)> {
        const WHOLE: usize = 384;
        let (Size::Number(side) | Size::ShortestEdge(side)) = size else {
            bail!("size has height and width: ConvNextImageProcessor needs shortest_edge")
        };
        ensure!(
            !self.do_center_crop.unwrap_or(false),
            "do_center_crop is true: ConvNextImageProcessor crops by crop_pct; set it to false",
        );
        if side >= WHOLE {
            return Ok((Resize::Exactly([side; 2], filter), None));
        }
        // transformers' default.
        let share = self.crop_pct.unwrap_or(224.0 / 256.0);
        ensure!(
            (0.01..=1.0).contains(&share),
            "crop_pct is {share}: give more than 0.01, and 1 at most",
        );
        let shorter = (side as f64 / share) as usize;
        let crop = Crop { size: [side; 2], half_to_even: false };
        Ok((Resize::Shorter(shorter, filter), Some(crop)))
    }

    fn filter(&self) -> Result<Filter> {
        match self.resample {
            Some(2) => Ok(Filter::Bilinear),
            Some(3) => Ok(Filter::Bicubic),
            Some(other) => {
                Err(anyhow!("resample is {other}: 2 (bilinear) and 3 (bicubic) are supported"))
            }
            None => Err(anyhow!("resample is missing: give 2 (bilinear) or 3 (bicubic)")),
        }
    }

    fn processor(&self) -> Result<Processor> {
        let Some(name) =
            self.image_processor_type.as_ref().or(self.feature_extractor_type.as_ref())
        else {
            let is_convnext = self.crop_pct.is_some();
            return Ok(if is_convnext { Processor::ConvNext } else { Processor::Plain });
        };
        let endings =
            ["ImageProcessor", "ImageProcessorFast", "ImageProcessorPil", "FeatureExtractor"];
        match endings.iter().find_map(|ending| name.strip_suffix(ending)) {
            Some("ViT" | "Beit") => Ok(Processor::Plain),
            Some("DeiT") => Ok(Processor::Cropping),
            Some("ConvNext") => Ok(Processor::ConvNext),
            _ => Err(anyhow!(
                "image_processor_type is {name:?}: those of ViT, DeiT, Beit and ConvNext are supported"
            )),
        }
    }
}

/// What files write for a size.
enum Size {
    Number(usize),
    Sides([usize; 2]),
    ShortestEdge(usize),
}

impl Size {
    fn read(name: &str, value: &Value) -> Result<Self> {
        let number = |value: &Value| -> Result<usize> {
            let side = value.as_u64().and_then(|side| usize::try_from(side).ok());
            checked(name, side.with_context(|| format!("{name} has {value}: give whole numbers"))?)
        };
        let Value::Object(fields) = value else {
            return number(value).map(Self::Number);
        };
        let given = |key: &str| fields.get(key).filter(|value| !value.is_null());
        let count = fields.values().filter(|value| !value.is_null()).count();
        match (count, given("height"), given("width"), given("shortest_edge")) {
            (2, Some(height), Some(width), _) => Ok(Self::Sides([number(height)?, number(width)?])),
            (1, _, _, Some(edge)) => Ok(Self::ShortestEdge(number(edge)?)),
            _ => {
                Err(anyhow!("{name} is {value}: give a number, height and width, or shortest_edge"))
            }
        }
    }
}
