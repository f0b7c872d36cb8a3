//! The batch-of-one engine: ordinary autodiff, one example at a time.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Gradients, Tensor};
use burn_backend::Shape;
use burn_dispatch::{Dispatch, DispatchTensor};

use super::contraction::in_f32;
use super::gradients::{ParameterGradient, PerExample};
use super::indices::BadRecords;
use super::panics::caught;
use super::representation::Representation;
use super::value::Value;
use super::{Engine, empty, guard};
use crate::batch::{self, Batch};
use crate::error::{BatchError, Error, LossError, Result};
use crate::model::ModuleTensors;

/// Per-example gradients by burn's own autodiff, one example after another.
///
/// It is slow and holds `[batch, ...parameter]` for every parameter, but asks nothing of the model.
/// Use it if control flow depends on values, if [`Traced`](super::Traced) refuses custom backend
/// operations, and as a reference in tests.
pub struct Loop<F> {
    loss: F,
    bad_records: BadRecords,
    /// Whether a trace is used to find indices; false if the loss cannot be traced.
    guarded: bool,
}

impl<F> Loop<F> {
    /// An engine for the loss of a model on a batch of one.
    pub fn new(loss: F) -> Self {
        Self { loss, bad_records: BadRecords::default(), guarded: true }
    }

    /// Sets what happens to a record with an index that is out of range. The default refuses its
    /// batch.
    ///
    /// A trace of the loss shows which indices it reads. If the loss cannot be traced, only burn's
    /// own checks remain. On a CPU they panic, which is [`LossError::Panicked`], whatever is set
    /// here.
    #[must_use]
    pub fn with_bad_records(mut self, bad_records: BadRecords) -> Self {
        self.bad_records = bad_records;
        self
    }

    /// The examples to leave out.
    fn out_of_range<M, X>(
        &mut self,
        model: &M,
        tensors: &ModuleTensors,
        batch: &X,
        examples: usize,
    ) -> Result<Vec<usize>>
    where
        M: Module,
        X: Batch,
        F: Fn(&M, X) -> Tensor<1>,
    {
        if !self.guarded {
            return Ok(Vec::new());
        }
        let policy = self.bad_records;
        match caught(|| guard::check(model, tensors, batch, &self.loss, examples, policy)) {
            Err(
                error @ (Error::Batch(BatchError::IndexOutOfRange { .. }) | Error::Device { .. }),
            ) => Err(error),
            Ok(excluded) => Ok(excluded),
            // A panic on one batch says nothing about the next. A loss that cannot be traced stays
            // so.
            Err(Error::Loss(LossError::Panicked { .. })) => Ok(Vec::new()),
            Err(_) => {
                self.guarded = false;
                Ok(Vec::new())
            }
        }
    }
}

impl<M, X, F> Engine<M, X> for Loop<F>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    fn per_example(&mut self, model: &M, batch: X) -> Result<PerExample> {
        let tensors = ModuleTensors::of(model)?;
        let examples = batch::len(&batch)?;
        if examples == 0 {
            return Ok(empty(&tensors));
        }
        // A copy with its own running statistics. Changes of these by the loss must not reach the
        // user's model, since they would be released without noise.
        let model = &model.valid().train();
        let batch = batch::to_device(batch, &tensors.device.clone().autodiff());
        let excluded = self.out_of_range(model, &tensors, &batch, examples)?;
        let mut losses = Vec::with_capacity(examples);
        let mut rows: HashMap<ParamId, Vec<Option<DispatchTensor>>> = HashMap::new();
        for example in 0..examples {
            let (loss, mut found) = if excluded.contains(&example) {
                (Tensor::zeros([1], &tensors.device), HashMap::new())
            } else {
                let one = batch::on_autodiff(batch::slice(&batch, example..example + 1)?);
                caught(|| differentiated(model, (self.loss)(model, one)))?
            };
            losses.push(Value::from_dispatch(loss.into_dispatch()).cast(DType::F32)?);
            for tensor in tensors.trainable() {
                rows.entry(tensor.id).or_default().push(found.remove(&tensor.id));
            }
        }
        let losses = Value::cat(losses, 0)?.float()?;
        let mut gradients = Vec::new();
        for tensor in tensors.trainable() {
            let rows = rows.remove(&tensor.id).unwrap_or_default();
            let form = stack(rows, &tensor.shape, &tensors)?;
            let (id, path, shape) = (tensor.id, tensor.path.clone(), tensor.shape.clone());
            gradients.push(ParameterGradient { id, path, shape, form });
        }
        Ok(PerExample { examples, device: tensors.device.clone(), losses, gradients, excluded })
    }
}

/// The value of a loss, without autodiff, and its gradients.
fn differentiated<M: Module>(
    model: &M,
    loss: Tensor<1>,
) -> Result<(Tensor<1>, HashMap<ParamId, DispatchTensor>)> {
    if loss.dims() != [1] {
        return Err(Error::Loss(LossError::NotScalar { shape: loss.dims().to_vec() }));
    }
    if !loss.is_tracked() {
        return Err(Error::Loss(LossError::WithoutParameters));
    }
    let value = loss.clone().without_autodiff();
    let mut collector = Collector { gradients: loss.backward(), found: HashMap::new() };
    model.visit(&mut collector);
    Ok((value, collector.found))
}

/// Stacks each example's gradient to `[examples, ...shape]`.
fn stack(
    rows: Vec<Option<DispatchTensor>>,
    shape: &Shape,
    tensors: &ModuleTensors,
) -> Result<Representation> {
    if rows.iter().all(Option::is_none) {
        return Ok(Representation::Zero);
    }
    let one: Vec<usize> = [1].into_iter().chain(shape.iter().copied()).collect();
    let device = tensors.device.as_dispatch();
    let rows = rows.into_iter().map(|row| match row {
        Some(row) => {
            Value::<Dispatch>::Float(in_f32::<Dispatch>(row)).reshape(Shape::from(one.clone()))
        }
        None => Value::zeros(Shape::from(one.clone()), device, DType::F32),
    });
    Ok(Representation::Materialized(Value::cat(rows.collect(), 0)?.float()?))
}

struct Collector {
    gradients: Gradients,
    found: HashMap<ParamId, DispatchTensor>,
}

impl ModuleVisitor for Collector {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.base().grad(&self.gradients) {
            self.found.insert(param.id, gradient.into_dispatch());
        }
    }
}
