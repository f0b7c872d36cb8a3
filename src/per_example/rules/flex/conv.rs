//! Two-dimensional convolutions as products of the weight with patches.
//!
//! Flex has several ways to convolve. They take three to ten times as long as the products here.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Shape, TensorData, TensorMetadata};
use burn_ir::Conv2dOptionsIr;

use super::windows::{Windows, columns};
use super::{read, unreadable};
use crate::error::Result;

/// The number of patch entries that are made at a time: about what a core's second-level cache
/// holds.
const AT_ONCE: usize = 1 << 18;

/// Above this number of patch entries in one row, the backend's tiled kernel saves memory.
const LARGEST: usize = 1 << 22;

/// Whether this kernel suits: one group, and a kernel of more than one pixel, so that there are
/// patches to copy.
pub(in crate::per_example::rules) fn suits(
    weight: &Shape,
    output: [usize; 2],
    groups: usize,
) -> bool {
    let patch: usize = weight.as_slice()[1..].iter().product();
    let positions = output[0] * output[1];
    groups == 1 && weight.as_slice()[2..] != [1, 1] && patch.saturating_mul(positions) <= LARGEST
}

/// Convolves `x` `[rows, channels, height, width]` with `weight` `[out, channels, ..kernel]` and
/// `bias` `[out]`, to `[rows, out, ..output]`.
pub(in crate::per_example::rules) fn conv2d<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    options: &Conv2dOptionsIr,
    output: [usize; 2],
) -> Result<FloatTensor<B>> {
    let [rows, channels, height, width] = x.shape().dims();
    let [out, _, down, across] = weight.shape().dims();
    let windows = Windows {
        kernel: [down, across],
        stride: options.stride,
        padding: options.padding.map(|(front, _)| front),
        dilation: options.dilation,
        output,
    };
    let (patch, positions) = (channels * windows.taps(), windows.positions());
    let device = x.device();
    let weight = B::float_reshape(weight, Shape::new([1, out, patch]));
    let bias = bias.map(|bias| read::<B>(bias)).transpose()?;
    let bias = bias.as_ref().map(|bias| bias.as_slice::<f32>()).transpose().map_err(unreadable)?;
    let x = read::<B>(x)?;
    let x = x.as_slice::<f32>().map_err(unreadable)?;

    let together = (AT_ONCE / (patch * positions).max(1)).max(1);
    let mut result = Vec::with_capacity(rows * out * positions);
    for some in x.chunks((together * channels * height * width).max(1)) {
        let columns = columns(some, [height, width], &windows);
        let count = columns.len().checked_div(patch * positions).unwrap_or(0);
        let columns = TensorData::new(columns, [count, patch, positions]);
        let columns = B::float_from_data(columns, &device);
        let product = read::<B>(B::float_matmul(weight.clone(), columns))?;
        let product = product.as_slice::<f32>().map_err(unreadable)?;
        match bias {
            None => result.extend_from_slice(product),
            Some(bias) => {
                let planes = product.chunks_exact(positions.max(1));
                for (plane, bias) in planes.zip(bias.iter().cycle()) {
                    result.extend(plane.iter().map(|y| y + bias));
                }
            }
        }
    }
    let shape = Shape::new([rows, out, output[0], output[1]]);
    Ok(B::float_from_data(TensorData::new(result, shape), &device))
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::read_sync;
    use burn_backend::ops::{FloatTensorOps, ModuleOps};

    use super::*;

    fn numbers(shape: &[usize]) -> FloatTensor<Flex> {
        let count: usize = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|i| (i * 7919 % 101) as f32 / 50.0 - 1.0).collect();
        Flex::float_from_data(TensorData::new(numbers, shape.to_vec()), &Default::default())
    }

    #[test]
    fn the_result_is_the_backends_whatever_is_made_at_a_time() {
        // The second has more patches than are made at a time.
        for (rows, [height, width], channels) in [(3, [7, 6], 4), (5, [64, 64], 12)] {
            for bias in [None, Some(numbers(&[5]))] {
                let options = Conv2dOptionsIr {
                    stride: [2, 1],
                    padding: [(0, 2), (1, 0)],
                    dilation: [1, 2],
                    groups: 1,
                };
                let x = numbers(&[rows, channels, height, width]);
                let weight = numbers(&[5, channels, 3, 2]);
                let backends =
                    Flex::conv2d(x.clone(), weight.clone(), bias.clone(), options.clone().into());
                let [_, _, down, across] = backends.shape().dims();
                let ours = conv2d::<Flex>(x, weight, bias, &options, [down, across]).unwrap();
                assert_eq!(ours.shape(), backends.shape());
                let read = |x| read_sync(Flex::float_into_data(x)).unwrap().try_to_vec::<f32>();
                for (a, b) in read(ours).unwrap().into_iter().zip(read(backends).unwrap()) {
                    assert!((a - b).abs() <= 1e-4, "{a} and {b}");
                }
            }
        }
    }
}
