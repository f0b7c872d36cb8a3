//! What is done to images, one step after the other.

use anyhow::{Result, ensure};
use burn::prelude::*;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};

use super::resize::{self, Filter};
use crate::models::vision::Backbone;

/// Resizes RGB images and encodes them as a network expects them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocess {
    pub(super) resize: Resize,
    pub(super) crop: Option<Crop>,
    /// Blue first.
    pub(super) reversed: bool,
    /// Subtracted from pixels of 0 to 255.
    pub(super) mean: [f32; 3],
    /// By which the difference is divided.
    pub(super) std: [f32; 3],
}

/// To which height and width, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resize {
    /// Bilinear interpolation without smoothing, as PyTorch's default.
    Interpolate([usize; 2]),
    /// As Pillow resizes.
    Exactly([usize; 2], Filter),
    /// The shorter side gets this length, and the longer one as much as keeps the ratio.
    Shorter(usize, Filter),
}

/// The middle of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crop {
    pub(super) size: [usize; 2],
    /// Where an odd number of pixels is cut off: timm cuts one more at either side, so that the half of that
    /// number becomes even, transformers one more at the end.
    pub(super) half_to_even: bool,
}

impl Preprocess {
    /// Preprocessing for `backbone` that makes images `size` high and wide.
    ///
    /// # Errors
    /// When images of that size are too small for the network.
    pub fn new(backbone: Backbone, size: usize) -> Result<Self> {
        let smallest = backbone.smallest_size();
        ensure!(
            size >= smallest,
            "images of {size} x {size} pixels are too small for {backbone}: resize to {smallest} or more",
        );
        let (reversed, mean, std) = match backbone {
            // Caffe's order of channels and the means that it trained with.
            Backbone::SqueezeNet => (true, [103.939, 116.779, 123.68], [1.0; 3]),
            Backbone::EfficientNetLite0 => (false, [127.0; 3], [128.0; 3]),
        };
        Ok(Self { resize: Resize::Interpolate([size; 2]), crop: None, reversed, mean, std })
    }

    /// Height and width of what [`forward`](Self::forward) gives, if those of the images do not matter.
    pub fn size(&self) -> Option<[usize; 2]> {
        match (self.crop, self.resize) {
            (Some(crop), _) => Some(crop.size),
            (None, Resize::Interpolate(size) | Resize::Exactly(size, _)) => Some(size),
            (None, Resize::Shorter(..)) => None,
        }
    }

    /// Resizes, takes the middle if the folder says so, and encodes. For the networks of [`Backbone`], resizing
    /// is burn's bilinear interpolation (half-pixel centers and no smoothing, as PyTorch's default; images that
    /// shrink by more than half alias).
    ///
    /// # Shapes
    /// - rgb: `[batch, 3, any height, any width]`, values from 0 to 255
    /// - output: `[batch, 3, height, width]`, where both are [`size`](Self::size) if there is one
    pub fn forward(&self, rgb: Tensor<4>) -> Tensor<4> {
        let resized = self.resize(rgb);
        let middle = match self.crop {
            Some(crop) => crop.middle(resized),
            None => resized,
        };
        let ordered = if self.reversed { middle.flip([1]) } else { middle };
        let of_channels = |numbers: [f32; 3]| {
            Tensor::<1>::from_floats(numbers, &ordered.device()).reshape([1, 3, 1, 1])
        };
        let (mean, std) = (of_channels(self.mean), of_channels(self.std));
        (ordered - mean) / std
    }

    fn resize(&self, rgb: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = rgb.dims();
        match self.resize {
            Resize::Interpolate(size) if size == [height, width] => rgb,
            Resize::Interpolate(size) => {
                let bilinear = InterpolateOptions::new(InterpolateMode::Bilinear)
                    .with_align_corners(false)
                    .with_output_size(size);
                interpolate(rgb, bilinear)
            }
            Resize::Exactly(size, filter) => resize::resize(rgb, size, filter),
            Resize::Shorter(shorter, filter) => {
                let longer = |side: usize| side * shorter / height.min(width);
                resize::resize(rgb, [longer(height), longer(width)], filter)
            }
        }
    }
}

impl Crop {
    fn middle(self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = x.dims();
        let [rows, columns] = self.size;
        x.narrow(2, self.before(height, rows), rows).narrow(3, self.before(width, columns), columns)
    }

    /// Pixels that are cut off before those that stay.
    fn before(self, have: usize, keep: usize) -> usize {
        let cut = have.saturating_sub(keep);
        let half = cut / 2;
        if self.half_to_even && cut % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
    }
}
