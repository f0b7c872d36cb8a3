//! Masks separate from the model: what a client sends.

use std::collections::BTreeMap;
use std::fmt;

use burn::module::{Module, Param, Reparameterization};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::coding;
use super::config::{SuperMask, SuperMaskConfig};
use super::structure::Structure;
use crate::error::{Error, MaskError, Result};
use crate::model::{Change, Place, Visit, change, visit};
use crate::sealed_file::{self, Broken};

const MAGIC: &[u8; 8] = b"burn-dpm";
const VERSION: u32 = 1;

/// The binary masks of a model's weights, and a fingerprint that identifies the model.
///
/// ```
/// # use burn::nn::LinearConfig;
/// # use burn::tensor::Device;
/// use burn_dp::mask::{MaskKind, MaskSet, SuperMaskConfig};
///
/// # fn main() -> burn_dp::Result<()> {
/// # let device = Device::default().autodiff();
/// # let model = LinearConfig::new(8, 4).init(&device);
/// let config = SuperMaskConfig::new(MaskKind::Threshold { threshold: 0.0 })?;
/// let masked = config.apply(model.clone())?; // and train it
/// let bytes = MaskSet::of(&config, &masked)?.to_bytes()?;
/// // Somebody else, with the same pretrained model:
/// let plain = MaskSet::from_bytes(&bytes, &model)?.apply(model)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MaskSet {
    pub(super) fingerprint: [u8; 32],
    pub(super) layers: Vec<LayerMask>,
}

/// The mask of one weight.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerMask {
    pub(super) path: String,
    pub(super) shape: Vec<usize>,
    pub(super) structure: Structure,
    pub(super) bits: Vec<bool>,
}

impl LayerMask {
    /// The weight's path in the model.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The weight's shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The part of the weight that a bit stands for.
    pub fn structure(&self) -> Structure {
        self.structure
    }

    /// One bit for each score: whether its part of the weight is kept.
    pub fn bits(&self) -> &[bool] {
        &self.bits
    }

    fn kept(&self) -> usize {
        self.bits.iter().filter(|bit| **bit).count()
    }
}

impl MaskSet {
    /// The current masks of `model`, to which `config` attached them.
    ///
    /// # Errors
    /// [`MaskError::NotBinary`] for a soft mask, [`MaskError::Unreadable`] where `model` has none.
    pub fn of<M: Module>(config: &SuperMaskConfig, model: &M) -> Result<Self> {
        if !config.kind().is_binary() {
            return Err(Error::Mask(MaskError::NotBinary));
        }
        let weights = Weights::of(model)?;
        let mut layers = Vec::new();
        for (path, weight) in &weights.all {
            let Some(scores) = &weight.scores else { continue };
            let structure = config.structure_of(path);
            let count = structure.check(path, &weight.shape)?;
            let another = || Error::Mask(MaskError::OfAnotherConfiguration { path: path.clone() });
            let expected = config.kind().initial_state(count).map(|(length, _)| length);
            if weight.state.as_ref().map(|state| state.dims()[0]) != expected {
                return Err(another());
            }
            let mask = config.kind().mask(scores.clone(), weight.state.clone());
            let bits: Vec<bool> = read(mask)?.into_iter().map(|value| value > 0.5).collect();
            if bits.len() != count {
                return Err(another());
            }
            let (path, shape) = (path.clone(), weight.shape.clone());
            layers.push(LayerMask { path, shape, structure, bits });
        }
        if layers.is_empty() {
            return Err(Error::Mask(MaskError::NotAttached { of: "" }));
        }
        let fingerprint = weights.fingerprint(layers.iter().map(|layer| layer.path.as_str()))?;
        Ok(Self { fingerprint, layers })
    }

    /// Of the model that is under the masks.
    pub(crate) const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The masks, in the order of the weights' paths.
    pub fn layers(&self) -> &[LayerMask] {
        &self.layers
    }

    /// The number of scores of all masks.
    pub fn scores(&self) -> usize {
        self.layers.iter().map(|layer| layer.bits.len()).sum()
    }

    /// The number of weights that the masks keep.
    pub fn kept_weights(&self) -> usize {
        let kept = |layer: &LayerMask| {
            let weights: usize = layer.shape.iter().product();
            layer.kept() * weights.checked_div(layer.bits.len()).unwrap_or(0)
        };
        self.layers.iter().map(kept).sum()
    }

    /// The plain model, its weights multiplied by the masks. `model` must be the pretrained one.
    ///
    /// # Errors
    /// [`MaskError::OfAnotherModel`].
    pub fn apply<M: Module>(&self, model: M) -> Result<M> {
        self.check(&Weights::of(&model)?)?;
        let masks = self.layers.iter().map(|layer| (layer.path.as_str(), layer)).collect();
        Ok(change(model, &mut Multiply { masks }))
    }

    /// The masks as a versioned file with a checksum. Each mask is packed bits or a range code,
    /// whichever is smaller.
    ///
    /// # Errors
    /// [`MaskError::Unreadable`] if a mask cannot be encoded.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let layer = |layer: &LayerMask| -> Result<Stored> {
            let (packed, coded) = (coding::pack(&layer.bits), coding::encode(&layer.bits)?);
            let ones = (coded.len() < packed.len()).then_some(layer.kept() as u64);
            let bits = if ones.is_some() { coded } else { packed };
            let LayerMask { path, shape, structure, .. } = layer.clone();
            Ok(Stored { path, shape, structure, ones, bits })
        };
        let layers = self.layers.iter().map(layer).collect::<Result<_>>()?;
        let body = rmp_serde::to_vec(&Body { fingerprint: self.fingerprint, layers })
            .map_err(|error| Error::Mask(MaskError::NotWritten { reason: error.to_string() }))?;
        Ok(sealed_file::seal(MAGIC, VERSION, &body))
    }

    /// Reads the masks in `bytes`. They must belong to `model`, which may have masks of its own.
    ///
    /// # Errors
    /// [`MaskError::Unreadable`] when the bytes are truncated or corrupt, [`MaskError::Version`], and
    /// [`MaskError::OfAnotherModel`].
    pub fn from_bytes<M: Module>(bytes: &[u8], model: &M) -> Result<Self> {
        let body =
            sealed_file::open(MAGIC, VERSION, "mask", bytes).map_err(|broken| match broken {
                Broken::Version(found) => {
                    Error::Mask(MaskError::Version { found, supported: VERSION })
                }
                Broken::Reason(reason) => Error::Mask(MaskError::Unreadable { reason }),
            })?;
        let body: Body = rmp_serde::from_slice(body)
            .map_err(|error| Error::Mask(MaskError::Unreadable { reason: error.to_string() }))?;
        let weights = Weights::of(model)?;
        let Body { fingerprint, layers } = body;
        if !layers.is_sorted_by(|a, b| a.path < b.path) {
            return Err(Error::Mask(MaskError::Unreadable {
                reason: "its weights are not in order".into(),
            }));
        }
        // Sizes come from the model: a file cannot ask for more memory than that.
        let layer = |stored: Stored| -> Result<LayerMask> {
            let Stored { path, shape, structure, ones, bits } = stored;
            weights.find(&path, &shape)?;
            let count = structure.check(&path, &shape)?;
            let bits = match ones {
                Some(ones) => {
                    coding::decode(&bits, usize::try_from(ones).unwrap_or(usize::MAX), count)?
                }
                None => coding::unpack(&bits, count)?,
            };
            Ok(LayerMask { path, shape, structure, bits })
        };
        let layers = layers.into_iter().map(layer).collect::<Result<_>>()?;
        let masks = Self { fingerprint, layers };
        masks.check(&weights)?;
        Ok(masks)
    }

    fn check(&self, weights: &Weights) -> Result<()> {
        for layer in &self.layers {
            weights.find(&layer.path, &layer.shape)?;
        }
        let paths = self.layers.iter().map(|layer| layer.path.as_str());
        if weights.fingerprint(paths)? != self.fingerprint {
            return Err(Error::Mask(MaskError::OfAnotherModel { what: "their values".into() }));
        }
        Ok(())
    }
}

/// The share that each mask keeps.
impl fmt::Display for MaskSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |part: usize, all: usize| 100.0 * part as f64 / all.max(1) as f64;
        for layer in &self.layers {
            let (kept, all) = (layer.kept(), layer.bits.len());
            writeln!(f, "{}: {kept} of {all} kept ({:.1} %)", layer.path, percent(kept, all))?;
        }
        let weights: usize = self.layers.iter().map(|l| l.shape.iter().product::<usize>()).sum();
        let kept = self.kept_weights();
        write!(f, "{kept} of {weights} masked weights are left ({:.1} %)", percent(kept, weights))
    }
}

#[derive(Serialize, Deserialize)]
struct Body {
    fingerprint: [u8; 32],
    layers: Vec<Stored>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    path: String,
    shape: Vec<usize>,
    structure: Structure,
    /// The number of ones, if `bits` is a range code.
    ones: Option<u64>,
    #[serde(with = "serde_bytes")]
    bits: Vec<u8>,
}

/// The stored weights of a model, and the scores attached to them, by path.
#[derive(Default)]
struct Weights {
    all: BTreeMap<String, Weight>,
    failure: Option<Error>,
}

struct Weight {
    shape: Vec<usize>,
    values: Vec<f32>,
    scores: Option<Tensor<1>>,
    state: Option<Tensor<1>>,
}

impl Weights {
    fn of<M: Module>(model: &M) -> Result<Self> {
        let mut weights = Self::default();
        visit(model, &mut weights);
        match weights.failure.take() {
            Some(error) => Err(error),
            None => Ok(weights),
        }
    }

    fn find(&self, path: &str, shape: &[usize]) -> Result<&Weight> {
        let another = |what: String| Error::Mask(MaskError::OfAnotherModel { what });
        let weight =
            self.all.get(path).ok_or_else(|| another(format!("`{path}`, which is missing")))?;
        if weight.shape != shape {
            return Err(another(format!(
                "`{path}`, which is {:?} and not {shape:?}",
                weight.shape
            )));
        }
        Ok(weight)
    }

    /// SHA-256 over paths, shapes and values.
    fn fingerprint<'p>(&self, paths: impl Iterator<Item = &'p str>) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        for path in paths {
            let missing = || {
                Error::Mask(MaskError::OfAnotherModel {
                    what: format!("`{path}`, which is missing"),
                })
            };
            let weight = self.all.get(path).ok_or_else(missing)?;
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            hash.update((weight.shape.len() as u64).to_le_bytes());
            weight.shape.iter().for_each(|size| hash.update((*size as u64).to_le_bytes()));
            weight.values.iter().for_each(|value| hash.update(value.to_le_bytes()));
        }
        Ok(hash.finalize().into())
    }
}

impl Visit for Weights {
    fn float<const D: usize>(&mut self, place: &Place, param: &Param<Tensor<D>>) {
        if self.failure.is_some() {
            return;
        }
        if let Some((weight, field)) = place.field_of(SuperMask::NAME) {
            let weight = self.all.get_mut(&weight);
            let value = param.val();
            let count = value.dims().iter().product::<usize>();
            let value = Some(value.detach().reshape([count]));
            match (weight, field) {
                (Some(weight), "scores") => weight.scores = value,
                (Some(weight), "state") => weight.state = value,
                // The weight itself comes first, and a mask has no other field.
                (Some(_) | None, _) => {}
            }
            return;
        }
        let base = param.base();
        let shape = base.dims().to_vec();
        match read(base) {
            Ok(values) => {
                let weight = Weight { shape, values, scores: None, state: None };
                self.all.insert(place.path(), weight);
            }
            Err(error) => self.failure = Some(error),
        }
    }
}

fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    let data = tensor.try_into_data().map_err(|e| Error::Device { reason: e.to_string() })?;
    Ok(data.iter().collect())
}

/// Multiplies weights by masks.
struct Multiply<'m> {
    masks: BTreeMap<&'m str, &'m LayerMask>,
}

impl Change for Multiply<'_> {
    fn float<const D: usize>(
        &mut self,
        place: &Place,
        param: Param<Tensor<D>>,
    ) -> Param<Tensor<D>> {
        let Some(layer) = self.masks.get(place.path().as_str()) else { return param };
        param.map(|weight| {
            let values: Vec<f32> = layer.bits.iter().map(|bit| f32::from(u8::from(*bit))).collect();
            let values = TensorData::new(values, [layer.bits.len()]);
            let mask = Tensor::from_data(values, (&weight.device(), weight.dtype()));
            let shape = weight.dims();
            weight * layer.structure.spread(mask, shape)
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::module::ModuleMapper;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;
    use proptest::prelude::*;

    use super::*;
    use crate::mask::MaskKind;

    fn model() -> Linear {
        let device = Device::default().autodiff();
        LinearConfig::new(40, 10).init(&device)
    }

    fn masks(share: f64) -> MaskSet {
        let kind = MaskKind::Stochastic { keep: share };
        let config = SuperMaskConfig::new(kind).unwrap();
        let model = config.apply(model().map(&mut Same)).unwrap();
        MaskSet::of(&config, &config.refresh(model, 1, 0).unwrap()).unwrap()
    }

    /// Gives every parameter the same values each time.
    struct Same;

    impl ModuleMapper for Same {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|tensor| tensor.ones_like())
        }
    }

    /// The result of reading a body behind a correct header.
    fn read_body(body: &[u8]) -> Result<MaskSet> {
        MaskSet::from_bytes(&sealed_file::seal(MAGIC, VERSION, body), &model().map(&mut Same))
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let refused = read_body(&body);
            prop_assert!(matches!(refused, Err(Error::Mask(MaskError::Unreadable { .. }))), "{refused:?}");
        }

        #[test]
        fn a_spoiled_body_is_a_mask_of_the_model_or_refused(
            share in prop::sample::select(vec![0.05, 0.5]),
            spoils in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let bytes = masks(share).to_bytes().unwrap();
            let mut body = sealed_file::open(MAGIC, VERSION, "mask", &bytes).ok().unwrap().to_vec();
            for (place, value) in spoils {
                let place = place.index(body.len());
                body[place] = value;
            }
            match read_body(&body) {
                Ok(masks) => prop_assert_eq!(masks.scores(), 400),
                Err(error) => prop_assert!(
                    matches!(error, Error::Mask(MaskError::Unreadable { .. }) | Error::Mask(MaskError::OfAnotherModel { .. }) | Error::Mask(MaskError::DoesNotFit { .. })),
                    "{error}"
                ),
            }
        }
    }

    #[test]
    fn a_mask_that_is_listed_twice_is_refused() {
        let bytes = masks(0.5).to_bytes().unwrap();
        let body = sealed_file::open(MAGIC, VERSION, "mask", &bytes).ok().unwrap();
        let mut body: Body = rmp_serde::from_slice(body).unwrap();
        let again = rmp_serde::from_slice(&rmp_serde::to_vec(&body.layers[0]).unwrap()).unwrap();
        body.layers.push(again);
        let refused = read_body(&rmp_serde::to_vec(&body).unwrap());
        assert!(matches!(refused, Err(Error::Mask(MaskError::Unreadable { .. }))), "{refused:?}");
    }
}
