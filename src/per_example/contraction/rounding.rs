//! An allowance for devices that round the operands of a product.
//!
//! burn's CUDA and ROCm backends choose kernels by speed, and may take a product of f32 matrices through tensor cores.
//! These keep ten bits of each operand's fraction (TF32), where f32 has 23. Both the norms and the clipped sum are
//! made of products, so one example's part in the sum may be longer than its norm says, by more than what
//! [`SquaredNorms`] allows for the rounding of f32.

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Scalar};

use super::SquaredNorms;
use crate::per_example::tensors::{is_on_host, is_wgpu};

/// An operand loses at most 2⁻¹⁰ of each entry, whether it is rounded or cut off; there are two of them in a product,
/// and two products: the norm's, and the sum's.
const TF32: f64 = 4.0 / 1024.0;

impl<B: Backend> SquaredNorms<B> {
    /// With the allowance where the device needs it. An entry of a gradient is a sum of products; `absolute` is the
    /// squared norm, `[b]`, of the same gradient made of the products' absolute values, or an upper bound of it.
    ///
    /// The error of every entry is at most `TF32` times that of the absolute gradient, so with a norm n and an absolute
    /// norm a, nothing is longer than n + `TF32`·a.
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

/// Unknown devices are taken to. Through wgpu, products are in f32; `tests/conformance/precision.rs` holds each
/// backend to what is said here.
fn rounds_operands<B: Backend>(device: &B::Device) -> bool {
    !is_on_host::<B>(device) && !is_wgpu::<B>(device)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor};
    use burn_dispatch::Dispatch;

    use super::*;

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
