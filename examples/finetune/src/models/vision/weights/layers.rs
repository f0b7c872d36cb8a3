//! From tensors to the layers of a network.

use anyhow::Result;
use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::nn::{GroupNorm, LayerNorm, Linear};
use burn::prelude::*;

use super::Weights;

impl Weights {
    /// The weight of a convolution, and its bias if it has one.
    pub(in super::super) fn fill_conv(
        &mut self,
        conv: &mut Conv2d,
        name: &str,
        device: &Device,
    ) -> Result<()> {
        self.fill(&mut conv.weight, &format!("{name}.weight"), device)?;
        self.fill_if_any(&mut conv.bias, &format!("{name}.bias"), device)
    }

    /// A convolution without bias and the BatchNorm that follows it, as one convolution.
    pub(in super::super) fn fill_conv_with_norm(
        &mut self,
        conv: &mut Conv2d,
        name: &str,
        norm: &str,
        epsilon: f64,
        device: &Device,
    ) -> Result<()> {
        let shape: [usize; 4] = conv.weight.lazy_shape().dims();
        let mut weight = self.take(&format!("{name}.weight"), shape)?;
        let mut of_norm = |part: &str| self.take(&format!("{norm}.{part}"), [shape[0]]);
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
        conv.weight = Param::from_data(TensorData::new(weight, shape), device);
        conv.bias = Some(Param::from_data(TensorData::new(bias, [shape[0]]), device));
        Ok(())
    }

    /// The weight of a linear layer, and its bias if it has one.
    pub(in super::super) fn fill_linear(
        &mut self,
        linear: &mut Linear,
        name: &str,
        device: &Device,
    ) -> Result<()> {
        let [from, to] = linear.weight.lazy_shape().dims();
        let weight = self.take(&format!("{name}.weight"), [to, from])?;
        self.set_linear(linear, name, &weight, device)
    }

    /// A linear layer from a convolution of 1 x 1.
    pub(in super::super) fn fill_linear_from_conv(
        &mut self,
        linear: &mut Linear,
        name: &str,
        device: &Device,
    ) -> Result<()> {
        let [from, to] = linear.weight.lazy_shape().dims();
        let weight = self.take(&format!("{name}.weight"), [to, from, 1, 1])?;
        self.set_linear(linear, name, &weight, device)
    }

    /// Scale and shift.
    pub(in super::super) fn fill_layer_norm(
        &mut self,
        norm: &mut LayerNorm,
        name: &str,
        device: &Device,
    ) -> Result<()> {
        self.fill(&mut norm.gamma, &format!("{name}.weight"), device)?;
        self.fill_if_any(&mut norm.beta, &format!("{name}.bias"), device)
    }

    /// Scale and shift.
    pub(in super::super) fn fill_group_norm(
        &mut self,
        norm: &mut GroupNorm,
        name: &str,
        device: &Device,
    ) -> Result<()> {
        self.fill_if_any(&mut norm.gamma, &format!("{name}.weight"), device)?;
        self.fill_if_any(&mut norm.beta, &format!("{name}.bias"), device)
    }

    /// A parameter that the network has under some settings only.
    pub(in super::super) fn fill_if_any<const D: usize>(
        &mut self,
        param: &mut Option<Param<Tensor<D>>>,
        name: &str,
        device: &Device,
    ) -> Result<()> {
        param.as_mut().map_or(Ok(()), |param| self.fill(param, name, device))
    }

    /// A parameter in the layout of PyTorch.
    pub(in super::super) fn fill<const D: usize>(
        &mut self,
        param: &mut Param<Tensor<D>>,
        name: &str,
        device: &Device,
    ) -> Result<()> {
        let shape: [usize; D] = param.lazy_shape().dims();
        let values = self.take(name, shape)?;
        *param = Param::from_data(TensorData::new(values, shape), device);
        Ok(())
    }

    /// burn keeps a linear layer's weight as `[in, out]`, PyTorch as `[out, in]`.
    fn set_linear(
        &mut self,
        linear: &mut Linear,
        name: &str,
        weight: &[f32],
        device: &Device,
    ) -> Result<()> {
        let [from, to] = linear.weight.lazy_shape().dims();
        let transposed = (0..from * to).map(|i| weight[i % to * from + i / to]).collect::<Vec<_>>();
        linear.weight = Param::from_data(TensorData::new(transposed, [from, to]), device);
        self.fill_if_any(&mut linear.bias, &format!("{name}.bias"), device)
    }
}
