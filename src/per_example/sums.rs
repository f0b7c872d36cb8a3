//! Sums of very many numbers in single precision.
//!
//! A backend may add a million squares one after another. The late ones are then rounded away
//! against the running total, so a norm comes out too low, and clipping with it would clip too
//! little. Sums of blocks are short.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Shape, Slice, TensorMetadata};

/// Up to this length one pass is enough.
const SHORT: usize = 64;

/// The sum over everything but axis 0: `[b, ...]` to `[b]`.
///
/// It sums blocks of √n, then the blocks. The error of n terms that are not negative is thus at
/// most ε√n of their sum, whatever the backend's order within a block (Higham 2002, section 4.2; ε
/// is twice the unit roundoff).
pub(super) fn per_example_sum<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let batch = shape[0];
    let terms = shape.num_elements().checked_div(batch).unwrap_or(0);
    let rows = B::float_reshape(x, Shape::from(vec![batch, terms]));
    if terms <= SHORT {
        return total::<B>(rows);
    }
    let length = terms.isqrt();
    let blocks = terms / length;
    let part = |from: usize, to: usize| {
        let slices = [Slice::full(), Slice::from(from..to)];
        if (from, to) == (0, terms) { rows.clone() } else { B::float_slice(rows.clone(), &slices) }
    };
    let whole =
        B::float_reshape(part(0, blocks * length), Shape::from(vec![batch, blocks, length]));
    let sums = B::float_sum_dim(whole, 2);
    let sum = total::<B>(B::float_reshape(sums, Shape::from(vec![batch, blocks])));
    if blocks * length == terms {
        return sum;
    }
    B::float_add(sum, total::<B>(part(blocks * length, terms)))
}

/// `[b, n]` to `[b]`.
fn total<B: Backend>(rows: FloatTensor<B>) -> FloatTensor<B> {
    let batch = rows.shape()[0];
    B::float_reshape(B::float_sum_dim(rows, 1), Shape::from(vec![batch]))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};
    use burn_dispatch::Dispatch;

    use super::*;

    /// One large square. Added to it, each of the rest is rounded away.
    fn squares(count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| if i == 0 { 16.8e6 } else { 0.5 + (i * 7919 % 101) as f32 / 101.0 })
            .collect()
    }

    #[test]
    fn a_sum_of_a_million_terms_is_within_its_bound() {
        let device = Device::default();
        for count in [1, 63, 65, 1000, 4097, 589_824, 1_000_003] {
            let row = squares(count);
            let exact: f64 = row.iter().map(|x| f64::from(*x)).sum();
            let twice = TensorData::new([row.clone(), row].concat(), [2, count]);
            let x = Tensor::<2>::from_data(twice, &device).into_dispatch();
            let sums = Tensor::<1>::from_dispatch(per_example_sum::<Dispatch>(x)).into_data();
            for sum in sums.iter::<f64>() {
                let error = (sum - exact).abs() / exact;
                let bound = f64::from(f32::EPSILON) * (count as f64).sqrt();
                assert!(error <= bound, "{count} terms: {error:e} > {bound:e}");
            }
        }
    }
}
