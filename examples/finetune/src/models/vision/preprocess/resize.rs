//! Resizing as Pillow does it (`Resample.c`), which libraries of image models follow.

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
        let shares = filter.shares(columns, width, &device);
        x = whole_levels(x.matmul(shares.transpose().unsqueeze()));
    }
    if rows != height {
        let shares = filter.shares(rows, height, &device);
        x = whole_levels(shares.unsqueeze::<4>().matmul(x));
    }
    x
}

/// A half goes up.
fn whole_levels(x: Tensor<4>) -> Tensor<4> {
    (x + 0.5).floor().clamp(0.0, 255.0)
}

impl Filter {
    /// What each of `from` pixels contributes to each of `to`, `[to, from]`. Each row sums to one.
    fn shares(self, from: usize, to: usize, device: &Device) -> Tensor<2> {
        let mut shares = vec![0.0; from * to];
        // Where an image shrinks, the filter is as wide as a new pixel: that smooths.
        let step = from as f64 / to as f64;
        let scale = step.max(1.0);
        let reach = self.reach() * scale;
        for (index, row) in shares.chunks_mut(from.max(1)).enumerate() {
            let center = (index as f64 + 0.5) * step;
            let near = range(center - reach, center + reach, from);
            let weight = |pixel: usize| self.weight((pixel as f64 - center + 0.5) / scale);
            let sum: f64 = near.clone().map(weight).sum();
            for (pixel, share) in row.iter_mut().enumerate() {
                if near.contains(&pixel) {
                    *share = (weight(pixel) / sum) as f32;
                }
            }
        }
        Tensor::from_data(TensorData::new(shares, [to, from]), device)
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
            Self::Bicubic if x < 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
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
