//! Max-pooling: one pass over each line and tap, without a branch on the values.

use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_backend::{Backend, DType, Shape, TensorData, TensorMetadata};

use super::span::Span;
use super::windows::Windows;
use super::{read, unreadable};
use crate::error::Result;

/// The largest number of each window of `[rows, channels, height, width]`, and its place in its
/// plane. As in burn, the first of equal numbers counts, and NaN counts before any number.
/// `indices` is the type of the places.
pub(in crate::per_example::rules) fn max_pool<B: Backend>(
    x: FloatTensor<B>,
    w: &Windows,
    indices: DType,
) -> Result<(FloatTensor<B>, IntTensor<B>)> {
    let [rows, channels, height, width] = x.shape().dims();
    let device = x.device();
    let x = read::<B>(x)?;
    let x = x.as_slice::<f32>().map_err(unreadable)?;

    let [down, across] = w.spans([height, width]);
    let mut numbers = vec![f32::NEG_INFINITY; rows * channels * w.positions()];
    let mut places = vec![NOWHERE; numbers.len()];
    let lines = numbers.chunks_exact_mut(w.output[1].max(1));
    let lines = lines.zip(places.chunks_exact_mut(w.output[1].max(1)));
    for (line, (best, at)) in lines.enumerate() {
        let (plane, o) = (line / w.output[0], line % w.output[0]);
        for y in down.iter().filter_map(|tap| tap.input(o)) {
            let input = &x[(plane * height + y) * width..][..width];
            for span in &across {
                let seen = span.before..span.before + span.inside;
                let (best, at) = (&mut best[seen.clone()], &mut at[seen]);
                let place = (y * width + span.first) as i32;
                match span.stride {
                    _ if best.is_empty() => {}
                    1 => see::<1>(best, at, &input[span.first..], place),
                    2 => see::<2>(best, at, &input[span.first..], place),
                    _ => see_any(best, at, &input[span.first..], place, span.stride),
                }
            }
        }
        if at.contains(&NOWHERE) {
            let first = |taps: &[Span], o: usize| taps.iter().find_map(|tap| tap.input(o));
            for (across_at, at) in at.iter_mut().enumerate().filter(|(_, at)| **at == NOWHERE) {
                if let (Some(y), Some(x)) = (first(&down, o), first(&across, across_at)) {
                    *at = (y * width + x) as i32;
                }
            }
        }
    }
    let shape = Shape::new([rows, channels, w.output[0], w.output[1]]);
    let numbers = B::float_from_data(TensorData::new(numbers, shape.clone()), &device);
    let places: Vec<i64> = places.into_iter().map(i64::from).collect();
    let places = TensorData::new(places, shape).convert_dtype(indices);
    Ok((numbers, B::int_from_data(places, &device)))
}

/// The place of a window that has seen no number above −∞.
const NOWHERE: i32 = -1;

/// One tap of a line of windows that move by `STRIDE`. `input` begins with the number that the
/// first window sees, at `place`.
#[inline]
fn see<const STRIDE: usize>(best: &mut [f32], at: &mut [i32], input: &[f32], place: i32) {
    let (strides, _) = input.as_chunks::<STRIDE>();
    for (((best, at), input), i) in best.iter_mut().zip(&mut *at).zip(strides).zip(0..) {
        keep_larger(best, at, input[0], place + i * STRIDE as i32);
    }
    // The last window may see the last number, with less than a stride after it.
    let done = strides.len();
    if done < best.len() {
        let place = place + (done * STRIDE) as i32;
        see_any(&mut best[done..], &mut at[done..], &input[done * STRIDE..], place, STRIDE);
    }
}

fn see_any(best: &mut [f32], at: &mut [i32], input: &[f32], place: i32, stride: usize) {
    let inputs = input.iter().step_by(stride).zip((place..).step_by(stride));
    for ((best, at), (x, place)) in best.iter_mut().zip(at).zip(inputs) {
        keep_larger(best, at, *x, place);
    }
}

#[inline]
fn keep_larger(best: &mut f32, at: &mut i32, x: f32, place: i32) {
    let larger = (x > *best) | x.is_nan();
    *best = if larger { x } else { *best };
    *at = if larger { place } else { *at };
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::read_sync;
    use burn_backend::IntDType;
    use burn_backend::ops::{FloatTensorOps, IntTensorOps, ModuleOps};

    use super::*;

    /// Ties, NaN, and windows that see only −∞.
    fn awkward(count: usize) -> Vec<f32> {
        let number = |i: usize| match (i * 7919 + i / 5) % 23 {
            0..5 => f32::NEG_INFINITY,
            5 => f32::NAN,
            6 => f32::INFINITY,
            n => (n % 4) as f32 - 1.0,
        };
        (0..count).map(number).collect()
    }

    #[test]
    fn largest_numbers_and_their_places_are_the_backends() {
        let geometries = [
            ([2, 2], [2, 2], [0, 0], [1, 1], false),
            ([3, 3], [2, 2], [0, 0], [1, 1], true),
            ([3, 2], [1, 3], [1, 1], [1, 1], false),
            ([2, 3], [2, 1], [1, 1], [2, 2], false),
        ];
        for (kernel, stride, padding, dilation, ceil) in geometries {
            for size in [[8, 8], [7, 9], [5, 6]] {
                let shape = Shape::new([2, 3, size[0], size[1]]);
                let data = TensorData::new(awkward(shape.num_elements()), shape);
                let x = Flex::float_from_data(data, &Default::default());
                let backends = Flex::max_pool2d_with_indices(
                    x.clone(),
                    kernel,
                    stride,
                    padding,
                    dilation,
                    ceil,
                    IntDType::I64,
                );
                let [_, _, height, width] = backends.output.shape().dims();
                let windows =
                    Windows { kernel, stride, padding, dilation, output: [height, width] };
                let (numbers, places) = max_pool::<Flex>(x, &windows, DType::I64).unwrap();

                let bits = |x| {
                    let data = read_sync(Flex::float_into_data(x)).unwrap();
                    data.iter::<f32>().map(f32::to_bits).collect::<Vec<_>>()
                };
                let ints =
                    |x| read_sync(Flex::int_into_data(x)).unwrap().try_to_vec::<i64>().unwrap();
                assert_eq!(bits(numbers), bits(backends.output), "{kernel:?} {size:?}");
                assert_eq!(ints(places), ints(backends.indices), "{kernel:?} {size:?}");
            }
        }
    }
}
