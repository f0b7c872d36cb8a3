//! Softmax, forward and backward.
//!
//! Flex computes the exponential with a scalar function, number by number. In attention the scores
//! are the largest tensor of a transformer, and their exponential takes longer than either of the
//! products beside it. Here each pass over a row is vectorized, and the row stays in the cache
//! between passes.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, DType, TensorMetadata};

use super::wide::{by_pairs, by_rows, exp_of_negative};
use super::{read, unreadable};
use crate::error::Result;

/// The number of running sums, whatever the processor's vector width, so that sums are the same on
/// every processor.
const LANES: usize = 16;

/// e^x / Σ e^x along `axis`. For types other than f32 it is the backend's own.
pub(in crate::per_example::rules) fn softmax<B: Backend>(
    x: FloatTensor<B>,
    axis: usize,
) -> Result<FloatTensor<B>> {
    let last = x.shape().num_dims() - 1;
    if x.dtype() != DType::F32 {
        return Ok(B::softmax(x, axis));
    }
    let device = x.device();
    let mut data = read::<B>(B::float_swap_dims(x, axis, last))?;
    let length = data.shape()[last];
    let numbers = data.as_mut_slice::<f32>().map_err(unreadable)?;
    by_rows(numbers, length, |rows| rows.chunks_mut(length).for_each(row));
    Ok(B::float_swap_dims(B::float_from_data(data, &device), axis, last))
}

/// P ⊙ (dP − Σ dP ⊙ P) along `axis`. Both have the same shape.
pub(in crate::per_example::rules) fn softmax_backward<B: Backend>(
    result: FloatTensor<B>,
    gradient: FloatTensor<B>,
    axis: usize,
) -> Result<FloatTensor<B>> {
    let last = result.shape().num_dims() - 1;
    let device = result.device();
    let result = read::<B>(B::float_swap_dims(result, axis, last))?;
    let mut data = read::<B>(B::float_swap_dims(gradient, axis, last))?;
    let length = data.shape()[last];
    let numbers = data.as_mut_slice::<f32>().map_err(unreadable)?;
    let result = result.as_slice::<f32>().map_err(unreadable)?;
    by_pairs(numbers, result, length, |rows, results| {
        rows.chunks_mut(length).zip(results.chunks(length)).for_each(|(d, p)| backward_row(d, p));
    });
    Ok(B::float_swap_dims(B::float_from_data(data, &device), axis, last))
}

/// A row becomes NaN if it has NaN, or if its largest number is infinite, as e^(x − max) / Σ e^(x −
/// max) does.
#[inline(always)]
fn row(row: &mut [f32]) {
    let mut largest = [f32::NEG_INFINITY; LANES];
    let keep = |largest: &mut f32, x: &f32| *largest = if *x > *largest { *x } else { *largest };
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole.iter().map(<[f32; LANES]>::as_slice).chain([rest]) {
        largest.iter_mut().zip(chunk).for_each(|(largest, x)| keep(largest, x));
    }
    let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);

    let mut sums = [0.0; LANES];
    let (whole, rest) = row.as_chunks_mut::<LANES>();
    for chunk in whole.iter_mut().map(<[f32; LANES]>::as_mut_slice).chain([rest]) {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            *x = exp_of_negative(*x - largest);
            *sum += *x;
        }
    }
    let scale = 1.0 / sums.iter().sum::<f32>();
    row.iter_mut().for_each(|x| *x *= scale);
}

#[inline(always)]
fn backward_row(gradient: &mut [f32], result: &[f32]) {
    let mut sums = [0.0; LANES];
    for (d, p) in gradient.chunks(LANES).zip(result.chunks(LANES)) {
        sums.iter_mut().zip(d.iter().zip(p)).for_each(|(sum, (d, p))| *sum += d * p);
    }
    let total = sums.iter().sum::<f32>();
    gradient.iter_mut().zip(result).for_each(|(d, p)| *d = p * (*d - total));
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::{TensorData, read_sync};
    use burn_backend::ops::{ActivationOps, FloatTensorOps};

    use super::*;

    /// Lengths around the number of lanes, on every axis.
    const SHAPES: [[usize; 3]; 6] =
        [[3, 5, 7], [2, 4, 16], [5, 1, 17], [2, 1, 1], [1, 3, 133], [4, 0, 3]];

    fn tensor(numbers: Vec<f32>, shape: [usize; 3]) -> FloatTensor<Flex> {
        Flex::float_from_data(TensorData::new(numbers, shape), &Default::default())
    }

    /// Reproducible numbers between −15 and 15.
    fn numbers(seed: usize, shape: [usize; 3]) -> Vec<f32> {
        let count = shape.iter().product();
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 3001) as f32 / 100.0 - 15.0).collect()
    }

    fn read(x: FloatTensor<Flex>) -> Vec<f64> {
        read_sync(Flex::float_into_data(x)).unwrap().iter().collect()
    }

    /// The places of every line of `shape` along `axis`.
    fn lines(shape: [usize; 3], axis: usize) -> Vec<Vec<usize>> {
        let strides = [shape[1] * shape[2], shape[2], 1];
        let count: usize = shape.iter().product();
        let starts = (0..count).filter(|i| (i / strides[axis]).is_multiple_of(shape[axis]));
        starts.map(|start| (0..shape[axis]).map(|i| start + i * strides[axis]).collect()).collect()
    }

    #[test]
    fn both_passes_are_right_to_the_last_digits_of_f32() {
        for shape in SHAPES {
            for axis in 0..3 {
                let (x, g) = (numbers(1, shape), numbers(2, shape));
                let p = softmax::<Flex>(tensor(x.clone(), shape), axis).unwrap();
                let d =
                    softmax_backward::<Flex>(p.clone(), tensor(g.clone(), shape), axis).unwrap();
                let (p, d) = (read(p), read(d));
                for line in lines(shape, axis) {
                    let e: Vec<f64> = line.iter().map(|i| f64::from(x[*i]).exp()).collect();
                    let sum: f64 = e.iter().sum();
                    let inner: f64 =
                        line.iter().zip(&e).map(|(i, e)| e / sum * f64::from(g[*i])).sum();
                    for (i, e) in line.iter().zip(&e) {
                        let exact = e / sum;
                        // Numbers are up to 30 below the largest, and their difference is rounded.
                        assert!((p[*i] - exact).abs() <= 3e-6 * exact, "{} and {exact}", p[*i]);
                        let exact = exact * (f64::from(g[*i]) - inner);
                        assert!((d[*i] - exact).abs() <= 2e-5, "{} and {exact}", d[*i]);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_number_or_infinite_comes_out_as_from_the_backend() {
        let rows = [
            [f32::NAN, 1.0, 2.0],
            [f32::INFINITY, 1.0, 2.0],
            [f32::NEG_INFINITY, 1.0, 2.0],
            [f32::NEG_INFINITY; 3],
            [f32::MIN, f32::MAX, 0.0],
        ];
        let shape = [1, rows.len(), 3];
        let x = || tensor(rows.as_flattened().to_vec(), shape);
        let (ours, backends) =
            (read(softmax::<Flex>(x(), 2).unwrap()), read(Flex::softmax(x(), 2)));
        for (a, b) in ours.into_iter().zip(backends) {
            assert!((a - b).abs() < 1e-6 || a.is_nan() && b.is_nan(), "{a} and {b}");
        }
    }
}
