//! The tensors of a module in visiting order. A trace refers to them, and a replay takes them as
//! inputs.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use burn::module::{Flag, Module, Param, ParamId};
use burn::tensor::{Bool, DType, Device, Int, Shape, Tensor};
use burn_dispatch::DispatchTensor;

use super::walk::{Place, Visit, visit};
use crate::error::{Error, ModelError, Result};

/// One tensor of a module: a parameter, trainable or not, or a running statistic.
pub(crate) struct ModuleTensor {
    pub(crate) id: ParamId,
    /// Dotted path of field names, as burn's `ParamGroup` has it.
    pub(crate) path: String,
    pub(crate) shape: Shape,
    pub(crate) dtype: DType,
    pub(crate) trainable: bool,
    /// The value, without autodiff.
    pub(crate) value: DispatchTensor,
}

/// All tensors of a module, and everything else that decides how it computes.
pub(crate) struct ModuleTensors {
    /// In visiting order.
    pub(crate) tensors: Vec<ModuleTensor>,
    /// The module's flags (such as batch norm's training mode), in visiting order.
    pub(crate) flags: Vec<bool>,
    /// The device of the parameters, without autodiff.
    pub(crate) device: Device,
}

impl ModuleTensors {
    /// # Errors
    /// Batch statistics in training mode, a trainable parameter whose id occurs in another field as
    /// well, no trainable parameter, parameters on several devices.
    pub(crate) fn of<M: Module>(module: &M) -> Result<Self> {
        let mut collector = Collector::default();
        visit(module, &mut collector);
        if let Some((module, kind)) = collector.batch_statistics {
            return Err(Error::Model(ModelError::BatchStatistics { module, kind }));
        }
        let frozen = || collector.frozen_with_its_clone(module);
        if let Some((first, second)) = collector.shared.clone().or_else(frozen) {
            return Err(Error::Model(ModelError::SharedParameter { first, second }));
        }
        let mut devices = collector.devices.into_iter();
        let device = devices.next().ok_or(Error::Model(ModelError::NoTrainableParameter))?;
        if devices.next().is_some() {
            return Err(Error::Model(ModelError::SeveralDevices));
        }
        if !collector.tensors.iter().any(|tensor| tensor.trainable) {
            return Err(Error::Model(ModelError::NoTrainableParameter));
        }
        Ok(Self { tensors: collector.tensors, flags: collector.flags, device })
    }

    pub(crate) fn trainable(&self) -> impl Iterator<Item = &ModuleTensor> {
        self.tensors.iter().filter(|tensor| tensor.trainable)
    }
}

#[derive(Default)]
struct Collector {
    /// The first field of each id, and whether it is trained.
    fields: HashMap<ParamId, (String, bool)>,
    /// Two fields with one id; at least one of them is trained.
    shared: Option<(String, String)>,
    /// Two fields with one id; both are frozen.
    frozen_twice: Vec<(ParamId, String, String)>,
    autodiff: bool,
    tensors: Vec<ModuleTensor>,
    flags: Vec<bool>,
    devices: Vec<Device>,
    batch_statistics: Option<(String, String)>,
}

impl Collector {
    fn push(&mut self, tensor: ModuleTensor, device: Device) {
        self.note(tensor.path.clone(), tensor.id, tensor.trainable);
        self.autodiff |= device.is_autodiff();
        let device = device.without_autodiff();
        if !self.devices.contains(&device) {
            self.devices.push(device);
        }
        self.tensors.push(tensor);
    }

    /// Notes that `id` occurs in this field. burn's optimizers update the first field that has a
    /// trained parameter's id, even if that field is frozen. A trained id must therefore occur in
    /// no other field, whatever that field holds.
    fn note(&mut self, path: String, id: ParamId, trained: bool) {
        match self.fields.entry(id) {
            Entry::Vacant(place) => {
                place.insert((path, trained));
            }
            Entry::Occupied(first) => {
                let (first, first_trained) = first.get();
                match trained || *first_trained {
                    true => _ = self.shared.get_or_insert((first.clone(), path)),
                    false => self.frozen_twice.push((id, first.clone(), path)),
                }
            }
        }
    }

    /// Two frozen fields with one id, if one of them is meant to be trained. Clones share burn's
    /// lazy initialization. If a clone is frozen before it has run, the other's tensor is frozen
    /// too, but not its setting. Only `train` shows that.
    fn frozen_with_its_clone<M: Module>(&self, module: &M) -> Option<(String, String)> {
        if self.frozen_twice.is_empty() || !self.autodiff {
            return None;
        }
        let mut meant = Trainable::default();
        visit(&module.valid().train(), &mut meant);
        let (_, first, second) =
            self.frozen_twice.iter().find(|(id, ..)| meant.ids.contains(id))?;
        Some((first.clone(), second.clone()))
    }
}

/// The ids of the trained parameters.
#[derive(Default)]
struct Trainable {
    ids: HashSet<ParamId>,
}

impl Visit for Trainable {
    fn float<const D: usize>(&mut self, _: &Place, param: &Param<Tensor<D>>) {
        if param.is_require_grad() {
            self.ids.insert(param.id);
        }
    }
}

/// Collects what there is to know about a tensor of any kind.
macro_rules! module_tensor {
    ($place:expr, $param:expr, $trainable:expr) => {{
        let (path, tensor) = ($place.path(), $param.base());
        let (shape, dtype) = (tensor.shape(), tensor.dtype());
        let value = tensor.without_autodiff().into_dispatch();
        ModuleTensor { id: $param.id, path, shape, dtype, trainable: $trainable, value }
    }};
}

impl Visit for Collector {
    fn float<const D: usize>(&mut self, place: &Place, param: &Param<Tensor<D>>) {
        let tensor = module_tensor!(place, param, param.is_require_grad());
        self.push(tensor, param.base().device());
    }

    fn int<const D: usize>(&mut self, place: &Place, param: &Param<Tensor<D, Int>>) {
        self.push(module_tensor!(place, param, false), param.base().device());
    }

    fn bool<const D: usize>(&mut self, place: &Place, param: &Param<Tensor<D, Bool>>) {
        self.push(module_tensor!(place, param, false), param.base().device());
    }

    fn flag(&mut self, place: &Place, flag: &Param<Flag>) {
        self.note(place.path(), flag.id, false);
        let enabled = flag.is_enabled();
        self.flags.push(enabled);
        // The innermost container is the module that owns the flag. The last name is that of the
        // flag.
        if enabled
            && let Some(container) = place.containers.last()
            && let Some(kind) = container.strip_prefix("Struct:")
            && kind.contains("BatchNorm")
            && let Some((_flag, module)) = place.names.split_last()
        {
            let module = if module.is_empty() { "the model".into() } else { module.join(".") };
            self.batch_statistics.get_or_insert((module, kind.to_owned()));
        }
    }
}
