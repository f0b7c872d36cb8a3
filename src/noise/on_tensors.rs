//! Noise on a tensor on any device.

use burn::tensor::{DType, Tensor, TensorData};

use super::gaussian::add_gaussian_measuring;
use crate::device::Capabilities;
use crate::error::{Error, Result};
use crate::seed::{Domain, Seed};

/// A squared length, in the requested unit.
pub(crate) enum SquaredLength {
    Known(f64),
    /// `[1]`, on a device that is still computing it.
    OnDevice(Box<Tensor<1>>),
}

/// `tensor`, the `index`-th of a step, with noise N(0, `std`²) on every number, and the squared
/// length that it had before, in units of 1 / `scale`.
///
/// Noise is added in place where the numbers are in the host's memory. Otherwise it is drawn on the
/// host, and the tensor stays on its device.
///
/// # Errors
/// As [`add_gaussian`](super::add_gaussian), and [`Error::Device`].
pub(crate) fn noised_tensor(
    tensor: Tensor<1>,
    (seed, domain, step, index): (&Seed, Domain, u64, u64),
    std: f64,
    scale: f64,
) -> Result<(Tensor<1>, SquaredLength)> {
    let device = tensor.device();
    let add = |values: &mut [f32], scale| {
        add_gaussian_measuring(values, seed, domain, step, index, std, scale)
    };
    if Capabilities::of_device(&device).computes_on_host {
        let mut numbers = tensor.try_into_data().map_err(unreadable)?;
        let squares = add(numbers.as_mut_slice().map_err(unreadable)?, scale)?;
        let noised = Tensor::from_data(numbers, (&device, DType::F32));
        return Ok((noised, SquaredLength::Known(squares)));
    }
    let mut noise = TensorData::zeros::<f32, _>(tensor.dims());
    add(noise.as_mut_slice().map_err(unreadable)?, 0.0)?;
    // The scale is in single precision. A smaller scale only makes the length shorter.
    let scale = scale.min(f64::from(f32::MAX));
    let squares = (tensor.clone() * scale).powi_scalar(2).sum();
    let noised = tensor + Tensor::from_data(noise, (&device, DType::F32));
    Ok((noised, SquaredLength::OnDevice(Box::new(squares))))
}

fn unreadable(error: impl std::fmt::Debug) -> Error {
    Error::Device { reason: format!("{error:?}") }
}
