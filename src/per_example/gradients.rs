//! Per-example losses and gradients of one batch, and what can be computed from them.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Bool, DType, Device, Shape, Tensor, TensorData};
use burn_backend::TensorMetadata;
use burn_backend::ops::FloatTensorOps;
use burn_backend::tensor::FloatTensor;
use burn_dispatch::{Dispatch, DispatchTensor};
use rayon::prelude::*;

use super::contraction::SquaredNorms;
use super::representation::{Place, Representation};
use crate::device::Capabilities;
use crate::error::{Error, GradientError, Result};
use crate::model::{ModuleTensor, ModuleTensors};

/// Losses and gradients of every example of a batch.
///
/// These are exact and therefore **private**: releasing any of them, or printing one in a log,
/// voids a privacy guarantee. This type therefore has no `Debug`.
pub struct PerExample {
    pub(crate) examples: usize,
    pub(crate) device: Device,
    pub(crate) losses: DispatchTensor,
    pub(crate) gradients: Vec<ParameterGradient>,
    /// Examples that count as zero, ascending.
    pub(crate) excluded: Vec<usize>,
}

/// One parameter's gradient for every example.
pub(crate) struct ParameterGradient {
    pub(crate) id: ParamId,
    pub(crate) path: String,
    pub(crate) shape: Shape,
    pub(crate) form: Representation,
}

impl PerExample {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.examples
    }

    /// Whether the batch was empty.
    pub fn is_empty(&self) -> bool {
        self.examples == 0
    }

    /// The loss of every example, `[examples]`.
    pub fn losses(&self) -> Tensor<1> {
        Tensor::from_dispatch(self.losses.clone())
    }

    /// The examples whose loss and gradient count as zero because an index in them is out of range,
    /// ascending. It is empty unless [`BadRecords::Exclude`](super::BadRecords::Exclude) is set.
    pub fn excluded(&self) -> &[usize] {
        &self.excluded
    }

    /// The trainable parameters, in the model's order: id and dotted path.
    pub fn parameters(&self) -> impl Iterator<Item = (ParamId, &str)> {
        self.gradients.iter().map(|gradient| (gradient.id, gradient.path.as_str()))
    }

    /// An upper bound of the L2 norm of every example's gradient over all trainable parameters: `norms[example]`.
    ///
    /// Rounding never makes one of these too low, so use them for clipping. They are read to the
    /// host.
    ///
    /// # Errors
    /// When the device fails.
    pub fn clipping_norms(&self) -> Result<Vec<f64>> {
        let one = vec![0; self.gradients.len()];
        Ok(self.clipping_norms_in(&one, 1)?.concat())
    }

    /// The squared L2 norm of every example's gradient over all trainable parameters, `[examples]`.
    ///
    /// It is rounded, so it may be too low. Use it for importance sampling or a plot, and
    /// [`clipping_norms`](Self::clipping_norms) for clipping.
    pub fn estimated_squared_norms(&self) -> Tensor<1> {
        let zeros = Tensor::zeros([self.examples], (&self.device, DType::F32));
        self.gradients.iter().fold(zeros, |total, gradient| {
            total + Tensor::<1>::from_dispatch(gradient.norms(self).value).cast(DType::F32)
        })
    }

    /// The squared L2 norm of every example's gradient of one parameter, `[examples]`. It is an
    /// estimate, as [`estimated_squared_norms`](Self::estimated_squared_norms) is.
    ///
    /// # Errors
    /// When no trainable parameter has this id.
    pub fn estimated_squared_norms_of(&self, id: ParamId) -> Result<Tensor<1>> {
        Ok(Tensor::from_dispatch(self.find(id)?.norms(self).value))
    }

    /// The gradient of one parameter for every example, `[examples, ...parameter]`. `D` is the
    /// parameter's rank plus one. The gradient is materialized on request, which takes `examples`
    /// times the parameter's memory.
    ///
    /// # Errors
    /// When no trainable parameter has this id, or `D` is not its rank plus one.
    pub fn gradient<const D: usize>(&self, id: ParamId) -> Result<Tensor<D>> {
        let gradient = self.find(id)?;
        if gradient.shape.num_dims() + 1 != D {
            return Err(Error::Gradient(GradientError::WrongRank {
                path: gradient.path.clone(),
                expected: gradient.shape.num_dims() + 1,
                given: D,
            }));
        }
        Ok(Tensor::from_dispatch(gradient.materialize(self)))
    }

    /// `Σ_i weights[i] · gradient_i`, for weights of shape `[examples]`.
    ///
    /// # Errors
    /// When there is not exactly one weight per example.
    pub fn weighted_sum(&self, weights: Tensor<1>) -> Result<GradientSum> {
        if weights.dims() != [self.examples] {
            return Err(Error::setting(
                "number of weights",
                weights.dims()[0],
                "the number of examples of the batch",
            ));
        }
        let weights =
            weights.without_autodiff().to_device(&self.device).cast(DType::F32).into_dispatch();
        let sum = |gradient: &ParameterGradient| {
            let sum = Some(gradient.weighted_sum(&weights, self, None));
            Summed { id: gradient.id, shape: gradient.shape.clone(), sum }
        };
        let sums = self.gradients.iter().map(sum).collect();
        Ok(GradientSum { device: self.device.clone(), sums })
    }

    /// An upper bound of the norm of every example's gradient in each of `count` groups of
    /// parameters: `norms[group][example]`. `groups` holds the group of each parameter.
    pub(crate) fn clipping_norms_in(
        &self,
        groups: &[usize],
        count: usize,
    ) -> Result<Vec<Vec<f64>>> {
        let norms = self.in_parallel(|gradient| gradient.norms(self));
        let mut squared: Vec<Option<Tensor<1>>> = vec![None; count];
        // A square below the normal range of f32 may have been rounded to zero.
        let mut lost = vec![0.0; count];
        for ((gradient, group), norms) in self.gradients.iter().zip(groups).zip(norms) {
            let norm = Tensor::<1>::from_dispatch(norms.value) + Tensor::from_dispatch(norms.slack);
            let total = &mut squared[*group];
            *total = Some(match total.take() {
                None => norm,
                Some(sum) => sum + norm,
            });
            lost[*group] += gradient.shape.num_elements() as f64 * f64::from(f32::MIN_POSITIVE);
        }
        let zeros = || Tensor::zeros([self.examples], (&self.device, DType::F32));
        let squared = squared.into_iter().map(|total| total.unwrap_or_else(zeros)).collect();
        // One transfer for all groups.
        let flat = read(Tensor::cat(squared, 0))?;
        let norms = |(group, lost): (&[f64], &f64)| -> Vec<f64> {
            group.iter().map(|square| (square + lost).sqrt()).collect()
        };
        Ok(flat.chunks(self.examples.max(1)).zip(&lost).map(norms).collect())
    }

    /// Adds `Σ_i weights[group][i] · gradient_i` to each parameter's sum, with the weights of the
    /// parameter's group.
    pub(crate) fn add_weighted(
        &self,
        groups: &[usize],
        weights: &[Vec<f32>],
        sum: &mut GradientSum,
    ) {
        let on_device = |weights: &Vec<f32>| {
            let data = TensorData::new(weights.clone(), [self.examples]);
            Tensor::<1>::from_data(data, (&self.device, DType::F32)).into_dispatch()
        };
        let weights: Vec<DispatchTensor> = weights.iter().map(on_device).collect();
        let add = |((summed, gradient), group): ((&mut Summed, &ParameterGradient), &usize)| {
            let onto = summed.sum.take();
            summed.sum = Some(gradient.weighted_sum(&weights[*group], self, onto));
        };
        if Capabilities::of_device(&self.device).computes_on_host {
            sum.sums.par_iter_mut().zip(&self.gradients).zip(groups).for_each(add);
        } else {
            sum.sums.iter_mut().zip(&self.gradients).zip(groups).for_each(add);
        }
    }

    /// Applies `of` to each parameter's gradient, on as many threads as help.
    fn in_parallel<T: Send>(&self, of: impl Fn(&ParameterGradient) -> T + Sync + Send) -> Vec<T> {
        match Capabilities::of_device(&self.device).computes_on_host {
            true => self.gradients.par_iter().map(of).collect(),
            false => self.gradients.iter().map(of).collect(),
        }
    }

    /// All entries of one parameter's per-example gradients.
    pub(crate) fn flat(&self, id: ParamId) -> Result<Tensor<1>> {
        let full = self.find(id)?.materialize(self);
        let count = full.shape().num_elements();
        Ok(Tensor::from_dispatch(Dispatch::float_reshape(full, Shape::from(vec![count]))))
    }

    /// Replaces the gradients of the examples where `bad` is true by zeros.
    pub(crate) fn without(mut self, bad: Vec<bool>) -> Self {
        if !bad.contains(&true) {
            return self;
        }
        let bad = self.mask(bad).into_dispatch();
        for gradient in &mut self.gradients {
            let form = std::mem::replace(&mut gradient.form, Representation::Zero);
            gradient.form = form.without(&bad);
        }
        self
    }

    /// Replaces the losses and gradients of the excluded examples by zeros.
    pub(crate) fn without_excluded(mut self) -> Self {
        if self.excluded.is_empty() {
            return self;
        }
        let mut bad = vec![false; self.examples];
        self.excluded.iter().for_each(|example| bad[*example] = true);
        self.losses = self.losses().mask_fill(self.mask(bad.clone()), 0.0).into_dispatch();
        self.without(bad)
    }

    fn mask(&self, of: Vec<bool>) -> Tensor<1, Bool> {
        Tensor::from_data(TensorData::new(of, [self.examples]), &self.device)
    }

    fn find(&self, id: ParamId) -> Result<&ParameterGradient> {
        self.gradients.iter().find(|gradient| gradient.id == id).ok_or_else(|| {
            Error::Gradient(GradientError::UnknownParameter { parameter: id.to_string() })
        })
    }
}

impl ParameterGradient {
    /// Squared norms, `[examples]`.
    pub(crate) fn norms(&self, of: &PerExample) -> SquaredNorms<Dispatch> {
        self.form.norms(&self.place(of), of.examples)
    }

    /// The weighted sum, added to another, in the parameter's shape.
    pub(crate) fn weighted_sum(
        &self,
        weights: &FloatTensor<Dispatch>,
        of: &PerExample,
        onto: Option<DispatchTensor>,
    ) -> DispatchTensor {
        self.form.weighted_sum(&self.place(of), weights, onto)
    }

    fn materialize(&self, of: &PerExample) -> DispatchTensor {
        self.form.materialize(&self.place(of), of.examples)
    }

    fn place<'p>(&'p self, of: &'p PerExample) -> Place<'p> {
        Place { shape: &self.shape, device: &of.device }
    }
}

/// A vector on the host.
pub(crate) fn read(tensor: Tensor<1>) -> Result<Vec<f64>> {
    let data = tensor.try_into_data().map_err(|e| Error::Device { reason: e.to_string() })?;
    Ok(data.iter::<f64>().collect())
}

/// A gradient summed over examples, for every trainable parameter.
pub struct GradientSum {
    device: Device,
    /// In the model's order.
    sums: Vec<Summed>,
}

/// One parameter's sum.
struct Summed {
    id: ParamId,
    shape: Shape,
    /// `None` stands for zero.
    sum: Option<DispatchTensor>,
}

impl GradientSum {
    /// A sum of zeros for every trainable parameter of a model.
    pub(crate) fn zero(tensors: &ModuleTensors) -> Self {
        let zero = |tensor: &ModuleTensor| Summed {
            id: tensor.id,
            shape: tensor.shape.clone(),
            sum: None,
        };
        let sums = tensors.trainable().map(zero).collect();
        Self { device: tensors.device.clone(), sums }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ParamId> {
        self.sums.iter().map(|summed| summed.id)
    }

    /// Applies `change` to each parameter's number and flattened sum.
    pub(crate) fn map(
        mut self,
        mut change: impl FnMut(usize, Tensor<1>) -> Result<Tensor<1>>,
    ) -> Result<Self> {
        for (index, Summed { shape, sum, .. }) in self.sums.iter_mut().enumerate() {
            let length = shape.num_elements();
            let flat = match sum.take() {
                Some(sum) => {
                    Tensor::from_dispatch(Dispatch::float_reshape(sum, Shape::from(vec![length])))
                }
                None => Tensor::zeros([length], (&self.device, DType::F32)),
            };
            let changed = change(index, flat)?.into_dispatch();
            *sum = Some(Dispatch::float_reshape(changed, shape.clone()));
        }
        Ok(self)
    }

    /// The gradients as burn's optimizers take them, each in its parameter's type.
    pub fn into_gradients<M: Module>(self, model: &M) -> GradientsParams {
        let sums = self.sums.into_iter();
        let sums = sums.filter_map(|summed| summed.sum.map(|sum| (summed.id, sum))).collect();
        let mut collector = ToGradients { sums, gradients: GradientsParams::new() };
        model.visit(&mut collector);
        collector.gradients
    }
}

struct ToGradients {
    sums: HashMap<ParamId, DispatchTensor>,
    gradients: GradientsParams,
}

impl ModuleVisitor for ToGradients {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(sum) = self.sums.remove(&param.id) {
            let gradient = Tensor::<D>::from_dispatch(sum).cast(param.base().dtype());
            self.gradients.register(param.id, gradient);
        }
    }
}
