//! Resizing as Pillow does it up to version 12.3 (`Resample.c`), which libraries of image models follow.

use std::ops::Range;

use burn::prelude::*;

/// How much a pixel counts, by its distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    Bilinear,
    /// Keys' cubic convolution with a = -1/2.
    Bicubic,
}

/// First along rows, then along columns. As in images of bytes, either step gives whole numbers of 0 to 255.
pub(super) fn resize(rgb: Tensor<4>, [height, width]: [usize; 2], filter: Filter) -> Tensor<4> {
    let [_, _, rows, columns] = rgb.dims();
    let device = rgb.device();
    let mut x = rgb;
    if columns != width {
        let [coarse, fine] = filter.shares(columns, width, &device);
        let along = |shares: Tensor<2>| x.clone().matmul(shares.transpose().unsqueeze());
        x = whole_levels(along(coarse), along(fine));
    }
    if rows != height {
        let [coarse, fine] = filter.shares(rows, height, &device);
        let along = |shares: Tensor<2>| shares.unsqueeze::<4>().matmul(x.clone());
        x = whole_levels(along(coarse), along(fine));
    }
    x
}

/// The sum, rounded; a half goes up. Single precision holds either part exactly, but not their sum. So the whole
/// part is taken off before they are added, and no rounding error decides which way a half goes.
fn whole_levels(coarse: Tensor<4>, fine: Tensor<4>) -> Tensor<4> {
    let coarse = coarse + 0.5;
    let whole = coarse.clone().floor();
    let rest = (coarse - whole.clone() + fine).floor();
    (whole + rest).clamp(0.0, 255.0)
}

/// Pillow's shares are whole multiples of 2^-22.
const STEPS: f64 = (1 << 22) as f64;
/// Their coarse part is of multiples of 2^-11.
const FINE_STEPS: f64 = (1 << 11) as f64;

impl Filter {
    /// What each of `from` pixels contributes to each of `to`, `[to, from]`, as the sum of two parts. Each row of
    /// the sum adds up to about one.
    fn shares(self, from: usize, to: usize, device: &Device) -> [Tensor<2>; 2] {
        let (mut coarse, mut fine) = (vec![0.0; from * to], vec![0.0; from * to]);
        // Where an image shrinks, the filter is as wide as a new pixel: that smooths.
        let step = from as f64 / to as f64;
        let scale = step.max(1.0);
        let reach = self.reach() * scale;
        for index in 0..to {
            let center = (index as f64 + 0.5) * step;
            let near = range(center - reach, center + reach, from);
            let weight = |pixel: usize| self.weight((pixel as f64 - center + 0.5) * (1.0 / scale));
            let sum: f64 = near.clone().map(weight).sum();
            for pixel in near {
                let steps = (weight(pixel) * (1.0 / sum) * STEPS).round();
                let of_coarse = (steps / FINE_STEPS).round();
                coarse[index * from + pixel] = (of_coarse * FINE_STEPS / STEPS) as f32;
                fine[index * from + pixel] = ((steps - of_coarse * FINE_STEPS) / STEPS) as f32;
            }
        }
        [coarse, fine].map(|shares| Tensor::from_data(TensorData::new(shares, [to, from]), device))
    }

    /// Pixels farther away count nothing.
    fn reach(self) -> f64 {
        match self {
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
        }
    }

    fn weight(self, distance: f64) -> f64 {
        let x = distance.abs();
        match self {
            Self::Bilinear if x < 1.0 => 1.0 - x,
            Self::Bicubic if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Self::Bicubic if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5,
            Self::Bilinear | Self::Bicubic => 0.0,
        }
    }
}

/// Whole pixels between two places, of `from` that there are.
fn range(low: f64, high: f64, from: usize) -> Range<usize> {
    let first = (low + 0.5).max(0.0) as usize;
    let end = ((high + 0.5).max(0.0) as usize).min(from);
    first..end
}
