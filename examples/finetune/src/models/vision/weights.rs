//! Pretrained weights on disk, into the layers of a network.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::Param;
use burn::nn::Linear;
use burn::nn::conv::Conv2d;
use burn::prelude::*;
use safetensors::{Dtype, SafeTensors};

/// The tensors of a file, named and shaped as PyTorch does.
pub(super) struct Weights {
    path: PathBuf,
    /// What to ask `examples/data.sh` for.
    download: &'static str,
    tensors: HashMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Weights {
    pub(super) fn read(path: &Path, download: &'static str) -> Result<Self> {
        let again = || format!("run examples/data.sh {download}");
        let shown = path.display();
        let bytes = fs::read(path).with_context(|| format!("cannot read {shown}: {}", again()))?;
        let file = SafeTensors::deserialize(&bytes).with_context(|| {
            format!("{shown} is damaged or no safetensors file: delete it and {}", again())
        })?;
        let mut tensors = HashMap::new();
        for (name, view) in file.tensors() {
            ensure!(
                view.dtype() == Dtype::F32,
                "{shown}: tensor {name} is {:?}, not F32: delete the file and {}",
                view.dtype(),
                again(),
            );
            let (numbers, _) = view.data().as_chunks::<4>();
            let values = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            tensors.insert(name, (view.shape().to_vec(), values));
        }
        Ok(Self { path: path.to_owned(), download, tensors })
    }

    /// The weight and bias of a convolution.
    pub(super) fn fill_conv(&self, conv: &mut Conv2d, name: &str, device: &Device) -> Result<()> {
        let shape: [usize; 4] = conv.weight.lazy_shape().dims();
        let weight = self.values(&format!("{name}.weight"), shape)?;
        let bias = self.values(&format!("{name}.bias"), [shape[0]])?;
        set_conv(conv, weight.to_vec(), bias.to_vec(), device);
        Ok(())
    }

    /// A convolution without bias and the BatchNorm that follows it, as one convolution.
    pub(super) fn fill_conv_with_norm(
        &self,
        conv: &mut Conv2d,
        name: &str,
        norm: &str,
        epsilon: f64,
        device: &Device,
    ) -> Result<()> {
        let shape: [usize; 4] = conv.weight.lazy_shape().dims();
        let mut weight = self.values(&format!("{name}.weight"), shape)?.to_vec();
        let of_norm = |part: &str| self.values(&format!("{norm}.{part}"), [shape[0]]);
        let (gamma, beta) = (of_norm("weight")?, of_norm("bias")?);
        let (mean, variance) = (of_norm("running_mean")?, of_norm("running_var")?);
        let mut bias = Vec::with_capacity(beta.len());
        // gamma (w x - mean) / sqrt(variance + epsilon) + beta, for each channel.
        let per_channel = weight.len() / shape[0].max(1);
        for (channel, kernel) in weight.chunks_mut(per_channel.max(1)).enumerate() {
            let scale = f64::from(gamma[channel]) / (f64::from(variance[channel]) + epsilon).sqrt();
            kernel.iter_mut().for_each(|w| *w = (f64::from(*w) * scale) as f32);
            bias.push((f64::from(beta[channel]) - f64::from(mean[channel]) * scale) as f32);
        }
        set_conv(conv, weight, bias, device);
        Ok(())
    }

    /// The weight and bias of a linear layer.
    pub(super) fn fill_linear(
        &self,
        linear: &mut Linear,
        name: &str,
        device: &Device,
    ) -> Result<()> {
        let [from, to] = linear.weight.lazy_shape().dims();
        self.set_linear(linear, name, self.values(&format!("{name}.weight"), [to, from])?, device)
    }

    /// A linear layer from a convolution of 1 x 1.
    pub(super) fn fill_linear_from_conv(
        &self,
        linear: &mut Linear,
        name: &str,
        device: &Device,
    ) -> Result<()> {
        let [from, to] = linear.weight.lazy_shape().dims();
        let weight = self.values(&format!("{name}.weight"), [to, from, 1, 1])?;
        self.set_linear(linear, name, weight, device)
    }

    /// burn keeps a linear layer's weight as `[in, out]`, PyTorch as `[out, in]`.
    fn set_linear(
        &self,
        linear: &mut Linear,
        name: &str,
        weight: &[f32],
        device: &Device,
    ) -> Result<()> {
        let [from, to] = linear.weight.lazy_shape().dims();
        let bias = self.values(&format!("{name}.bias"), [to])?;
        let transposed = (0..from * to).map(|i| weight[i % to * from + i / to]).collect::<Vec<_>>();
        linear.weight = Param::from_data(TensorData::new(transposed, [from, to]), device);
        linear.bias = Some(Param::from_data(TensorData::new(bias.to_vec(), [to]), device));
        Ok(())
    }

    fn values<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<&[f32]> {
        let (path, download) = (self.path.display(), self.download);
        let (found, values) = self.tensors.get(name).ok_or_else(|| {
            anyhow!(
                "{path} has no tensor {name}: it belongs to another network; \
                 delete it and run examples/data.sh {download}"
            )
        })?;
        ensure!(
            *found == shape,
            "{path}: tensor {name} is {found:?} where {shape:?} is needed; if the file is not of \
             another network, delete it and run examples/data.sh {download}",
        );
        Ok(values)
    }
}

fn set_conv(conv: &mut Conv2d, weight: Vec<f32>, bias: Vec<f32>, device: &Device) {
    let shape: [usize; 4] = conv.weight.lazy_shape().dims();
    conv.weight = Param::from_data(TensorData::new(weight, shape), device);
    conv.bias = Some(Param::from_data(TensorData::new(bias, [shape[0]]), device));
}
