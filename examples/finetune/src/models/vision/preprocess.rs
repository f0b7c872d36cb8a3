//! From pixels to what a network was trained on.

use burn::prelude::*;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};

use super::Backbone;

/// Resizes RGB images and encodes them as a network expects them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preprocess {
    backbone: Backbone,
    size: usize,
}

impl Preprocess {
    /// Preprocessing for `backbone` that makes images `size` high and wide.
    ///
    /// # Errors
    /// When images of that size are too small for the network.
    pub fn new(backbone: Backbone, size: usize) -> anyhow::Result<Self> {
        let smallest = backbone.smallest_size();
        anyhow::ensure!(
            size >= smallest,
            "images of {size} x {size} pixels are too small for {backbone}: resize to {smallest} or more",
        );
        Ok(Self { backbone, size })
    }

    /// Resizes with burn's bilinear interpolation (half-pixel centers and no smoothing, as PyTorch's
    /// default; images that shrink by more than half alias), then encodes.
    ///
    /// # Shapes
    /// - rgb: `[batch, 3, any height, any width]`, values from 0 to 255
    /// - output: `[batch, 3, size, size]`
    pub fn forward(&self, rgb: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = rgb.dims();
        if [height, width] == [self.size; 2] {
            return self.encode(rgb);
        }
        let bilinear = InterpolateOptions::new(InterpolateMode::Bilinear)
            .with_align_corners(false)
            .with_output_size([self.size; 2]);
        self.encode(interpolate(rgb, bilinear))
    }

    fn encode(&self, rgb: Tensor<4>) -> Tensor<4> {
        match self.backbone {
            // Caffe's order of channels and the means that it trained with.
            Backbone::SqueezeNet => {
                let means = Tensor::<1>::from_floats([103.939, 116.779, 123.68], &rgb.device());
                rgb.flip([1]) - means.reshape([1, 3, 1, 1])
            }
            Backbone::EfficientNetLite0 => (rgb - 127.0) / 128.0,
        }
    }
}
