//! The patches that a kernel sees (im2col).
//!
//! burn's default for `unfold4d` is a convolution with a kernel of ones and zeros. This copies
//! lines instead.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Shape, TensorData, TensorMetadata};

use super::span::Span;
use super::{read, unreadable};
use crate::error::Result;

/// How a kernel moves over two axes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// The padding in front of each axis. That behind it follows from `output`.
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Positions on each axis.
    pub(crate) output: [usize; 2],
}

/// `[rows, channels, height, width]` as `[rows, channels · taps, positions]`. The last tap and the
/// last position vary fastest. Where a window extends over the edge, there are zeros.
pub(crate) fn windows<B: Backend>(x: FloatTensor<B>, w: &Windows) -> Result<FloatTensor<B>> {
    let shape = x.shape();
    let (rows, channels, size) = (shape[0], shape[1], [shape[2], shape[3]]);
    let device = x.device();
    let data = read::<B>(x)?;
    let columns = columns(data.as_slice::<f32>().map_err(unreadable)?, size, w);
    let shape = Shape::from(vec![rows, channels * w.taps(), w.positions()]);
    Ok(B::float_from_data(TensorData::new(columns, shape), &device))
}

/// The windows of planes of `size`, one plane after another.
pub(super) fn columns(planes: &[f32], size: [usize; 2], w: &Windows) -> Vec<f32> {
    let area = size[0] * size[1];
    let count = planes.len().checked_div(area).unwrap_or(0);
    let [down, across] = w.spans(size);
    let mut columns = Vec::with_capacity(count * w.taps() * w.positions());
    for plane in planes.chunks_exact(area.max(1)) {
        for tap in &down {
            for along in &across {
                for o in 0..w.output[0] {
                    match tap.input(o) {
                        Some(y) => push(&mut columns, &plane[y * size[1]..][..size[1]], along, w),
                        None => columns.resize(columns.len() + w.output[1], 0.0),
                    }
                }
            }
        }
    }
    columns
}

/// One line of one tap.
#[inline]
fn push(columns: &mut Vec<f32>, line: &[f32], span: &Span, w: &Windows) {
    columns.resize(columns.len() + span.before, 0.0);
    if span.inside > 0 {
        let line = &line[span.first..];
        if span.stride == 1 {
            columns.extend_from_slice(&line[..span.inside]);
        } else {
            columns.extend(line.iter().step_by(span.stride).take(span.inside));
        }
    }
    let behind = w.output[1] - span.before - span.inside;
    columns.resize(columns.len() + behind, 0.0);
}

impl Windows {
    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    pub(super) fn positions(&self) -> usize {
        self.output[0] * self.output[1]
    }

    /// The taps of each axis of an input of `size`.
    pub(super) fn spans(&self, size: [usize; 2]) -> [Vec<Span>; 2] {
        [0, 1].map(|axis| {
            let span = |tap| {
                let (stride, padding) = (self.stride[axis], self.padding[axis]);
                Span::new(tap, stride, padding, self.dilation[axis], size[axis], self.output[axis])
            };
            (0..self.kernel[axis]).map(span).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::read_sync;
    use burn_backend::ops::{FloatTensorOps, ModuleOps, UnfoldOptions};

    use super::*;

    #[test]
    fn patches_are_those_of_the_backends_convolution() {
        let geometries = [
            ([3, 3], [1, 1], [1, 1], [1, 1]),
            ([3, 2], [2, 1], [0, 1], [1, 1]),
            ([2, 3], [1, 3], [2, 0], [2, 1]),
        ];
        for (kernel, stride, padding, dilation) in geometries {
            for [height, width] in [[8, 8], [5, 7]] {
                let shape = Shape::new([2, 3, height, width]);
                let numbers: Vec<f32> = (1..=shape.num_elements()).map(|i| i as f32).collect();
                let data = TensorData::new(numbers, shape);
                let x = Flex::float_from_data(data, &Default::default());
                let options = UnfoldOptions::new(stride, padding, dilation);
                let backends = Flex::unfold4d(x.clone(), kernel, options);
                let output = [0, 1].map(|axis| {
                    let size = [height, width][axis] + 2 * padding[axis];
                    (size - dilation[axis] * (kernel[axis] - 1) - 1) / stride[axis] + 1
                });
                let w = Windows { kernel, stride, padding, dilation, output };
                let ours = windows::<Flex>(x, &w).unwrap();
                assert_eq!(ours.shape(), backends.shape());
                let numbers = |x| read_sync(Flex::float_into_data(x)).unwrap().try_to_vec::<f32>();
                assert_eq!(numbers(ours).unwrap(), numbers(backends).unwrap(), "{kernel:?}");
            }
        }
    }
}
