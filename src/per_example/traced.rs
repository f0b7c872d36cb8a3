//! The traced engine: one trace for each shape of example, replayed over whole batches.

mod key;
mod plans;

use std::fmt;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_dispatch::DispatchTensor;

use self::key::key;
use self::plans::{Known, Plans};
use super::fingerprint::{Digest, Fingerprint};
use super::gradients::{ParameterGradient, PerExample};
use super::indices::BadRecords;
use super::panics::caught;
use super::plan::{Plan, Planned, Replayed};
use super::trace::trace;
use super::{Engine, NormMethod, empty};
use crate::batch::{self, Batch};
use crate::error::{Error, Result, TraceError};
use crate::model::ModuleTensors;

/// Per-example gradients of any burn model by tracing its loss for one example.
///
/// The closure is the one that trains the model without privacy: it takes the model and a batch and
/// returns one number. It is called with a batch of one, on tensors without values. The recorded
/// graph is then replayed over whole batches. The closure must therefore compute with tensors only:
/// one that reads values (`into_data`, `into_scalar`) is refused.
///
/// The loss is traced again for each shape of example, each [structure](crate::batch::Structure) of
/// a batch, and each change of the model that its `Debug` shows. Anything else that it reads (such
/// as a captured number) has to stay the same. [`Retracing`] describes how the engine detects a
/// change. A model that cannot be traced can still be trained with [`Loop`](super::Loop).
pub struct Traced<F> {
    loss: F,
    method: NormMethod,
    bad_records: BadRecords,
    retracing: Retracing,
    plans: Plans,
    /// Whether a batch that does not report its structure was already logged.
    told: bool,
}

/// When [`Traced`] traces again although it has a plan, to check whether the loss still computes
/// the same.
///
/// A trace takes about as long as one ordinary step of one example.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retracing {
    /// At the 2nd, 4th, 8th, ... batch of a kind, and from the 1024th on at every 1024th. A
    /// difference is [`TraceError::Changed`]. Steps between the change and the trace that finds it
    /// were computed without the change.
    #[default]
    Doubling,
    /// At every batch, and the batch is computed by the new trace: for a loss that may change from
    /// call to call. Plans are still kept, by what they compute.
    Always,
    /// Never: a change that the engine cannot see has no effect until [`Traced::clear`].
    Never,
}

/// From this call on, the loss is traced again at each multiple of it.
const LONGEST_PAUSE: u64 = 1024;

impl Retracing {
    fn is_due(self, call: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Doubling => call.is_power_of_two() || call.is_multiple_of(LONGEST_PAUSE),
        }
    }
}

impl<F> Traced<F> {
    /// An engine for the loss of `model` on a batch.
    pub fn new(loss: F) -> Self {
        let (method, bad_records) = (NormMethod::default(), BadRecords::default());
        let (retracing, plans) = (Retracing::default(), Plans::default());
        Self { loss, method, bad_records, retracing, plans, told: false }
    }

    /// Sets how gradients are held. The default chooses by size, parameter by parameter.
    pub fn with_norm_method(mut self, method: NormMethod) -> Self {
        self.method = method;
        self.plans.clear();
        self
    }

    /// Sets what happens to a record with an index that is out of range. The default refuses its
    /// batch.
    #[must_use]
    pub fn with_bad_records(mut self, bad_records: BadRecords) -> Self {
        self.bad_records = bad_records;
        self
    }

    /// Sets when the loss is traced again. The default is at growing intervals.
    pub fn with_retracing(mut self, retracing: Retracing) -> Self {
        self.retracing = retracing;
        self
    }

    /// Sets how much memory the plans may hold together, in bytes, by estimate; the default is 256
    /// MiB. The least recently used plans are dropped, but never the one in use. They are traced
    /// again when they are needed.
    pub fn with_plan_memory(mut self, bytes: usize) -> Self {
        self.plans.limit = bytes;
        self.plans.make_room(None);
        self
    }

    /// Drops all traces. Call it after a change that the engine cannot see: in values that the
    /// closure captured, or in the values of a constant tensor of the model.
    pub fn clear(&mut self) {
        self.plans.clear();
    }

    /// Number of traces that are kept.
    pub fn traces(&self) -> usize {
        self.plans.len()
    }

    /// What the engine will do for batches with the shapes of `batch`.
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
        let plan = self.plan(model, &tensors, batch, &batch::leaves(batch))?;
        let parameters = plan
            .gradients
            .iter()
            .zip(tensors.trainable())
            .map(|(planned, tensor)| ParameterPlan {
                path: tensor.path.clone(),
                shape: tensor.shape.as_slice().to_vec(),
                method: match planned {
                    Planned::Zero => PlannedMethod::Unused,
                    Planned::Materialized(_) | Planned::Contracted(_) => {
                        PlannedMethod::Materialized
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

    fn plan<M, X>(
        &mut self,
        model: &M,
        tensors: &ModuleTensors,
        batch: &X,
        leaves: &[DispatchTensor],
    ) -> Result<&Plan>
    where
        M: Module,
        X: Batch,
        F: Fn(&M, X) -> Tensor<1>,
    {
        let key = self.key(model, tensors, batch, leaves);
        let known = key.and_then(|key| self.plans.known(&key));
        let calls = known.map_or(0, |known| known.calls) + 1;
        let digest = match known {
            Some(known) if !self.retracing.is_due(calls) => known.plan,
            _ => self.trace(model, tensors, batch, known)?,
        };
        if let Some(key) = key {
            self.plans.note(key, Known { plan: digest, calls });
        }
        let lost = || Error::Trace(TraceError::Failed { reason: "its plan was lost".to_owned() });
        self.plans.get(&digest).map(|kept| &kept.plan).ok_or_else(lost)
    }

    /// The key of a plan; `None` where every batch has to be traced.
    fn key<M, X>(
        &mut self,
        model: &M,
        tensors: &ModuleTensors,
        batch: &X,
        leaves: &[DispatchTensor],
    ) -> Option<Digest>
    where
        M: Module,
        X: Batch,
    {
        if self.retracing == Retracing::Always {
            return None;
        }
        let structure = batch::structure(batch);
        if let Some(name) = structure.unknown_type()
            && !std::mem::replace(&mut self.told, true)
        {
            log::warn!(
                "`{name}` implements `Batch` by hand, so every batch is traced, which is slow: implement it \
                 with `impl_batch!`, which tells what it holds beside tensors"
            );
        }
        key(model, tensors, &structure, leaves)
    }

    /// Traces the loss, and makes a plan if there is none for this trace. If a plan is `known`, the
    /// trace must not differ from it.
    fn trace<M, X>(
        &mut self,
        model: &M,
        tensors: &ModuleTensors,
        batch: &X,
        known: Option<Known>,
    ) -> Result<Digest>
    where
        M: Module,
        X: Batch,
        F: Fn(&M, X) -> Tensor<1>,
    {
        let mut trace = trace(model, tensors, batch, &self.loss)?;
        let fingerprint = Fingerprint::of(&mut trace, &tensors.device);
        if let Some(known) = known
            && let Some(kept) = self.plans.get(&known.plan)
            && let Some(difference) = fingerprint.difference(&kept.fingerprint)
        {
            return Err(Error::Trace(TraceError::Changed { difference }));
        }
        let digest = fingerprint.digest;
        if !self.plans.contains(&digest) {
            let plan = Plan::new(trace, self.method, &tensors.device);
            self.plans.insert(fingerprint, plan);
        }
        Ok(digest)
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
        let leaves = batch::leaves(&batch);
        let plan = self.plan(model, &tensors, &batch, &leaves)?;
        let Replayed { losses, forms, excluded } =
            caught(|| plan.run(&tensors, leaves, examples, policy))?;
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

/// An optimizer's step enters every new parameter in burn's autodiff graph, and only a backward
/// pass removes those that no longer exist. This engine runs no backward pass of a model. Without
/// this one, every step would leave a kilobyte for each parameter behind.
fn forget_old_parameters(device: &Device) {
    Tensor::<1>::zeros([1], &device.clone().autodiff()).require_grad().backward();
}

/// What [`Traced`] does for one shape of example. `Display` prints it as a table.
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
    Materialized,
    /// As the factors of a contraction. The memory is `[batch, positions, rows + columns]`.
    Ghost {
        /// The number of positions that are summed over, in all uses together.
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
                PlannedMethod::Materialized => writeln!(f, "{path} {shape:?}: materialized")?,
                PlannedMethod::Ghost { positions, uses } => writeln!(
                    f,
                    "{path} {shape:?}: ghost norm over {positions} positions of {uses} use(s)"
                )?,
            }
        }
        Ok(())
    }
}
