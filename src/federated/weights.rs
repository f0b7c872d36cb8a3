//! Between a burn model and the flat weights of a run: what is trained travels, the rest is only compared.

use burn::module::{Module, Param};
use burn::tensor::{Bool, ExecutionError, Int, Tensor, TensorData};

use super::manifest::Manifest;
use super::message::Request;
use crate::error::{Error, FederatedError, Result};
use crate::model::{Change, ModuleTensors, Place, Visit, change, visit};

/// What a run trains of a model: everything that is not frozen, on top of everything that is. Freeze first, as with
/// [`ParamSelector`](crate::selection::ParamSelector).
///
/// # Errors
/// As an engine's, for a model that cannot be trained; [`Error::Device`].
pub fn manifest<M: Module>(model: &M) -> Result<Manifest> {
    let tensors = ModuleTensors::of(model)?;
    let trained = tensors.trainable().map(|tensor| (tensor.path.clone(), tensor.shape.to_vec()));
    let frozen = Contents::of(model, true)?.frozen;
    Manifest::new(trained.collect(), Manifest::digest(frozen.iter().map(Vec::as_slice)))
}

/// The trained weights, in the manifest's order, flat.
///
/// # Errors
/// As [`manifest`].
pub fn read<M: Module>(model: &M) -> Result<Vec<f32>> {
    ModuleTensors::of(model)?;
    Ok(Contents::of(model, false)?.trained)
}

/// `model` with the weights of a request: what a client begins its training from.
///
/// # Errors
/// [`FederatedError::OfAnother`] where the run trains other parameters, or the same on top of other frozen ones; as
/// [`manifest`].
pub fn of_request<M: Module>(model: M, request: &Request) -> Result<M> {
    if manifest(&model)? != *request.terms.manifest() {
        return Err(Error::Federated(FederatedError::OfAnother { what: "request", of: "model" }));
    }
    write(model, &request.weights)
}

/// The model with other trained weights.
///
/// # Errors
/// [`FederatedError::WrongLength`] where there are more or fewer; as [`manifest`].
pub fn write<M: Module>(model: M, weights: &[f32]) -> Result<M> {
    let tensors = ModuleTensors::of(&model)?;
    let expected = tensors.trainable().map(|tensor| tensor.shape.num_elements()).sum();
    if weights.len() != expected {
        let found = weights.len();
        return Err(Error::Federated(FederatedError::WrongLength { found, expected }));
    }
    Ok(change(model, &mut Write { rest: weights }))
}

/// Gives each trained parameter the next weights.
struct Write<'w> {
    rest: &'w [f32],
}

impl Change for Write<'_> {
    fn float<const D: usize>(&mut self, _: &Place, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !param.is_require_grad() {
            return param;
        }
        let count = param.base().shape().num_elements();
        let (these, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        param.map(|old| {
            let data = TensorData::new(these.to_vec(), old.dims());
            Tensor::<D>::from_data(data, (&old.device(), old.dtype())).require_grad()
        })
    }
}

/// What a model's tensors hold.
#[derive(Default)]
struct Contents {
    trained: Vec<f32>,
    /// Path and bytes of each, alternating, where they are asked for: there may be many.
    frozen: Vec<Vec<u8>>,
    with_frozen: bool,
    failure: Option<Error>,
}

impl Contents {
    fn of<M: Module>(model: &M, with_frozen: bool) -> Result<Self> {
        let mut contents = Self { with_frozen, ..Self::default() };
        visit(model, &mut contents);
        match contents.failure.take() {
            Some(error) => Err(error),
            None => Ok(contents),
        }
    }

    fn keep(
        &mut self,
        trained: bool,
        place: &Place,
        data: impl FnOnce() -> Result<TensorData, ExecutionError>,
    ) {
        if !trained && !self.with_frozen {
            return;
        }
        match data() {
            Ok(data) if trained => self.trained.extend(data.iter::<f32>()),
            Ok(data) => {
                self.frozen.push(place.path().into_bytes());
                self.frozen.push(data.as_bytes().to_vec());
            }
            Err(error) => self.failure = Some(Error::Device { reason: error.to_string() }),
        }
    }
}

impl Visit for Contents {
    fn float<const D: usize>(&mut self, place: &Place, param: &Param<Tensor<D>>) {
        self.keep(param.is_require_grad(), place, || param.base().try_into_data());
    }

    fn int<const D: usize>(&mut self, place: &Place, param: &Param<Tensor<D, Int>>) {
        self.keep(false, place, || param.base().try_into_data());
    }

    fn bool<const D: usize>(&mut self, place: &Place, param: &Param<Tensor<D, Bool>>) {
        self.keep(false, place, || param.base().try_into_data());
    }
}
