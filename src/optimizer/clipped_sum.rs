//! The sum of clipped per-example gradients of one logical step.

use std::collections::HashMap;

use burn::module::{Module, ParamId};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use burn_backend::Shape;
use burn_backend::ops::FloatTensorOps;
use burn_dispatch::{Dispatch, DispatchTensor};
use rayon::prelude::*;

use super::sum_bound::{Bound, Squares};
use crate::error::{Error, Result};
use crate::per_example::{
    GradientSum, ModuleTensor, ModuleTensors, ParameterGradient, PerExample, is_on_host, read,
};
use crate::privacy::{Clipping, ClippingState};

/// Accumulates over the physical batches of a step. Kept in at least single precision.
pub(super) struct ClippedSum<'p> {
    clipping: &'p Clipping,
    state: ClippingState,
    device: Device,
    parameters: Vec<Parameter>,
    examples: usize,
    /// `Σ_i (1[norm_i <= C] - 1/2)`: the centred count that adaptive clipping releases with noise
    /// (Andrew et al. 2021, arXiv 1905.03871, section 2.2).
    below: f64,
}

struct Parameter {
    id: ParamId,
    path: String,
    shape: Shape,
    /// The clipping group.
    group: usize,
    sum: Option<DispatchTensor>,
}

impl<'p> ClippedSum<'p> {
    pub(super) fn new<M: Module>(
        model: &M,
        clipping: &'p Clipping,
        state: ClippingState,
    ) -> Result<Self> {
        let tensors = ModuleTensors::of(model)?;
        let paths = |trained: bool| -> Vec<&str> {
            let tensors = tensors.tensors.iter().filter(|tensor| tensor.trainable == trained);
            tensors.map(|tensor| tensor.path.as_str()).collect()
        };
        let groups = clipping.groups_of(&paths(true), &paths(false))?;
        let parameter = |(tensor, group): (&ModuleTensor, usize)| {
            let (path, shape) = (tensor.path.clone(), tensor.shape.clone());
            Parameter { id: tensor.id, path, shape, group, sum: None }
        };
        let parameters = tensors.trainable().zip(groups).map(parameter).collect();
        let device = tensors.device;
        Ok(Self { clipping, state, device, parameters, examples: 0, below: 0.0 })
    }

    /// The paths of what is trained, in the model's order.
    pub(super) fn paths(&self) -> Vec<String> {
        self.parameters.iter().map(|parameter| parameter.path.clone()).collect()
    }

    /// Clips every example's gradient and adds it.
    pub(super) fn add(&mut self, gradients: PerExample) -> Result<()> {
        if gradients.is_empty() {
            return Ok(());
        }
        let expected = self.parameters.iter().map(|parameter| parameter.id);
        if !gradients.parameters().map(|(id, _)| id).eq(expected) {
            return Err(Error::EngineOfAnotherModel);
        }
        let examples = gradients.len();
        self.examples += examples;
        let groups = self.clipping.groups();
        let norms = self.norms(&gradients, groups)?;
        let mut weights = vec![vec![0.0f32; examples]; groups];
        let mut bad = vec![false; examples];
        gradients.excluded().iter().for_each(|example| bad[*example] = true);
        for example in 0..examples {
            // A gradient that is not finite contributes exactly zero, in every group.
            bad[example] |= norms.iter().any(|group| !group[example].is_finite());
            if bad[example] {
                self.below -= 0.5;
                continue;
            }
            for (group, norms) in norms.iter().enumerate() {
                weights[group][example] =
                    self.clipping.factor(group, norms[example], &self.state) as f32;
            }
            let below =
                norms.iter().all(|group| group[example] <= self.state.clipping_norm().value());
            self.below += if below { 0.5 } else { -0.5 };
        }
        let gradients = if bad.contains(&true) {
            gradients.without(Tensor::<1, Bool>::from_data(
                TensorData::new(bad, [examples]),
                &self.device,
            ))
        } else {
            gradients
        };
        let weights: Vec<DispatchTensor> = weights
            .into_iter()
            .map(|weights| {
                let data = TensorData::new(weights, [examples]);
                Tensor::<1>::from_data(data, (&self.device, DType::F32)).into_dispatch()
            })
            .collect();
        let add = |parameter: &mut Parameter, gradient: &ParameterGradient| {
            let (weights, sum) = (&weights[parameter.group], parameter.sum.take());
            parameter.sum = Some(gradient.weighted_sum(weights, &gradients, sum));
        };
        let forms = &gradients.gradients;
        if is_on_host::<Dispatch>(self.device.as_dispatch()) {
            self.parameters.par_iter_mut().zip(forms).for_each(|(p, gradient)| add(p, gradient));
        } else {
            self.parameters.iter_mut().zip(forms).for_each(|(p, gradient)| add(p, gradient));
        }
        Ok(())
    }

    /// The centred count of examples whose gradient was not clipped; private until noised.
    pub(super) fn below_clipping_norm(&self) -> f64 {
        self.below
    }

    /// Turns every parameter's sum, flattened, into what `release` makes of it, once the sum is found to be within its
    /// bound. The arguments of `release` are the parameter's number, its sum, and the scale in which to measure it.
    ///
    /// # Errors
    /// [`Error::SumBeyondBound`] where a group's sum is longer than its examples can have made it. The engine bounds
    /// each record by itself; this does not rely on any of it, and costs next to nothing.
    pub(super) fn release(
        self,
        mut release: impl FnMut(u64, Tensor<1>, f64) -> Result<(Tensor<1>, Squares)>,
    ) -> Result<GradientSum> {
        let groups = self.clipping.groups();
        let bounds: Vec<Bound> = (0..groups).map(|group| self.bound(group)).collect();
        let mut squares: Vec<Vec<Squares>> = (0..groups).map(|_| Vec::new()).collect();
        let mut sums = HashMap::new();
        for (index, parameter) in self.parameters.into_iter().enumerate() {
            let length = parameter.shape.num_elements();
            let sum = match parameter.sum {
                Some(sum) => Dispatch::float_reshape(sum, Shape::from(vec![length])),
                None => Tensor::<1>::zeros([length], (&self.device, DType::F32)).into_dispatch(),
            };
            let scale = bounds[parameter.group].scale();
            let (noised, found) = release(index as u64, Tensor::from_dispatch(sum), scale)?;
            squares[parameter.group].push(found);
            let noised = Dispatch::float_reshape(noised.into_dispatch(), parameter.shape.clone());
            sums.insert(parameter.id, noised);
        }
        for (bound, squares) in bounds.iter().zip(squares) {
            bound.check(Squares::total(squares)?)?;
        }
        Ok(GradientSum { sums })
    }

    fn bound(&self, group: usize) -> Bound {
        let clipping_norm = self.clipping.bound(group, &self.state);
        Bound { group, examples: self.examples, clipping_norm }
    }

    /// An upper bound of every example's gradient norm in each clipping group, read to the host.
    fn norms(&self, gradients: &PerExample, groups: usize) -> Result<Vec<Vec<f64>>> {
        let mut squared: Vec<Option<Tensor<1>>> = vec![None; groups];
        let of = |gradient: &ParameterGradient| gradient.norms(gradients);
        let all: Vec<_> = if is_on_host::<Dispatch>(self.device.as_dispatch()) {
            gradients.gradients.par_iter().map(of).collect()
        } else {
            gradients.gradients.iter().map(of).collect()
        };
        for (parameter, norms) in self.parameters.iter().zip(all) {
            let norm = Tensor::<1>::from_dispatch(norms.value) + Tensor::from_dispatch(norms.slack);
            let total = &mut squared[parameter.group];
            *total = Some(match total.take() {
                None => norm,
                Some(sum) => sum + norm,
            });
        }
        let examples = gradients.len();
        let squared: Vec<Tensor<1>> = squared
            .into_iter()
            .map(|total| {
                total.unwrap_or_else(|| Tensor::zeros([examples], (&self.device, DType::F32)))
            })
            .collect();
        // One transfer for all groups.
        let flat = read(Tensor::cat(squared, 0))?;
        // A square below the normal numbers of f32 may have been rounded to zero.
        let mut lost = vec![0.0; groups];
        for parameter in &self.parameters {
            let entries = parameter.shape.num_elements() as f64;
            lost[parameter.group] += entries * f64::from(f32::MIN_POSITIVE);
        }
        let norms =
            |(group, lost): (&[f64], &f64)| group.iter().map(|n| (n + lost).sqrt()).collect();
        Ok(flat.chunks(examples).zip(&lost).map(norms).collect())
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;
    use crate::per_example::{Engine, Traced};
    use crate::privacy::ClippingNorm;

    /// Three records with one long gradient.
    fn summed(clipping: &Clipping) -> Result<ClippedSum<'_>> {
        let device = Device::default().autodiff();
        let model = LinearConfig::new(4, 3).init(&device);
        let loss = |model: &Linear, x: Tensor<2>| model.forward(x).powi_scalar(2).mean() * 100.0;
        let x = Tensor::<2>::ones([3, 4], &device);
        let mut sum = ClippedSum::new(&model, clipping, clipping.initial_state())?;
        sum.add(Traced::new(loss).per_example(&model, x)?)?;
        Ok(sum)
    }

    fn released(sum: ClippedSum<'_>) -> Result<GradientSum> {
        sum.release(|_, sum, scale| {
            let squares = (sum.clone() * scale).powi_scalar(2).sum();
            Ok((sum, Squares::OnDevice(Box::new(squares))))
        })
    }

    #[test]
    fn a_sum_longer_than_its_examples_can_make_it_is_not_released() -> Result<()> {
        let norm = |x: f64| ClippingNorm::new(x);
        let groups = vec![("weight".to_owned(), norm(0.5)?), ("bias".to_owned(), norm(2.0)?)];
        for clipping in [Clipping::flat(1.0)?, Clipping::per_group(groups)?] {
            assert!(released(summed(&clipping)?).is_ok(), "equal gradients attain the bound");
            let mut wrong = summed(&clipping)?;
            // As if the third record's part came from a place that was never clipped.
            wrong.examples = 2;
            let refused = released(wrong).err();
            assert!(matches!(refused, Some(Error::SumBeyondBound { group: 0, .. })), "{refused:?}");
        }
        Ok(())
    }
}
