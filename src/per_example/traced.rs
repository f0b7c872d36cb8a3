//! The traced engine: one trace for each shape of example, replayed over whole batches.

use std::collections::HashMap;
use std::fmt;

use burn::module::{Module, ParamId};
use burn::tensor::{DType, Device, Tensor};

use super::gradients::{ParameterGradient, PerExample};
use super::indices::BadRecords;
use super::panics::caught;
use super::plan::{Plan, Planned, Replayed};
use super::tensors::ModuleTensors;
use super::trace::trace;
use super::{Engine, NormMethod, empty};
use crate::batch::{self, Batch};
use crate::error::Result;

/// Per-example gradients of any burn model by tracing its loss for one example.
///
/// The closure is the one that trains the model without privacy: it takes the model and a batch and
/// returns one number. It is called with a batch of one, on tensors without values, once for each
/// shape of example; the recorded graph is then replayed over whole batches. So it must compute with
/// tensors only: a closure that reads values (`into_data`, `into_scalar`) is refused, and anything
/// else it reads from outside (a `bool`, a number) is fixed at the first call. A model that cannot be
/// traced can still be trained with [`Loop`](super::Loop).
pub struct Traced<F> {
    loss: F,
    method: NormMethod,
    bad_records: BadRecords,
    plans: HashMap<Key, Plan>,
}

/// What a trace depends on.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    examples: Vec<(Vec<usize>, DType)>,
    module: Vec<(ParamId, Vec<usize>, DType, bool)>,
    flags: Vec<bool>,
    device: String,
}

impl<F> Traced<F> {
    /// An engine for the loss of `model` on a batch.
    pub fn new(loss: F) -> Self {
        let (method, bad_records) = (NormMethod::default(), BadRecords::default());
        Self { loss, method, bad_records, plans: HashMap::new() }
    }

    /// Sets how gradients are held; the default chooses by size, parameter by parameter.
    pub fn with_norm_method(mut self, method: NormMethod) -> Self {
        self.method = method;
        self.plans.clear();
        self
    }

    /// Sets what happens to a record with an index that is out of range; the default refuses its batch.
    #[must_use]
    pub fn with_bad_records(mut self, bad_records: BadRecords) -> Self {
        self.bad_records = bad_records;
        self
    }

    /// Forgets all traces. Needed only after a change that the engine cannot see: in a field of the
    /// model that is no parameter (a constant tensor, a dropout probability), or in what the closure
    /// captured.
    pub fn clear(&mut self) {
        self.plans.clear();
    }

    /// Number of shapes traced so far.
    pub fn traces(&self) -> usize {
        self.plans.len()
    }

    /// What the engine will do for batches shaped as `batch`.
    ///
    /// # Errors
    /// As [`Engine::per_example`].
    pub fn explain<M, X>(&mut self, model: &M, batch: &X) -> Result<Explanation>
    where
        M: Module,
        X: Batch,
        F: Fn(&M, X) -> Tensor<1>,
    {
        let tensors = ModuleTensors::of(model)?;
        let plan = self.plan(model, &tensors, batch)?;
        let parameters = plan
            .gradients
            .iter()
            .zip(tensors.trainable())
            .map(|(planned, tensor)| ParameterPlan {
                path: tensor.path.clone(),
                shape: tensor.shape.as_slice().to_vec(),
                method: match planned {
                    Planned::Zero => PlannedMethod::Unused,
                    Planned::Materialised(_) | Planned::Contracted(_) => {
                        PlannedMethod::Materialised
                    }
                    Planned::Ghost(factored) => PlannedMethod::Ghost {
                        positions: factored.uses.iter().map(|u| u.length).sum(),
                        uses: factored.uses.len(),
                    },
                },
            })
            .collect();
        Ok(Explanation { operations: plan.operations(), parameters })
    }

    fn plan<M, X>(&mut self, model: &M, tensors: &ModuleTensors, batch: &X) -> Result<&Plan>
    where
        M: Module,
        X: Batch,
        F: Fn(&M, X) -> Tensor<1>,
    {
        let key = Key {
            examples: batch::leaves(batch)
                .iter()
                .map(|leaf| {
                    use burn_backend::TensorMetadata;
                    (leaf.shape().as_slice()[1..].to_vec(), leaf.dtype())
                })
                .collect(),
            module: tensors
                .tensors
                .iter()
                .map(|t| (t.id, t.shape.as_slice().to_vec(), t.dtype, t.trainable))
                .collect(),
            flags: tensors.flags.clone(),
            device: format!("{:?}", tensors.device),
        };
        // `entry` would need the trace, which may fail, inside a closure.
        if !self.plans.contains_key(&key) {
            let trace = trace(model, tensors, batch, &self.loss)?;
            let plan = Plan::new(trace, self.method, &tensors.device);
            return Ok(self.plans.entry(key).or_insert(plan));
        }
        Ok(&self.plans[&key])
    }
}

impl<M, X, F> Engine<M, X> for Traced<F>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    fn per_example(&mut self, model: &M, batch: X) -> Result<PerExample> {
        let tensors = ModuleTensors::of(model)?;
        forget_old_parameters(&tensors.device);
        let examples = batch::len(&batch)?;
        if examples == 0 {
            return Ok(empty(&tensors));
        }
        let policy = self.bad_records;
        let plan = self.plan(model, &tensors, &batch)?;
        let Replayed { losses, forms, excluded } =
            caught(|| plan.run(&tensors, batch::leaves(&batch), examples, policy))?;
        let gradients = tensors
            .trainable()
            .zip(forms)
            .map(|(tensor, form)| ParameterGradient {
                id: tensor.id,
                path: tensor.path.clone(),
                shape: tensor.shape.clone(),
                form,
            })
            .collect();
        let device = tensors.device.clone();
        Ok(PerExample { examples, device, losses, gradients, excluded }.without_excluded())
    }
}

/// An optimizer's step enters every new parameter in burn's autodiff graph, and only a backward pass removes those that
/// no longer exist. This engine makes no such pass of a model, so without this one every step would leave a kilobyte
/// for each parameter behind.
fn forget_old_parameters(device: &Device) {
    Tensor::<1>::zeros([1], &device.clone().autodiff()).require_grad().backward();
}

/// What [`Traced`] does for one shape of example; printed as a table by `Display`.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Operations that one replay executes, forward and backward together.
    pub operations: usize,
    /// The trainable parameters, in the model's order.
    pub parameters: Vec<ParameterPlan>,
}

/// How one parameter's gradient is held.
#[derive(Clone, Debug)]
pub struct ParameterPlan {
    /// Dotted path in the model.
    pub path: String,
    /// Shape of the parameter.
    pub shape: Vec<usize>,
    /// How its per-example gradient is held.
    pub method: PlannedMethod,
}

/// How a per-example gradient is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlannedMethod {
    /// The loss does not depend on the parameter.
    Unused,
    /// As `[batch, ...parameter]`.
    Materialised,
    /// As the factors of a contraction: memory `[batch, positions, rows + columns]`.
    Ghost {
        /// Positions summed over, all uses together.
        positions: usize,
        /// Uses of the parameter in the loss.
        uses: usize,
    },
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} operations a replay", self.operations)?;
        for parameter in &self.parameters {
            let ParameterPlan { path, shape, method } = parameter;
            match method {
                PlannedMethod::Unused => writeln!(f, "{path} {shape:?}: unused by the loss")?,
                PlannedMethod::Materialised => writeln!(f, "{path} {shape:?}: materialised")?,
                PlannedMethod::Ghost { positions, uses } => writeln!(
                    f,
                    "{path} {shape:?}: ghost norm over {positions} positions of {uses} use(s)"
                )?,
            }
        }
        Ok(())
    }
}
