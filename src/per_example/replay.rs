//! Runs a traced graph once for a whole batch.
//!
//! A value of the graph is *shared* if it depends on no example (weights and values computed from
//! weights alone). Otherwise it is *batched*. A batched value has one more axis than in the trace,
//! physically first: `[batch, ...traced shape]`. Every operation has one batching rule (in
//! [`rules`](super::rules)). No rule reads one example's row to write another's, so examples cannot
//! mix.

use std::collections::{HashMap, HashSet};

use burn_backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn_backend::{Backend, Shape};
use burn_ir::{OperationIr, TensorId, TensorIr};

use super::indices::{BadRecords, Checks};
use super::value::Value;
use crate::device::Capabilities;
use crate::error::{Error, Result, TraceError};

/// The state of one pass: the values computed so far, and the methods by which a rule reads and
/// writes them.
pub(crate) struct Replay<'g, B: Backend> {
    device: B::Device,
    on_flex: bool,
    batch: usize,
    batched: &'g HashSet<TensorId>,
    values: HashMap<TensorId, Value<B>>,
    /// Values whose last reader is the current operation, so it may reuse their buffers.
    dying: &'g [TensorId],
    /// The inputs of the current operation that it reads more than once.
    repeated: Vec<TensorId>,
    /// Number of hidden leading axes in the current operation: 1 if it is batched, else 0.
    lead: usize,
    checks: Checks<B>,
    /// Whether all values are those of one example, without a batch axis.
    of_one_example: bool,
}

/// The outcome of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The rule computed the operation for the whole batch.
    Batched,
    /// The rule did nothing: there is no batched form, so each example has to run by itself.
    EachByItself,
}

impl<'g, B: Backend> Replay<'g, B> {
    pub(crate) fn new(
        device: B::Device,
        batch: usize,
        batched: &'g HashSet<TensorId>,
        policy: BadRecords,
    ) -> Self {
        Self {
            checks: Checks::new(policy, &device),
            of_one_example: false,
            on_flex: Capabilities::of::<B>(&device).flex,
            device,
            batch,
            batched,
            values: HashMap::new(),
            dying: &[],
            repeated: Vec::new(),
            lead: 0,
        }
    }

    /// Begins `op`. `dying` are the values that nothing after it reads.
    pub(crate) fn begin(&mut self, op: &OperationIr, dying: &'g [TensorId]) {
        self.lead = usize::from(op.outputs().any(|out| self.is_batched(out)));
        self.dying = dying;
        let inputs: Vec<TensorId> = op.inputs().map(|input| input.id).collect();
        self.repeated = dying
            .iter()
            .copied()
            .filter(|id| inputs.iter().filter(|i| *i == id).count() > 1)
            .collect();
    }

    /// Frees the values that nothing reads any more.
    pub(crate) fn end(&mut self) {
        for id in self.dying {
            self.values.remove(id);
        }
    }

    /// Sets the value of an input (parameter, constant, batch tensor).
    pub(crate) fn insert(&mut self, id: TensorId, value: Value<B>) {
        self.values.insert(id, value);
    }

    /// Takes a result out; `None` if no operation computed it.
    pub(crate) fn remove(&mut self, id: TensorId) -> Option<Value<B>> {
        self.values.remove(&id)
    }

    /// All remaining values, and the results of the checks of indices.
    pub(crate) fn into_parts(self) -> (HashMap<TensorId, Value<B>>, Checks<B>) {
        (self.values, self.checks)
    }

    /// A copy of the handle of a result; `None` if no operation computed it.
    pub(crate) fn get(&self, id: TensorId) -> Option<Value<B>> {
        self.values.get(&id).cloned()
    }

    /// A stored value with the batch in front: `[batch, ...]`, or `[1, ...]` if it is shared.
    pub(crate) fn stored(&self, tensor: &TensorIr) -> Result<Value<B>> {
        let value = self.shared(tensor)?;
        if self.is_batched(tensor) {
            return Ok(value);
        }
        let dims: Vec<usize> = [1].into_iter().chain(tensor.shape.iter().copied()).collect();
        Ok(value.reshape(Shape::from(dims)))
    }

    /// A stored value, repeated for every example if it is shared: `[batch, ...]`.
    pub(crate) fn repeated(&self, tensor: &TensorIr) -> Result<Value<B>> {
        let value = self.stored(tensor)?;
        if self.is_batched(tensor) {
            return Ok(value);
        }
        let dims: Vec<usize> =
            [self.batch].into_iter().chain(tensor.shape.iter().copied()).collect();
        Ok(value.expand(Shape::from(dims)))
    }

    /// A stored value as it is.
    pub(crate) fn shared(&self, tensor: &TensorIr) -> Result<Value<B>> {
        self.get(tensor.id)
            .ok_or_else(|| Error::Trace(TraceError::Broken { tensor: tensor.id.value() }))
    }
}

/// The methods that rules use.
impl<B: Backend> Replay<'_, B> {
    pub(crate) fn device(&self) -> &B::Device {
        &self.device
    }

    pub(crate) fn is_on_flex(&self) -> bool {
        self.on_flex
    }

    pub(crate) fn batch(&self) -> usize {
        self.batch
    }

    pub(crate) fn checks(&self) -> &Checks<B> {
        &self.checks
    }

    pub(crate) fn checks_mut(&mut self) -> &mut Checks<B> {
        &mut self.checks
    }

    pub(crate) fn is_of_one_example(&self) -> bool {
        self.of_one_example
    }

    /// The number of hidden leading axes of the current operation's values. Add it to every axis
    /// index.
    pub(crate) fn lead(&self) -> usize {
        self.lead
    }

    pub(crate) fn is_batched(&self, tensor: &TensorIr) -> bool {
        self.batched.contains(&tensor.id)
    }

    /// The shape of `tensor` in the current operation: with the batch in front if the operation is
    /// batched.
    pub(crate) fn shape(&self, tensor: &TensorIr) -> Shape {
        self.lead_with(self.batch, tensor)
    }

    /// The value as it is stored: `[batch, ...]` if batched, the traced shape if shared.
    pub(crate) fn raw(&mut self, tensor: &TensorIr) -> Result<Value<B>> {
        let last_use = self.dying.contains(&tensor.id) && !self.repeated.contains(&tensor.id);
        let value = if last_use { self.values.remove(&tensor.id) } else { self.get(tensor.id) };
        value.ok_or_else(|| Error::Trace(TraceError::Broken { tensor: tensor.id.value() }))
    }

    /// The operand of a broadcasting rule: in a batched operation `[batch, ...]`, or `[1, ...]` if
    /// the value is shared.
    pub(crate) fn arg(&mut self, tensor: &TensorIr) -> Result<Value<B>> {
        let value = self.raw(tensor)?;
        if self.lead == 1 && !self.is_batched(tensor) {
            return Ok(value.reshape(self.lead_with(1, tensor)));
        }
        Ok(value)
    }

    /// The operand of a rule that does not broadcast: a shared value is repeated for every example.
    pub(crate) fn full(&mut self, tensor: &TensorIr) -> Result<Value<B>> {
        let shared = self.lead == 1 && !self.is_batched(tensor);
        let value = self.arg(tensor)?;
        Ok(if shared { value.expand(self.shape(tensor)) } else { value })
    }

    pub(crate) fn float(&mut self, tensor: &TensorIr) -> Result<FloatTensor<B>> {
        self.arg(tensor)?.float()
    }

    pub(crate) fn full_int(&mut self, tensor: &TensorIr) -> Result<IntTensor<B>> {
        self.full(tensor)?.int()
    }

    pub(crate) fn full_bool(&mut self, tensor: &TensorIr) -> Result<BoolTensor<B>> {
        self.full(tensor)?.bool()
    }

    /// Stores a result.
    pub(crate) fn put(&mut self, out: &TensorIr, value: Value<B>) -> Result<Applied> {
        self.values.insert(out.id, value);
        Ok(Applied::Batched)
    }

    /// A replay of one example of this replay's batch. Its values have no batch axis.
    pub(crate) fn of_one_example<'n>(&self, none: &'n HashSet<TensorId>) -> Replay<'n, B> {
        let mut one = Replay::new(self.device.clone(), 1, none, self.checks.policy());
        one.of_one_example = true;
        one
    }

    pub(crate) fn lead_with(&self, size: usize, tensor: &TensorIr) -> Shape {
        let mut dims = Vec::with_capacity(tensor.shape.num_dims() + 1);
        dims.extend(std::iter::repeat_n(size, self.lead));
        dims.extend_from_slice(tensor.shape.as_slice());
        Shape::from(dims)
    }
}
