//! Records the loss of one example and its gradient as a graph of operations.
//!
//! The user's closure runs once, on burn's capture backend under burn's own autodiff, with tensors
//! that have shapes but no values. Autodiff records the backward pass into the same graph. Detached
//! tensors, custom backward operations and straight-through estimators are therefore correct by
//! construction. No weight is copied and nothing is computed.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::backend::{Autodiff, Capture};
use burn::module::{Flag, Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Bool, DType, Device, DeviceConfig, DeviceSettings, Int, Tensor, TensorData};
use burn_backend::set_default_dtypes;
use burn_backend::tensor::FloatTensor;
use burn_dispatch::DispatchDevice;
use burn_ir::{OperationIr, TensorId};

pub(crate) use super::refusal::panic_to_error;
use crate::batch::{Batch, BatchMapper};
use crate::error::{Error, LossError, Result, TraceError};
use crate::model::ModuleTensors;

/// The forward and backward pass of one example.
pub(crate) struct Trace {
    pub(crate) operations: Vec<OperationIr>,
    /// Tensors of the module that are not parameters, and literals of the closure.
    pub(crate) constants: BTreeMap<TensorId, TensorData>,
    /// The stand-in of each module tensor, in the order of [`ModuleTensors`].
    pub(crate) module: Vec<TensorId>,
    /// The stand-in of each batch tensor, in mapping order.
    pub(crate) batch: Vec<TensorId>,
    pub(crate) loss: TensorId,
    /// The gradient of each trainable tensor, in order; `None` where the loss does not depend on it.
    pub(crate) gradients: Vec<Option<TensorId>>,
}

/// Traces `loss` for a batch of one with the shapes of `batch`.
pub(crate) fn trace<M, X, F>(
    model: &M,
    tensors: &ModuleTensors,
    batch: &X,
    loss: &F,
) -> Result<Trace>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    if let Some(tensor) = tensors.tensors.iter().find(|t| matches!(t.dtype, DType::QFloat(_))) {
        let operation = format!("the quantized parameter {}", tensor.path);
        return Err(Error::Trace(TraceError::UnsupportedOperation { operation }));
    }
    let capture = capture_device(tensors.device.settings())?;
    let recorded = catch_unwind(AssertUnwindSafe(|| {
        let mut outcome = None;
        let captured = capture.capture_scope(|scope| {
            outcome = Some(record(model, tensors, batch, loss, &capture));
            scope.complete([], [])
        });
        (captured, outcome)
    }));
    let (captured, outcome) = recorded.map_err(panic_to_error)?;
    let ids = outcome.ok_or_else(|| failed("the trace did not run"))??;
    let captured = captured.map_err(|error| failed(&error.to_string()))?;
    Ok(Trace { operations: captured.graph.operations, constants: captured.values, ..ids })
}

/// The part that runs inside the capture scope. The graph itself is read from the scope afterwards.
fn record<M, X, F>(
    model: &M,
    tensors: &ModuleTensors,
    batch: &X,
    loss: &F,
    capture: &Device,
) -> Result<Trace>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    let autodiff = capture.clone().autodiff();

    // `valid` copies running statistics, which clones of a module would share with the user's
    // model. Zeros replace the weights before the move, so that no weight is copied. Constants keep
    // their values.
    let model = model.valid().map(&mut Zeros { device: capture.clone() }).to_device(capture);
    let visited: Vec<_> = tensors.tensors.iter().map(|t| (t.id, t.trainable)).collect();
    let mut stand_in = StandIn {
        visited: visited.into_iter(),
        flags: tensors.flags.clone().into_iter(),
        device: autodiff.clone(),
        ids: Vec::new(),
        leaves: HashMap::new(),
    };
    let model = model.map(&mut stand_in);
    let mut examples = OneExample { device: autodiff, ids: Vec::new() };
    let example = batch.clone().map(&mut examples);

    let loss = loss(&model, example);
    let shape = loss.shape();
    if shape.num_elements() != 1 {
        return Err(Error::Loss(LossError::NotScalar { shape: shape.as_slice().to_vec() }));
    }
    let loss = loss
        .try_into_primitive::<Autodiff<Capture>>()
        .map_err(|_| Error::Loss(LossError::WithoutParameters))?;
    if !loss.is_tracked() {
        return Err(Error::Loss(LossError::WithoutParameters));
    }
    let loss_id = loss.primitive().id();
    let gradients = loss.backward();

    // A tensor without an id would shift all tensors after it. No trace is better than a wrong one.
    let lost = || failed("a tensor of the model or the batch left the capture device");
    let module = stand_in.ids.into_iter().collect::<Option<Vec<_>>>().ok_or_else(lost)?;
    if module.len() != tensors.tensors.len() {
        return Err(lost());
    }
    let batch = examples.ids.into_iter().collect::<Option<Vec<_>>>().ok_or_else(lost)?;
    let gradients = tensors
        .trainable()
        .map(|tensor| {
            let leaf = stand_in.leaves.get(&tensor.id)?;
            leaf.grad(&gradients).map(|gradient| gradient.id())
        })
        .collect();
    Ok(Trace {
        operations: Vec::new(),
        constants: BTreeMap::new(),
        module,
        batch,
        loss: loss_id,
        gradients,
    })
}

thread_local! {
    /// One capture device per thread and set of default types: burn has 65,536 of them per process.
    static CAPTURE: RefCell<Vec<(DeviceSettings, Device)>> = const { RefCell::new(Vec::new()) };
}

/// A capture device whose default types are those of the device that will replay the trace.
fn capture_device(settings: DeviceSettings) -> Result<Device> {
    let types = |s: &DeviceSettings| (s.float_dtype, s.int_dtype, s.bool_dtype);
    CAPTURE.with_borrow_mut(|devices| {
        if let Some((_, device)) = devices.iter().find(|(s, _)| types(s) == types(&settings)) {
            return Ok(device.clone());
        }
        let device = Device::capture();
        let (float, int, bool) = types(&settings);
        let mut configured = Ok(());
        // Even the device's types can only be read inside a scope.
        let scoped = device.capture_scope(|scope| {
            let config = DeviceConfig::new(Some(float), Some(int), Some(bool));
            configured = device.clone().configure(config);
            // burn also keeps settings by device type, and autodiff reads those of the inner
            // backend.
            if let (Ok(()), DispatchDevice::Capture(inner)) = (&configured, device.as_dispatch()) {
                configured = set_default_dtypes::<Capture>(inner, float, int, bool);
            }
            scope.complete([], [])
        });
        scoped.map_err(|error| failed(&error.to_string()))?;
        configured.map_err(|error| failed(&error.to_string()))?;
        devices.push((settings, device.clone()));
        Ok(device)
    })
}

/// Replaces every parameter by zeros on the capture device.
struct Zeros {
    device: Device,
}

impl ModuleMapper for Zeros {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|t| Tensor::zeros(t.shape(), (&self.device, t.dtype())))
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        param.map(|t| Tensor::zeros(t.shape(), (&self.device, t.dtype())))
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        param.map(|t| Tensor::zeros(t.shape(), (&self.device, t.dtype())))
    }
}

/// Makes trainable parameters leaves of the autodiff graph, and notes every tensor's id.
struct StandIn {
    /// The parameters that [`ModuleTensors`] visited, and whether each is trained.
    visited: std::vec::IntoIter<(ParamId, bool)>,
    flags: std::vec::IntoIter<bool>,
    device: Device,
    /// In visiting order; `None` if the model is not the one that was visited.
    ids: Vec<Option<TensorId>>,
    leaves: HashMap<ParamId, FloatTensor<Autodiff<Capture>>>,
}

impl StandIn {
    /// Whether the next parameter is trained.
    fn next_is_trained(&mut self, id: ParamId) -> Option<bool> {
        self.visited.next().filter(|(visited, _)| *visited == id).map(|(_, trained)| trained)
    }
}

/// A tensor that is not trained keeps its zeros. Only its id is noted.
macro_rules! note {
    ($this:ident, $param:ident) => {{
        let (id, zeros, mapper) = $param.consume();
        let expected = $this.next_is_trained(id).is_some();
        let primitive = zeros.clone().try_into_primitive::<Capture>().ok();
        $this.ids.push(primitive.filter(|_| expected).map(|primitive| primitive.id()));
        Param::from_mapped_value(id, zeros, mapper)
    }};
}

impl ModuleMapper for StandIn {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, zeros, mapper) = param.consume();
        let trained = self.next_is_trained(id);
        if trained != Some(true) {
            let primitive = zeros.clone().try_into_primitive::<Capture>().ok();
            self.ids.push(trained.and(primitive).map(|primitive| primitive.id()));
            return Param::from_mapped_value(id, zeros, mapper);
        }
        let leaf = Tensor::zeros(zeros.shape(), (&self.device, zeros.dtype())).require_grad();
        let primitive = leaf.clone().try_into_primitive::<Autodiff<Capture>>().ok();
        self.ids.push(primitive.as_ref().map(|primitive| primitive.primitive().id()));
        self.leaves.extend(primitive.map(|primitive| (id, primitive)));
        Param::from_mapped_value(id, leaf, mapper)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        note!(self, param)
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        note!(self, param)
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        match self.flags.next() {
            Some(enabled) => flag.with_value(enabled),
            None => flag,
        }
    }
}

/// Replaces every tensor of a batch by that of one example, on the autodiff capture device.
struct OneExample {
    device: Device,
    ids: Vec<Option<TensorId>>,
}

impl BatchMapper for OneExample {
    fn map_float<const D: usize>(&mut self, tensor: Tensor<D>) -> Tensor<D> {
        let one: Tensor<D> =
            Tensor::zeros(one_example(tensor.dims()), (&self.device, tensor.dtype()));
        let primitive = one.clone().try_into_primitive::<Autodiff<Capture>>();
        self.ids.push(primitive.ok().map(|primitive| primitive.primitive().id()));
        one
    }

    fn map_int<const D: usize>(&mut self, tensor: Tensor<D, Int>) -> Tensor<D, Int> {
        let one: Tensor<D, Int> =
            Tensor::zeros(one_example(tensor.dims()), (&self.device, tensor.dtype()));
        let primitive = one.clone().try_into_primitive::<Autodiff<Capture>>();
        self.ids.push(primitive.ok().map(|primitive| primitive.id()));
        one
    }

    fn map_bool<const D: usize>(&mut self, tensor: Tensor<D, Bool>) -> Tensor<D, Bool> {
        let one: Tensor<D, Bool> =
            Tensor::zeros(one_example(tensor.dims()), (&self.device, tensor.dtype()));
        let primitive = one.clone().try_into_primitive::<Autodiff<Capture>>();
        self.ids.push(primitive.ok().map(|primitive| primitive.id()));
        one
    }
}

fn one_example<const D: usize>(mut dims: [usize; D]) -> [usize; D] {
    if let Some(first) = dims.first_mut() {
        *first = 1;
    }
    dims
}

fn failed(reason: &str) -> Error {
    Error::Trace(TraceError::Failed { reason: reason.to_owned() })
}
