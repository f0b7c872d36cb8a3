//! GELU, forward and backward.
//!
//! Flex computes erf with a scalar function, number by number, twice: in the forward pass and in
//! the backward pass. Here both are straight-line arithmetic, which the compiler vectorizes. For a
//! transformer this is a fifth of a step. Results differ from Flex's in the last digits of f32.
//! (burn-ndarray is left alone: its backward pass is that of the tanh approximation, and a plan
//! computes what its backend does.)

use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, DType, TensorMetadata};

use super::wide::{by_pairs, by_rows, exp_of_negative};
use super::{read, unreadable};
use crate::error::Result;

/// x·Φ(x). For types other than f32 it is the backend's own.
pub(in crate::per_example::rules) fn gelu<B: Backend>(x: FloatTensor<B>) -> Result<FloatTensor<B>> {
    if x.dtype() != DType::F32 {
        return Ok(B::gelu(x));
    }
    let device = x.device();
    let mut data = read::<B>(x)?;
    let numbers = data.as_mut_slice::<f32>().map_err(unreadable)?;
    by_rows(numbers, 1, |numbers| numbers.iter_mut().for_each(|x| *x *= normal_cdf(*x)));
    Ok(B::float_from_data(data, &device))
}

/// g·(Φ(x) + x·φ(x)).
pub(in crate::per_example::rules) fn gelu_backward<B: Backend>(
    x: FloatTensor<B>,
    gradient: FloatTensor<B>,
) -> Result<FloatTensor<B>> {
    if x.dtype() != DType::F32 || gradient.dtype() != DType::F32 || x.shape() != gradient.shape() {
        return Ok(B::gelu_backward(x, gradient));
    }
    let device = x.device();
    let x = read::<B>(x)?;
    let mut data = read::<B>(gradient)?;
    let numbers = data.as_mut_slice::<f32>().map_err(unreadable)?;
    let inputs = x.as_slice::<f32>().map_err(unreadable)?;
    by_pairs(numbers, inputs, 1, |numbers, inputs| {
        for (g, x) in numbers.iter_mut().zip(inputs) {
            *g *= normal_cdf(*x) + x * normal_density(*x);
        }
    });
    Ok(B::float_from_data(data, &device))
}

/// Φ(x) = (1 + erf(x / √2)) / 2. The rational approximation of erf is that of Eigen and XLA. Beyond
/// ±3.83 it is ±1 in f32.
#[inline(always)]
fn normal_cdf(x: f32) -> f32 {
    const P: [f32; 7] = [
        -2.726_142e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const Q: [f32; 5] =
        [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_473_9e-2];
    const LARGEST: f32 = 3.832_507;
    let y = x * std::f32::consts::FRAC_1_SQRT_2;
    let square = y * y;
    let p = P.iter().fold(0.0, |sum, c| sum * square + c);
    let q = Q.iter().fold(0.0, |sum, c| sum * square + c);
    let erf = y * p / q;
    // This must be exact, because a large x multiplies it. Comparisons with NaN are false, so NaN
    // stays.
    let erf = if y > LARGEST { 1.0 } else { erf };
    let erf = if y < -LARGEST { -1.0 } else { erf };
    0.5 + 0.5 * erf
}

/// φ(x) = e^(−x²/2) / √(2π).
#[inline(always)]
fn normal_density(x: f32) -> f32 {
    const SCALE: f32 = 0.398_942_3;
    SCALE * exp_of_negative(-0.5 * x * x)
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::{TensorData, read_sync};

    use super::*;

    fn numbers() -> Vec<f32> {
        let dense = (-60_000..=60_000).map(|i| i as f32 * 2.5e-4);
        let edges = [0.0, -0.0, 1e-30, -1e-30, 1e-8, 14.9, -14.9, 1e4, -1e4, f32::MAX, f32::MIN];
        dense.chain(edges).collect()
    }

    fn worst(approximate: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64) -> f64 {
        let error = |x: f32| (f64::from(approximate(x)) - exact(f64::from(x))).abs();
        numbers().into_iter().map(error).fold(0.0, f64::max)
    }

    #[test]
    fn both_functions_are_right_to_the_last_digits_of_f32() {
        let cdf = worst(normal_cdf, |x| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2));
        let density = |x: f64| (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let density = worst(normal_density, density);
        assert!(cdf < 2.5e-7, "{cdf:e}");
        assert!(density < 1e-7, "{density:e}");
    }

    #[test]
    fn what_is_no_number_stays_none() {
        assert!(normal_cdf(f32::NAN).is_nan() && normal_density(f32::NAN).is_nan());
        assert_eq!((normal_cdf(f32::INFINITY), normal_cdf(f32::NEG_INFINITY)), (1.0, 0.0));
    }

    #[test]
    fn the_backends_answer_is_this_one() {
        let tensor = |numbers: Vec<f32>| {
            let count = numbers.len();
            Flex::float_from_data(TensorData::new(numbers, [count]), &Default::default())
        };
        let read = |x: FloatTensor<Flex>| -> Vec<f32> {
            read_sync(Flex::float_into_data(x)).unwrap().iter().collect()
        };
        use burn_backend::ops::{ActivationOps, FloatTensorOps};
        let x = || tensor((-4000..4000).map(|i| (i as f32 * 2e-3).powi(3)).collect());
        let g = || tensor((0..8000).map(|i| (i % 17) as f32 - 8.0).collect());
        let pairs = [
            (read(gelu::<Flex>(x()).unwrap()), read(Flex::gelu(x()))),
            (read(gelu_backward::<Flex>(x(), g()).unwrap()), read(Flex::gelu_backward(x(), g()))),
        ];
        for (ours, backends) in pairs {
            for (a, b) in ours.into_iter().zip(backends) {
                assert!((a - b).abs() <= 2e-6 * b.abs().max(1.0), "{a} and {b}");
            }
        }
    }
}
