//! Per-example losses and gradients of one batch, and what can be asked of them.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Bool, DType, Device, Shape, Tensor, TensorData};
use burn_backend::TensorMetadata;
use burn_backend::ops::FloatTensorOps;
use burn_backend::tensor::FloatTensor;
use burn_dispatch::{Dispatch, DispatchTensor};

use super::contraction::SquaredNorms;
use super::form::{Form, Place};
use crate::error::{Error, Result};

/// Losses and gradients of every example of a batch.
///
/// These are exact and therefore **private**: releasing any of them, or printing one in a log,
/// voids a privacy guarantee. There is deliberately no `Debug`.
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
    pub(crate) form: Form,
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

    /// The examples whose loss and gradient count as zero because an index in them is out of range, ascending; always
    /// empty unless [`BadRecords::Exclude`](super::BadRecords::Exclude) was asked for.
    pub fn excluded(&self) -> &[usize] {
        &self.excluded
    }

    /// The trainable parameters, in the model's order: identity and dotted path.
    pub fn parameters(&self) -> impl Iterator<Item = (ParamId, &str)> {
        self.gradients.iter().map(|gradient| (gradient.id, gradient.path.as_str()))
    }

    /// The squared L2 norm of every example's gradient over all trainable parameters, `[examples]`.
    pub fn squared_norms(&self) -> Tensor<1> {
        let zeros = Tensor::zeros([self.examples], (&self.device, DType::F32));
        self.gradients.iter().fold(zeros, |total, gradient| {
            total + Tensor::<1>::from_dispatch(gradient.norms(self).value).cast(DType::F32)
        })
    }

    /// The squared L2 norm of every example's gradient of one parameter, `[examples]`.
    ///
    /// # Errors
    /// When no trainable parameter has this id.
    pub fn squared_norms_of(&self, id: ParamId) -> Result<Tensor<1>> {
        Ok(Tensor::from_dispatch(self.find(id)?.norms(self).value))
    }

    /// The gradient of one parameter for every example, `[examples, ...parameter]`: `D` is the
    /// parameter's rank plus one. It is materialised on request, which takes `examples` times the
    /// parameter's memory.
    ///
    /// # Errors
    /// When no trainable parameter has this id, or `D` is not its rank plus one.
    pub fn gradient<const D: usize>(&self, id: ParamId) -> Result<Tensor<D>> {
        let gradient = self.find(id)?;
        if gradient.shape.num_dims() + 1 != D {
            return Err(Error::WrongRank {
                path: gradient.path.clone(),
                expected: gradient.shape.num_dims() + 1,
                given: D,
            });
        }
        Ok(Tensor::from_dispatch(gradient.materialise(self)))
    }

    /// `Σ_i weights[i] · gradient_i`, for weights of shape `[examples]`.
    ///
    /// # Errors
    /// When there is not one weight an example.
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
        let sum = |g: &ParameterGradient| (g.id, g.weighted_sum(&weights, self, None));
        Ok(GradientSum { sums: self.gradients.iter().map(sum).collect() })
    }

    /// All entries of one parameter's per-example gradients.
    pub(crate) fn flat(&self, id: ParamId) -> Result<Tensor<1>> {
        let full = self.find(id)?.materialise(self);
        let count = full.shape().num_elements();
        Ok(Tensor::from_dispatch(Dispatch::float_reshape(full, Shape::from(vec![count]))))
    }

    /// Zeros in place of the gradients of the examples where `bad` (`[examples]`) is true.
    pub(crate) fn without(mut self, bad: Tensor<1, Bool>) -> Self {
        let bad = bad.into_dispatch();
        for gradient in &mut self.gradients {
            let form = std::mem::replace(&mut gradient.form, Form::Zero);
            gradient.form = form.without(&bad);
        }
        self
    }

    /// With zeros in place of the losses and gradients of the examples to exclude.
    pub(crate) fn without_excluded(mut self) -> Self {
        if self.excluded.is_empty() {
            return self;
        }
        let mut bad = vec![false; self.examples];
        self.excluded.iter().for_each(|example| bad[*example] = true);
        let bad = TensorData::new(bad, [self.examples]);
        let bad = Tensor::<1, Bool>::from_data(bad, &self.device);
        self.losses = self.losses().mask_fill(bad.clone(), 0.0).into_dispatch();
        self.without(bad)
    }

    fn find(&self, id: ParamId) -> Result<&ParameterGradient> {
        self.gradients
            .iter()
            .find(|gradient| gradient.id == id)
            .ok_or_else(|| Error::UnknownParameter { parameter: id.to_string() })
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

    fn materialise(&self, of: &PerExample) -> DispatchTensor {
        self.form.materialise(&self.place(of), of.examples)
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
    pub(crate) sums: HashMap<ParamId, DispatchTensor>,
}

impl GradientSum {
    /// The gradients as burn's optimizers take them, each in its parameter's type.
    pub fn into_gradients<M: Module>(self, model: &M) -> GradientsParams {
        let mut collector = ToGradients { sums: self.sums, gradients: GradientsParams::new() };
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
