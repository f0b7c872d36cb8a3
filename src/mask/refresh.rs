//! The parts of masks besides scores that change from step to step: draws of stochastic masks, the
//! cut of a global top-k.

use burn::module::{Module, Param, Reparameterization};
use burn::tensor::{Tensor, TensorData};
use chacha20::ChaCha20Rng;
use rand::{RngExt, SeedableRng};

use super::config::{SuperMask, SuperMaskConfig};
use super::mask_kind::{MaskKind, Scope};
use crate::error::{Error, MaskError, Result};
use crate::model::{Change as Walk, Place, Visit, change as walk, visit};

impl SuperMaskConfig {
    /// The model as step `step` needs it.
    ///
    /// Call it before each step of a [`MaskKind::Stochastic`] or a global [`MaskKind::TopK`]; it
    /// does nothing for other kinds. One draw serves all records of a step. It is a function of
    /// `seed`, `step` and the place in the model. The draws are not secret and cost no privacy.
    ///
    /// # Errors
    /// [`Error::Device`] when scores cannot be read, [`MaskError::Unreadable`] for a model without a mask of such a kind.
    pub fn refresh<M: Module>(&self, model: M, seed: u64, step: u64) -> Result<M> {
        let change = match self.kind() {
            MaskKind::Stochastic { .. } => {
                let mut draws = ChaCha20Rng::seed_from_u64(seed);
                draws.set_stream(step);
                Change::Draws(Box::new(draws))
            }
            MaskKind::TopK { share, scope: Scope::Global } => {
                let mut scores = Scores::default();
                visit(&model, &mut scores);
                Change::Cut(cut(share, scores.all?)?)
            }
            MaskKind::TopK { scope: Scope::Layer, .. }
            | MaskKind::Threshold { .. }
            | MaskKind::Sigmoid
            | MaskKind::Multiplier => return Ok(model),
        };
        let mut refresh = Refresh { change, found: false };
        let model = walk(model, &mut refresh);
        if !refresh.found {
            return Err(Error::Mask(MaskError::NotAttached { of: " of this kind" }));
        }
        Ok(model)
    }
}

/// The smallest score among the largest `share` of scores.
fn cut(share: f64, mut scores: Vec<f32>) -> Result<f32> {
    if scores.iter().any(|score| score.is_nan()) {
        return Err(Error::Device { reason: "a score is NaN".into() });
    }
    if scores.is_empty() {
        return Ok(0.0);
    }
    let last = MaskKind::kept(share, scores.len()) - 1;
    let (_, cut, _) = scores.select_nth_unstable_by(last, |a, b| b.total_cmp(a));
    Ok(*cut)
}

enum Change {
    Draws(Box<ChaCha20Rng>),
    Cut(f32),
}

struct Refresh {
    change: Change,
    /// Whether some mask has a state.
    found: bool,
}

impl Walk for Refresh {
    fn float<const D: usize>(
        &mut self,
        place: &Place,
        param: Param<Tensor<D>>,
    ) -> Param<Tensor<D>> {
        let Some((_, "state")) = place.field_of(SuperMask::NAME) else { return param };
        self.found = true;
        param.map(|state| {
            let (shape, device, dtype) = (state.dims(), state.device(), state.dtype());
            let count = shape.iter().product();
            let values: Vec<f32> = match &mut self.change {
                Change::Draws(draws) => draws.random_iter().take(count).collect(),
                Change::Cut(cut) => vec![*cut; count],
            };
            Tensor::from_data(TensorData::new(values, shape), (&device, dtype))
        })
    }
}

/// Every score of a model.
struct Scores {
    all: Result<Vec<f32>>,
}

impl Default for Scores {
    fn default() -> Self {
        Self { all: Ok(Vec::new()) }
    }
}

impl Visit for Scores {
    fn float<const D: usize>(&mut self, place: &Place, param: &Param<Tensor<D>>) {
        if let Some((_, "scores")) = place.field_of(SuperMask::NAME)
            && let Ok(all) = &mut self.all
        {
            match param.val().try_into_data() {
                Ok(data) => all.extend(data.iter::<f32>()),
                Err(error) => self.all = Err(Error::Device { reason: error.to_string() }),
            }
        }
    }
}
