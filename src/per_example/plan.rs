//! The traced engine's plan for examples of one shape: the graph to replay, and for each trainable
//! parameter whether its gradient stays in factors or is materialized.

mod size;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use burn::tensor::Device;
use burn_backend::ops::FloatTensorOps;
use burn_backend::{Shape, Slice, TensorMetadata};
use burn_dispatch::{Dispatch, DispatchDevice, DispatchTensor};
use burn_ir::TensorId;
use rayon::prelude::*;

use super::NormMethod;
use super::contraction::{Contraction, in_f32};
use super::execute::execute;
use super::factor::{Factored, Factorizer};
use super::graph::{Graph, depends_on_example};
use super::indices::BadRecords;
use super::replay::Replay;
use super::representation::Representation;
use super::simplify::simplify;
use super::trace::Trace;
use super::value::Value;
use crate::device::Capabilities;
use crate::error::{Error, Result, TraceError};
use crate::model::ModuleTensors;

/// A plan for one shape of example.
pub(crate) struct Plan {
    /// The operations that depend on no example, computed once.
    shared: Graph,
    /// The operations that depend on an example, computed for every part of a batch.
    graph: Graph,
    module: Vec<TensorId>,
    batch: Vec<TensorId>,
    constants: Vec<(TensorId, Value<Dispatch>)>,
    loss: TensorId,
    pub(crate) gradients: Vec<Planned>,
}

/// How one trainable parameter's gradient is obtained.
pub(crate) enum Planned {
    /// The loss does not depend on the parameter.
    Zero,
    /// Computed by the replay as `[batch, ...parameter]`.
    Materialized(TensorId),
    /// Kept in factors.
    Ghost(Box<Factored>),
    /// Computed from the factors. This spares the replay a much larger value on the way: the
    /// gradient of the whole weight, where an adapter is trained.
    Contracted(Box<Factored>),
}

impl Plan {
    /// A plan for `trace`, whose replays run on `device`.
    pub(crate) fn new(mut trace: Trace, method: NormMethod, device: &Device) -> Self {
        let inputs: HashSet<TensorId> = trace
            .module
            .iter()
            .chain(&trace.batch)
            .chain(trace.constants.keys())
            .copied()
            .collect();
        simplify(&mut trace, &inputs);
        let examples: HashSet<TensorId> = trace.batch.iter().copied().collect();
        let batched = depends_on_example(&trace.operations, &examples);
        let gradients = planned(&trace, &batched, method);

        let mut wanted = HashSet::from([trace.loss]);
        for gradient in &gradients {
            match gradient {
                Planned::Zero => {}
                Planned::Materialized(id) => {
                    wanted.insert(*id);
                }
                Planned::Ghost(factored) | Planned::Contracted(factored) => {
                    wanted.extend(factored.sources());
                }
            }
        }
        let (shared, graph) = Graph::stages(trace.operations, &inputs, batched, &wanted);
        let needed = |id: &TensorId| graph.needed.contains(id) || shared.needed.contains(id);
        let constants = trace.constants.into_iter().filter(|(id, _)| needed(id));
        let constants = constants
            .map(|(id, data)| (id, Value::from_data(data, device.as_dispatch())))
            .collect();
        Self {
            shared,
            graph,
            module: trace.module,
            batch: trace.batch,
            constants,
            loss: trace.loss,
            gradients,
        }
    }

    /// The number of operations that a replay executes.
    pub(crate) fn operations(&self) -> usize {
        self.shared.operations.len() + self.graph.operations.len()
    }

    /// The losses and gradients of all `examples` of a batch. `batch` holds its tensors.
    pub(crate) fn run(
        &self,
        tensors: &ModuleTensors,
        batch: Vec<DispatchTensor>,
        examples: usize,
        policy: BadRecords,
    ) -> Result<Replayed> {
        let values = self.shared_values(tensors)?;
        let parts = parts(tensors, examples, self.graph.is_random());
        if parts.len() == 1 {
            return self.run_part(tensors, values, batch, examples, policy);
        }
        let part = |range: &Range<usize>| {
            let rows = |tensor: &DispatchTensor| {
                let mut ranges = vec![Slice::full(); tensor.shape().num_dims()];
                ranges[0] = Slice::from(range.clone());
                Value::from_dispatch(tensor.clone()).slice(&ranges).into_dispatch()
            };
            let batch = batch.iter().map(rows).collect();
            let replayed = self.run_part(tensors, values.clone(), batch, range.len(), policy);
            replayed.map_err(|error| error.of_example(range.start))
        };
        let done: Vec<Replayed> = parts.par_iter().map(part).collect::<Result<_>>()?;
        let (mut losses, mut forms, mut excluded) = (Vec::new(), Vec::new(), Vec::new());
        for (part, range) in done.into_iter().zip(&parts) {
            losses.push(part.losses);
            forms.push(part.forms);
            let in_part = part.excluded.into_iter().map(|example| example + range.start);
            excluded.extend(in_part);
        }
        let sizes = parts.iter().map(Range::len).collect();
        let losses = Dispatch::float_cat(losses, 0);
        Ok(Replayed { losses, forms: Representation::join(sizes, forms), excluded })
    }

    /// The values that depend on no example: parameters, constants, and everything computed from
    /// them.
    fn shared_values(&self, tensors: &ModuleTensors) -> Result<Values> {
        let device = tensors.device.as_dispatch().clone();
        let none = HashSet::new();
        let mut replay = Replay::<Dispatch>::new(device, 1, &none, BadRecords::Refuse);
        let needed = |id| self.graph.needed.contains(id) || self.shared.needed.contains(id);
        for (id, tensor) in self.module.iter().zip(&tensors.tensors).filter(|(id, _)| needed(id)) {
            replay.insert(*id, Value::from_dispatch(tensor.value.clone()));
        }
        for (id, value) in &self.constants {
            replay.insert(*id, value.clone());
        }
        for (op, dying) in self.shared.operations.iter().zip(&self.shared.dying) {
            execute(op, dying, &mut replay)?;
        }
        let (values, checks) = replay.into_parts();
        checks.finish()?;
        Ok(values)
    }

    /// Runs the plan on some examples of a batch.
    fn run_part(
        &self,
        tensors: &ModuleTensors,
        values: Values,
        batch: Vec<DispatchTensor>,
        examples: usize,
        policy: BadRecords,
    ) -> Result<Replayed> {
        let device = tensors.device.as_dispatch().clone();
        let batched = &self.graph.batched;
        let mut replay = Replay::<Dispatch>::new(device.clone(), examples, batched, policy);
        values.into_iter().for_each(|(id, value)| replay.insert(id, value));
        for (id, tensor) in self.batch.iter().zip(batch) {
            if self.graph.needed.contains(id) {
                replay.insert(*id, with_own_axis(tensor, &device));
            }
        }
        for (op, dying) in self.graph.operations.iter().zip(&self.graph.dying) {
            execute(op, dying, &mut replay)?;
        }

        let losses = self.per_example(self.loss, &[], &replay, examples)?;
        let mut forms = Vec::with_capacity(self.gradients.len());
        for (gradient, tensor) in self.gradients.iter().zip(tensors.trainable()) {
            forms.push(match gradient {
                Planned::Zero => Representation::Zero,
                Planned::Materialized(id) => {
                    let shape = tensor.shape.as_slice();
                    Representation::Materialized(self.per_example(*id, shape, &replay, examples)?)
                }
                Planned::Ghost(factored) => {
                    Representation::Factored(Contraction::new(factored, &mut replay)?)
                }
                Planned::Contracted(factored) => Representation::Materialized(
                    Contraction::new(factored, &mut replay)?.materialize(),
                ),
            });
        }
        let (_, checks) = replay.into_parts();
        Ok(Replayed { losses, forms, excluded: checks.finish()? })
    }

    /// A result as `[examples, ...shape]`, in at least single precision.
    fn per_example(
        &self,
        id: TensorId,
        shape: &[usize],
        replay: &Replay<'_, Dispatch>,
        examples: usize,
    ) -> Result<DispatchTensor> {
        let value = replay
            .get(id)
            .ok_or(Error::Trace(TraceError::Broken { tensor: id.value() }))?
            .float()?;
        let value = in_f32::<Dispatch>(value);
        let each: Vec<usize> = [1].into_iter().chain(shape.iter().copied()).collect();
        let full: Vec<usize> = [examples].into_iter().chain(shape.iter().copied()).collect();
        let value = Value::<Dispatch>::Float(value);
        // A gradient that depends on no example (a penalty on the weights) is every example's.
        let value = if self.graph.batched.contains(&id) {
            value.reshape(Shape::from(full))
        } else {
            value.reshape(Shape::from(each)).expand(Shape::from(full))
        };
        value.float()
    }
}

/// The way in which each gradient of `trace` is obtained.
fn planned(trace: &Trace, batched: &HashSet<TensorId>, method: NormMethod) -> Vec<Planned> {
    // If no gradient is going to be kept in factors, none is analyzed.
    let factorizer = (method != NormMethod::Materialized).then(|| {
        let gradients = trace.gradients.iter().flatten().copied();
        Factorizer::new(&trace.operations, batched, trace.loss, gradients)
    });
    let planned = |gradient: &Option<TensorId>| {
        let Some(id) = *gradient else { return Planned::Zero };
        match factorizer.as_ref().and_then(|factorizer| factorizer.factor(id)) {
            Some(factored) if method.keeps_factors(&factored) => Planned::Ghost(Box::new(factored)),
            Some(factored) if factored.contraction_is_smaller() => {
                Planned::Contracted(Box::new(factored))
            }
            _ => Planned::Materialized(id),
        }
    };
    trace.gradients.iter().map(planned).collect()
}

/// A tensor of a batch in the form of the replay: the traced example has its own axis 0, of length
/// one.
pub(super) fn with_own_axis(tensor: DispatchTensor, device: &DispatchDevice) -> Value<Dispatch> {
    let shape = tensor.shape();
    let mut dims = vec![shape[0], 1];
    dims.extend_from_slice(&shape.as_slice()[1..]);
    Value::from_dispatch(tensor).onto(device).reshape(Shape::from(dims))
}

/// The results of a plan for a batch.
pub(crate) struct Replayed {
    /// `[examples]`
    pub(crate) losses: DispatchTensor,
    /// The gradients, in the order of [`ModuleTensors::trainable`].
    pub(crate) forms: Vec<Representation>,
    /// The examples that are left out, ascending.
    pub(crate) excluded: Vec<usize>,
}

type Values = HashMap<TensorId, Value<Dispatch>>;

/// Fewer examples than this are not worth a thread of their own.
const SMALLEST_PART: usize = 2;

/// The ranges of examples that each thread replays. burn's Flex runs most operations on one thread,
/// so a batch is cut into parts. A device with a queue of its own gets the whole batch. So does a
/// graph with random draws, because these would depend on which thread comes first.
fn parts(tensors: &ModuleTensors, examples: usize, random: bool) -> Vec<Range<usize>> {
    let alone = random || !Capabilities::of_device(&tensors.device).computes_on_host;
    let threads = if alone { 1 } else { rayon::current_num_threads() };
    let count = threads.min(examples / SMALLEST_PART).max(1);
    (0..count).map(|part| examples * part / count..examples * (part + 1) / count).collect()
}
