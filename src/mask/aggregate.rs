//! Aggregation of many clients' masks: pure functions, for a federated server or a simulation.

use super::mask_set::{LayerMask, MaskSet};
use super::structure::Structure;
use crate::bounded_sum::BoundedSum;
use crate::error::{Error, MaskError, Result};
use crate::noise::Noise;
use crate::privacy::{ClippingNorm, DpEvent, ExpectedBatchSize, NoiseMultiplier};
use crate::seed::{Domain, Seed};

/// The share of clients that keep each score. It is between 0 and 1, unless noise moved it out of
/// this range.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskShares {
    fingerprint: [u8; 32],
    layers: Vec<LayerShares>,
}

/// The shares of one weight's scores.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerShares {
    path: String,
    shape: Vec<usize>,
    structure: Structure,
    shares: Vec<f64>,
}

impl LayerShares {
    /// The weight's path in the model.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A share for each score.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }
}

impl MaskShares {
    /// The weighted mean of the clients' masks. **Weights must be public**: for example, the number
    /// of a client's records is a secret of that client.
    ///
    /// # Errors
    /// [`MaskError::NoMasks`]; [`MaskError::OfAnotherModel`] where masks differ in model or
    /// structure; [`Error::Setting`] for weights that are negative, not finite, or all zero.
    pub fn mean(masks: &[(MaskSet, f64)]) -> Result<Self> {
        let total: f64 = masks.iter().map(|(_, weight)| weight).sum();
        if let Some((_, wrong)) = masks.iter().find(|(_, w)| !(w.is_finite() && *w >= 0.0)) {
            return Err(Error::setting("weight of a mask", wrong, "finite and at least 0"));
        }
        let mut sum = Self::zeros(masks.iter().map(|(mask, _)| mask))?;
        if !(total > 0.0 && total.is_finite()) {
            return Err(Error::setting("sum of the masks' weights", total, "positive and finite"));
        }
        for (mask, weight) in masks {
            sum.add(mask, weight / total);
        }
        Ok(sum)
    }

    /// The mean under central differential privacy of clients (add/remove one client).
    ///
    /// Each mask's difference from `reference` is clipped, noise of the Gaussian mechanism is added
    /// to the sum, and the divisor is a public number. Returns the event to record. Sampling of
    /// clients, if any, goes around it.
    ///
    /// `reference` must be public: the shares that the last round released, or one half everywhere
    /// (`MaskShares::from(&mask).map(|_| 0.5)`). A mask of n bits is at distance √n / 2 from one
    /// half. One (seed, `round`) must never be used twice.
    ///
    /// # Errors
    /// As [`mean`](Self::mean), and for shares of `reference` that are not finite.
    pub fn private_mean(
        masks: &[MaskSet],
        reference: &Self,
        mechanism: &CentralNoise,
        seed: &Seed,
        round: u64,
    ) -> Result<(Self, DpEvent)> {
        let CentralNoise { clipping_norm, expected_clients, noise_multiplier } = *mechanism;
        let noise = Noise::Gaussian { multiplier: noise_multiplier };
        let blank = reference.clone().map(|_| 0.0);
        masks.iter().try_for_each(|mask| blank.check(mask))?;
        let flat = reference.layers.iter().flat_map(|layer| &layer.shares);
        if let Some(wrong) = flat.clone().find(|share| !share.is_finite()) {
            return Err(Error::setting("share of the reference", wrong, "finite"));
        }
        let lengths = reference.layers.iter().map(|layer| layer.shares.len());
        let mut sum = BoundedSum::new(lengths, clipping_norm);
        for mask in masks {
            sum.add(reference.differences(mask))?;
        }
        let (released, event) =
            sum.release(noise, expected_clients, seed, Domain::MaskNoise, round)?;
        let mut mean = reference.clone();
        for (layer, change) in mean.layers.iter_mut().zip(released) {
            layer.shares.iter_mut().zip(change).for_each(|(share, change)| *share += change);
        }
        Ok((mean, event))
    }

    /// The mask that at least half of the clients keep.
    pub fn majority(&self) -> MaskSet {
        self.masks(|share| share >= 0.5)
    }

    /// The shares, in the order of the weights' paths.
    pub fn layers(&self) -> &[LayerShares] {
        &self.layers
    }

    /// The same change of each share: post-processing, which is free.
    #[must_use]
    pub fn map(mut self, mut change: impl FnMut(f64) -> f64) -> Self {
        let shares = self.layers.iter_mut().flat_map(|layer| &mut layer.shares);
        shares.for_each(|share| *share = change(*share));
        self
    }

    fn masks(&self, keep: impl Fn(f64) -> bool) -> MaskSet {
        let layer = |layer: &LayerShares| {
            let bits = layer.shares.iter().map(|share| keep(*share)).collect();
            let LayerShares { path, shape, structure, .. } = layer.clone();
            LayerMask { path, shape, structure, bits }
        };
        let layers = self.layers.iter().map(layer).collect();
        MaskSet { fingerprint: self.fingerprint, layers }
    }

    /// Zeros in the shape of the masks, which must all belong to one model.
    fn zeros<'m>(mut masks: impl Iterator<Item = &'m MaskSet>) -> Result<Self> {
        let zeros = Self::from(masks.next().ok_or(Error::Mask(MaskError::NoMasks))?).map(|_| 0.0);
        masks.try_for_each(|mask| zeros.check(mask))?;
        Ok(zeros)
    }

    /// # Errors
    /// [`MaskError::OfAnotherModel`].
    fn check(&self, mask: &MaskSet) -> Result<()> {
        let alike = mask.fingerprint == self.fingerprint
            && mask.layers.len() == self.layers.len()
            && mask
                .layers
                .iter()
                .zip(&self.layers)
                .all(|(a, b)| (&a.path, a.structure) == (&b.path, b.structure));
        match alike {
            true => Ok(()),
            false => Err(Error::Mask(MaskError::OfAnotherModel {
                what: "the first client's masks".into(),
            })),
        }
    }

    fn add(&mut self, mask: &MaskSet, weight: f64) {
        for (layer, mask) in self.layers.iter_mut().zip(&mask.layers) {
            for (share, bit) in layer.shares.iter_mut().zip(&mask.bits) {
                *share += if *bit { weight } else { 0.0 };
            }
        }
    }

    /// The differences of a mask from these shares, score by score.
    fn differences<'m>(&'m self, mask: &'m MaskSet) -> impl Iterator<Item = f64> + Clone + use<'m> {
        let layers = self.layers.iter().zip(&mask.layers);
        let pairs = layers.flat_map(|(layer, mask)| layer.shares.iter().zip(&mask.bits));
        pairs.map(|(share, bit)| value(*bit) - share)
    }
}

/// A single mask, as shares of 0 and 1.
impl From<&MaskSet> for MaskShares {
    fn from(mask: &MaskSet) -> Self {
        let layer = |layer: &LayerMask| LayerShares {
            path: layer.path.clone(),
            shape: layer.shape.clone(),
            structure: layer.structure,
            shares: layer.bits.iter().map(|bit| value(*bit)).collect(),
        };
        let layers = mask.layers.iter().map(layer).collect();
        Self { fingerprint: mask.fingerprint, layers }
    }
}

fn value(bit: bool) -> f64 {
    f64::from(u8::from(bit))
}

/// The Gaussian mechanism on clients' masks: see [`MaskShares::private_mean`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CentralNoise {
    clipping_norm: ClippingNorm,
    expected_clients: ExpectedBatchSize,
    noise_multiplier: NoiseMultiplier,
}

impl CentralNoise {
    /// Each client moves the sum by at most `clipping_norm` (L2, in bits). The noise has standard
    /// deviation `noise_multiplier` times that. The sum is divided by the public number
    /// `expected_clients`.
    ///
    /// # Errors
    /// [`Error::Setting`] for a clipping norm or a number of clients that is not positive and finite.
    pub fn new(
        clipping_norm: f64,
        expected_clients: f64,
        noise_multiplier: NoiseMultiplier,
    ) -> Result<Self> {
        let clipping_norm = ClippingNorm::new(clipping_norm)?;
        let expected_clients = ExpectedBatchSize::new(expected_clients).map_err(|_| {
            Error::setting("expected_clients", expected_clients, "finite and greater than 0")
        })?;
        Ok(Self { clipping_norm, expected_clients, noise_multiplier })
    }
}

/// A beta distribution for each score, updated by each round's masks (FedPM: Isik et al. 2023, arXiv 2209.15328,
/// section 3.3).
#[derive(Clone, Debug, PartialEq)]
pub struct BetaShares {
    prior: f64,
    /// The number of masks that keep each score. `seen` counts all masks.
    kept: Option<MaskShares>,
    seen: f64,
}

impl BetaShares {
    /// Starts with Beta(`prior`, `prior`). A prior of 1 is uniform; a larger one pulls towards one
    /// half.
    ///
    /// # Errors
    /// [`Error::Setting`] for a prior that is below 1 or not finite.
    pub fn new(prior: f64) -> Result<Self> {
        if !(prior.is_finite() && prior >= 1.0) {
            return Err(Error::setting("prior", prior, "finite and at least 1"));
        }
        Ok(Self { prior, kept: None, seen: 0.0 })
    }

    /// Updates with one round's masks.
    ///
    /// # Errors
    /// As [`MaskShares::mean`].
    pub fn update(&mut self, masks: &[MaskSet]) -> Result<()> {
        let mut kept = MaskShares::zeros(masks.iter())?;
        masks.iter().for_each(|mask| kept.add(mask, 1.0));
        self.add(kept, masks.len() as f64)
    }

    /// Updates with one round's mean over `clients`. The mean may be noised: this is
    /// post-processing, which is free.
    ///
    /// # Errors
    /// [`MaskError::OfAnotherModel`], and [`Error::Setting`] for a number of clients that is not positive
    /// and finite.
    pub fn update_with_mean(&mut self, mean: &MaskShares, clients: f64) -> Result<()> {
        if !(clients > 0.0 && clients.is_finite()) {
            return Err(Error::setting("clients", clients, "positive and finite"));
        }
        self.add(mean.clone().map(|share| share * clients), clients)
    }

    fn add(&mut self, mut kept: MaskShares, clients: f64) -> Result<()> {
        if let Some(before) = &self.kept {
            before.check(&kept.masks(|_| true))?;
            for (layer, before) in kept.layers.iter_mut().zip(&before.layers) {
                let pairs = layer.shares.iter_mut().zip(&before.shares);
                pairs.for_each(|(share, before)| *share += before);
            }
        }
        self.kept = Some(kept);
        self.seen += clients;
        Ok(())
    }

    /// Forgets all rounds, as FedPM does every few rounds.
    pub fn reset(&mut self) {
        (self.kept, self.seen) = (None, 0.0);
    }

    /// The distributions' means, (prior + kept) / (2 prior + seen); none before the first round.
    pub fn mean(&self) -> Option<MaskShares> {
        let (prior, seen) = (self.prior, self.seen);
        Some(self.kept.clone()?.map(|kept| (prior + kept) / (2.0 * prior + seen)))
    }

    /// The distributions' modes, (prior + kept - 1) / (2 prior + seen - 2): FedPM's choice.
    pub fn mode(&self) -> Option<MaskShares> {
        let (prior, seen) = (self.prior, self.seen);
        let mode = |kept: f64| (prior + kept - 1.0) / (2.0 * prior + seen - 2.0);
        Some(self.kept.clone().filter(|_| seen > 0.0)?.map(mode))
    }
}
