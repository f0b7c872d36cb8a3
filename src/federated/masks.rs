//! Between a model with supermasks and a run's bits: what a run of [`Kind::Masks`](super::Kind::Masks) needs.
//!
//! A client begins from the shares of a request ([`of_request`]), trains, and sends the [`bits`] that it ends with.

use burn::module::Module;

use super::manifest::Manifest;
use super::message::Request;
use crate::error::{Error, FederatedError, Result};
use crate::mask::{MaskSet, MaskShares, SuperMaskConfig};

/// What a run trains of a model to which `config` has attached masks: one number for each score, on top of the weights under
/// them.
///
/// # Errors
/// As [`MaskSet::of`]; [`Error::Setting`] where there are more than 2^31 scores.
pub fn manifest<M: Module>(config: &SuperMaskConfig, model: &M) -> Result<Manifest> {
    let masks = MaskSet::of(config, model)?;
    let layer =
        |layer: &crate::mask::LayerMask| (layer.path().to_owned(), vec![layer.bits().len()]);
    Manifest::new(masks.layers().iter().map(layer).collect(), *masks.fingerprint())
}

/// The current mask as zeros and ones, in the manifest's order, flat.
///
/// # Errors
/// As [`MaskSet::of`].
pub fn bits<M: Module>(config: &SuperMaskConfig, model: &M) -> Result<Vec<f32>> {
    let masks = MaskSet::of(config, model)?;
    let bits = masks.layers().iter().flat_map(|layer| layer.bits());
    Ok(bits.map(|bit| f32::from(u8::from(*bit))).collect())
}

/// A run's numbers as shares of the model's scores: to begin from ([`SuperMaskConfig::with_shares`]), or to end with
/// ([`MaskShares::majority`]).
///
/// # Errors
/// [`FederatedError::WrongLength`] where there are more or fewer; as [`MaskSet::of`].
pub fn shares<M: Module>(
    config: &SuperMaskConfig,
    model: &M,
    numbers: &[f32],
) -> Result<MaskShares> {
    let masks = MaskSet::of(config, model)?;
    let (found, expected) = (numbers.len(), masks.scores());
    if found != expected {
        return Err(Error::Federated(FederatedError::WrongLength { found, expected }));
    }
    let mut numbers = numbers.iter().map(|share| f64::from(*share));
    Ok(MaskShares::from(&masks).map(|kept| numbers.next().unwrap_or(kept)))
}

/// `model` with the scores that keep each weight as often as a request says: what a client begins its training from. `config` has
/// attached stochastic masks to it.
///
/// # Errors
/// [`FederatedError::OfAnother`] where the run is about other masks, or the same on top of other weights; as
/// [`SuperMaskConfig::with_shares`].
pub fn of_request<M: Module>(config: &SuperMaskConfig, model: M, request: &Request) -> Result<M> {
    if manifest(config, &model)? != *request.terms.manifest() {
        return Err(Error::Federated(FederatedError::OfAnother { what: "request", of: "model" }));
    }
    let shares = shares(config, &model, &request.weights)?;
    config.with_shares(model, &shares)
}
