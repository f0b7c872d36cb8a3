//! From features of positions to features of images.

use burn::prelude::*;

/// The mean over all positions: `[batch, channels, height, width]` to `[batch, channels]`.
pub(super) fn global_mean(x: Tensor<4>) -> Tensor<2> {
    x.flatten::<3>(2, 3).mean_dim(2).flatten(1, 2)
}
