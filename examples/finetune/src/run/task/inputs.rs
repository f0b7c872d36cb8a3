//! Records of a unit of protection, side by side.

use burn::tensor::{Int, Tensor};
use burn_dp::batch::Batch;

use crate::models::text::TextInputs;

/// What a model reads, where several rows can lie side by side: that is how records of a unit of protection go together.
pub trait Inputs: Batch + std::fmt::Debug {
    /// `[units * rows, n, ..]` to `[units, rows * n, ..]`
    #[must_use]
    fn together(self, rows: usize) -> Self;
    /// And back.
    #[must_use]
    fn apart(self, rows: usize) -> Self;
}

impl Inputs for Tensor<2> {
    fn together(self, rows: usize) -> Self {
        together(self, rows)
    }

    fn apart(self, rows: usize) -> Self {
        apart(self, rows)
    }
}

impl Inputs for Tensor<4> {
    fn together(self, rows: usize) -> Self {
        let [all, channels, height, width] = self.dims();
        if rows == 1 { self } else { self.reshape([all / rows, rows * channels, height, width]) }
    }

    fn apart(self, rows: usize) -> Self {
        let [units, channels, height, width] = self.dims();
        if rows == 1 { self } else { self.reshape([units * rows, channels / rows, height, width]) }
    }
}

impl Inputs for TextInputs {
    fn together(self, rows: usize) -> Self {
        let [all, length] = self.tokens.dims();
        let ints = |ints: Tensor<2, Int>| match rows {
            1 => ints,
            _ => ints.reshape([all / rows, rows * length]),
        };
        Self {
            tokens: ints(self.tokens),
            types: self.types.map(ints),
            mask: together(self.mask, rows),
        }
    }

    fn apart(self, rows: usize) -> Self {
        let [units, length] = self.tokens.dims();
        let ints = |ints: Tensor<2, Int>| match rows {
            1 => ints,
            _ => ints.reshape([units * rows, length / rows]),
        };
        Self {
            tokens: ints(self.tokens),
            types: self.types.map(ints),
            mask: apart(self.mask, rows),
        }
    }
}

/// `[units, rows * width]` to `[units * rows, width]`.
pub fn apart(tensor: Tensor<2>, rows: usize) -> Tensor<2> {
    let [units, width] = tensor.dims();
    if rows == 1 { tensor } else { tensor.reshape([units * rows, width / rows]) }
}

/// `[units * rows, width]` to `[units, rows * width]`.
pub fn together(tensor: Tensor<2>, rows: usize) -> Tensor<2> {
    let [all, width] = tensor.dims();
    if rows == 1 { tensor } else { tensor.reshape([all / rows, rows * width]) }
}
