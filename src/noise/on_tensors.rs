//! Noise on a tensor on any device.

use burn::tensor::{DType, Tensor, TensorData};

use super::gaussian::{add_gaussian_measuring, noised};
use crate::device::Capabilities;
use crate::error::{Error, Result};
use crate::seed::{Domain, Seed};

/// A squared length, in the requested unit.
pub(crate) enum SquaredLength {
    Known(f64),
    /// `[1]`, on a device that is still computing it.
    OnDevice(Box<Tensor<1>>),
}

/// What one step adds to its tensors.
pub(crate) enum StepNoise<'s> {
    /// N(0, `std`²) on every number, independent of all others.
    Gaussian { std: f64, seed: &'s Seed, domain: Domain, step: u64 },
}

impl StepNoise<'_> {
    /// `tensor`, the `index`-th of the step, with noise on every number; and the squared length that it had, in units of
    /// 1 / `scale`.
    ///
    /// In place where numbers are in the host's memory; elsewhere noise is drawn here, and the tensor stays where it is.
    ///
    /// # Errors
    /// As [`add_gaussian`](super::add_gaussian), and [`Error::Device`].
    pub(crate) fn add_to(
        &self,
        tensor: Tensor<1>,
        index: u64,
        scale: f64,
    ) -> Result<(Tensor<1>, SquaredLength)> {
        let device = tensor.device();
        if Capabilities::of_device(&device).computes_on_host {
            let mut numbers = tensor.try_into_data().map_err(unreadable)?;
            let values = numbers.as_mut_slice().map_err(unreadable)?;
            let squares = self.add_measuring(values, index, scale)?;
            let noised = Tensor::from_data(numbers, (&device, DType::F32));
            return Ok((noised, SquaredLength::Known(squares)));
        }
        let mut noise = TensorData::zeros::<f32, _>(tensor.dims());
        self.add_measuring(noise.as_mut_slice().map_err(unreadable)?, index, 0.0)?;
        // In single precision; a smaller scale only makes the length shorter.
        let scale = scale.min(f64::from(f32::MAX));
        let squares = (tensor.clone() * scale).powi_scalar(2).sum();
        let noised = tensor + Tensor::from_data(noise, (&device, DType::F32));
        Ok((noised, SquaredLength::OnDevice(Box::new(squares))))
    }

    /// `values`, the `index`-th vector of the step, plus noise: added in double precision and rounded to single once.
    ///
    /// # Errors
    /// As [`add_gaussian`](super::add_gaussian).
    pub(crate) fn noised(&self, values: &[f64], index: u64) -> Result<Vec<f32>> {
        match *self {
            Self::Gaussian { std, seed, domain, step } => {
                noised(values, seed, domain, step, index, std)
            }
        }
    }

    /// Adds the noise of the `index`-th tensor; the squared length that the values had.
    fn add_measuring(&self, values: &mut [f32], index: u64, scale: f64) -> Result<f64> {
        match *self {
            Self::Gaussian { std, seed, domain, step } => {
                add_gaussian_measuring(values, seed, domain, step, index, std, scale)
            }
        }
    }
}

fn unreadable(error: impl std::fmt::Debug) -> Error {
    Error::Device { reason: format!("{error:?}") }
}
