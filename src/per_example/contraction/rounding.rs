//! An allowance for devices that round the operands of a product.
//!
//! burn's CUDA and ROCm backends choose kernels by speed, and may compute a product of f32 matrices
//! on tensor cores. These keep ten bits of each operand's fraction (TF32), while f32 has 23. Both
//! the norms and the clipped sum consist of products. One example's part in the sum may therefore
//! be longer than its norm says, by more than [`SquaredNorms`] allows for the rounding of f32.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Scalar};

use super::SquaredNorms;
use crate::device::Capabilities;

/// An operand loses at most 2⁻¹⁰ of each entry, whether it is rounded or truncated. A product has
/// two operands, and there are two products: that of the norm and that of the sum.
const TF32: f64 = 4.0 / 1024.0;

impl<B: Backend> SquaredNorms<B> {
    /// Adds the allowance if the device needs it.
    ///
    /// An entry of a gradient is a sum of products. `absolute` is the squared norm, `[b]`, of the
    /// same gradient computed from the products' absolute values, or an upper bound of it. The
    /// error of every entry is at most `TF32` times the entry of the absolute gradient. So with a
    /// norm n and an absolute norm a, no gradient is longer than n + `TF32`·a.
    pub(crate) fn with_rounded_operands(
        self,
        device: &B::Device,
        absolute: impl FnOnce(&Self) -> FloatTensor<B>,
    ) -> Self {
        if !rounds_operands::<B>(device) {
            return self;
        }
        let absolute = absolute(&self);
        self.allowing(absolute)
    }

    fn allowing(self, absolute: FloatTensor<B>) -> Self {
        let both = B::float_sqrt(B::float_mul(self.value.clone(), absolute.clone()));
        let linear = B::float_mul_scalar(both, Scalar::Float(2.0 * TF32));
        let square = B::float_mul_scalar(absolute, Scalar::Float(TF32 * TF32));
        Self { slack: B::float_add(self.slack, B::float_add(linear, square)), ..self }
    }
}

fn rounds_operands<B: Backend>(device: &B::Device) -> bool {
    #[cfg(test)]
    if tests::PRETEND.get() {
        return true;
    }
    Capabilities::of::<B>(device).rounds_operands
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use burn::tensor::{Device, Tensor, TensorData, read_sync};
    use burn_backend::ops::FloatTensorOps;
    use burn_dispatch::Dispatch;

    use super::super::{Contraction, Factor, Factors, Step};
    use super::*;

    thread_local! {
        /// Whether to assume that this thread's devices round operands.
        pub(super) static PRETEND: Cell<bool> = const { Cell::new(false) };
    }

    const BATCH: usize = 2;
    const ROWS: usize = 6;
    const COLS: usize = 5;

    /// Positive numbers that lose as much as possible when ten bits of the fraction are kept.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let number = |i: usize| 1.0 + ((i * 37 + seed) % 11) as f32 / 64.0;
        (0..count).map(|i| f32::from_bits(number(i).to_bits() | 0x1fff)).collect()
    }

    fn cut(numbers: &[f32]) -> Vec<f32> {
        numbers.iter().map(|x| f32::from_bits(x.to_bits() & !0x1fff)).collect()
    }

    /// The gradients of factors `[b, t, rows]` and `[b, t, columns]`, with or without a mask.
    fn contraction(left: Vec<f32>, right: Vec<f32>, mask: Option<&[f32]>) -> Contraction<Dispatch> {
        let device = Device::default();
        let positions = left.len() / (BATCH * ROWS);
        let factor = |numbers: Vec<f32>, width: usize| {
            let data = TensorData::new(numbers, [BATCH, 1, positions, width]);
            Factor::Dense(Tensor::<4>::from_data(data, &device).into_dispatch())
        };
        let layout = mask.map_or(Vec::new(), |mask| {
            let mask = TensorData::new(mask.to_vec(), [ROWS, COLS]);
            let mask = Tensor::<2>::from_data(mask, &device).into_dispatch();
            vec![Step::Reshape(vec![ROWS, COLS]), Step::Times(mask)]
        });
        Contraction {
            uses: vec![Factors { left: factor(left, ROWS), right: factor(right, COLS) }],
            device: device.as_dispatch().clone(),
            batch: BATCH,
            groups: 1,
            rows: ROWS,
            cols: COLS,
            layout,
        }
    }

    /// The norms of the examples that clipping uses.
    fn bounds(of: &Contraction<Dispatch>, rounds: bool) -> Vec<f64> {
        PRETEND.set(rounds);
        let norms = of.squared_norms();
        PRETEND.set(false);
        let sum = Tensor::<1>::from_dispatch(norms.value) + Tensor::from_dispatch(norms.slack);
        sum.sqrt().into_data().iter().collect()
    }

    #[test]
    fn no_way_to_take_a_norm_is_too_low_when_operands_are_cut() {
        let mask = numbers(ROWS * COLS, 3);
        for positions in [1, 4] {
            for mask in [None, Some(&mask[..])] {
                let left = numbers(BATCH * positions * ROWS, 1);
                let right = numbers(BATCH * positions * COLS, 2);
                let given = contraction(cut(&left), cut(&right), mask);
                let (with, without) = (bounds(&given, true), bounds(&given, false));
                let exact = contraction(left, right, mask).materialize();
                let exact = read_sync(Dispatch::float_into_data(exact)).unwrap();
                let exact: Vec<f64> = exact.iter().collect();
                for (example, gradient) in exact.chunks(ROWS * COLS).enumerate() {
                    let norm = gradient.iter().map(|x| x * x).sum::<f64>().sqrt();
                    let [with, without] = [with[example], without[example]];
                    assert!(without < norm, "nothing to see: {without} and {norm}");
                    assert!(norm <= with && with < 1.01 * norm, "{with} and {norm}");
                }
            }
        }
    }

    #[test]
    fn a_norm_grows_by_its_part_of_the_absolute_norm() {
        let device = Device::default();
        let squares = |norms: [f32; 3]| Tensor::<1>::from_floats(norms, &device).powi_scalar(2);
        let (norms, absolute) = ([2.0, 0.0, 1.0], [3.0, 5.0, 1.0]);
        let given = SquaredNorms::<Dispatch>::of_squares(squares(norms).into_dispatch(), 0);
        let given = given.allowing(squares(absolute).into_dispatch());
        let sum = Tensor::<1>::from_dispatch(given.value) + Tensor::from_dispatch(given.slack);
        let found = sum.sqrt().into_data();
        for ((found, norm), absolute) in found.iter::<f64>().zip(norms).zip(absolute) {
            let expected = f64::from(norm) + TF32 * f64::from(absolute);
            assert!((found - expected).abs() < 1e-6, "{found} and {expected}");
        }
    }
}
