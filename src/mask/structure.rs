//! The part of a weight that one score switches.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{Error, MaskError, Result};

/// The part of a weight that one score switches.
///
/// The weight of burn's `Linear` is `[inputs, outputs]`, that of a convolution
/// `[outputs, inputs, height, width]`, that of an embedding `[tokens, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Structure {
    /// Each number of the weight.
    Weight,
    /// Each index of an axis. `Axis(0)` are rows (a linear layer's inputs, a convolution's output
    /// channels), `Axis(1)` columns (a linear layer's neurons).
    Axis(usize),
    /// Equal runs of indices of an axis, such as attention heads. Heads are runs of columns of the
    /// query, key and value projections, and runs of rows of the output projection.
    Heads {
        /// The axis that is divided into heads.
        axis: usize,
        /// The number of heads. It must divide the axis.
        heads: usize,
    },
}

impl Structure {
    /// The number of scores of a weight of this shape; `None` where the structure does not fit.
    pub(super) fn scores(self, shape: &[usize]) -> Option<usize> {
        match self {
            Self::Weight => Some(shape.iter().product()),
            Self::Axis(axis) => shape.get(axis).copied(),
            Self::Heads { axis, heads } => {
                let length = *shape.get(axis)?;
                (heads > 0 && length.is_multiple_of(heads)).then_some(heads)
            }
        }
    }

    /// # Errors
    /// [`MaskError::DoesNotFit`] where the structure does not fit the shape.
    pub(super) fn check(self, path: &str, shape: &[usize]) -> Result<usize> {
        self.scores(shape).ok_or_else(|| {
            Error::Mask(MaskError::DoesNotFit {
                path: path.to_owned(),
                shape: shape.to_vec(),
                structure: format!("{self:?}"),
            })
        })
    }

    /// A mask of scores, shaped as a factor of a weight of this shape. It broadcasts, unless there
    /// is one score for each number.
    pub(super) fn spread<const D: usize>(self, mask: Tensor<1>, shape: [usize; D]) -> Tensor<D> {
        match self {
            Self::Weight => mask.reshape(shape),
            Self::Axis(axis) => mask.reshape(along(axis, shape)),
            Self::Heads { axis, heads } => {
                let run = shape[axis] / heads;
                let mask = mask.reshape([heads, 1]).expand([heads, run]);
                mask.reshape(along(axis, shape))
            }
        }
    }
}

/// A shape of ones, except for one axis.
fn along<const D: usize>(axis: usize, shape: [usize; D]) -> [usize; D] {
    let mut along = [1; D];
    along[axis] = shape[axis];
    along
}
