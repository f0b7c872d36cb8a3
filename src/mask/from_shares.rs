//! From the shares that a server sends to the scores from which a client continues.

use std::collections::HashMap;

use burn::module::{Module, Param, Reparameterization};
use burn::tensor::{Tensor, TensorData};

use super::aggregate::MaskShares;
use super::config::{SuperMask, SuperMaskConfig};
use super::mask_kind::MaskKind;
use crate::error::{Error, MaskError, Result};
use crate::model::{Change, Place, change};

/// Shares are kept this far from 0 and 1. There the score would be infinite and could never change
/// again.
const MARGIN: f64 = 0.01;

impl SuperMaskConfig {
    /// The model with the scores that keep each weight with probability `shares` (between 0.01 and
    /// 0.99). A client begins a round of federated mask training this way (FedPM: Isik et al. 2023,
    /// arXiv 2209.15328, algorithm 1).
    ///
    /// # Errors
    /// [`MaskError::NotStochastic`] for any kind other than [`MaskKind::Stochastic`],
    /// [`MaskError::OfAnotherModel`] where shares and masks are over different weights, and
    /// [`Error::Setting`] for a share that is NaN.
    pub fn with_shares<M: Module>(&self, model: M, shares: &MaskShares) -> Result<M> {
        if !matches!(self.kind(), MaskKind::Stochastic { .. }) {
            return Err(Error::Mask(MaskError::NotStochastic));
        }
        let flat = shares.layers().iter().flat_map(|layer| layer.shares());
        if let Some(wrong) = flat.clone().find(|share| share.is_nan()) {
            return Err(Error::setting("share", wrong, "a number"));
        }
        let layers = shares.layers().iter().map(|layer| (layer.path(), layer.shares())).collect();
        let mut scores = SetScores { layers, result: Ok(()) };
        let model = change(model, &mut scores);
        scores.result?;
        match scores.layers.into_keys().next() {
            None => Ok(model),
            Some(path) => {
                let what = format!("`{path}`, which has no mask");
                Err(Error::Mask(MaskError::OfAnotherModel { what }))
            }
        }
    }
}

struct SetScores<'s> {
    /// The layers that no mask has taken yet.
    layers: HashMap<&'s str, &'s [f64]>,
    result: Result<()>,
}

impl Change for SetScores<'_> {
    fn float<const D: usize>(
        &mut self,
        place: &Place,
        param: Param<Tensor<D>>,
    ) -> Param<Tensor<D>> {
        let Some((path, "scores")) = place.field_of(SuperMask::NAME) else { return param };
        let count = param.val().shape().num_elements();
        let Some(shares) = self.layers.remove(path.as_str()).filter(|s| s.len() == count) else {
            let what = format!("`{path}`, which has a mask of {count} scores");
            self.result = Err(Error::Mask(MaskError::OfAnotherModel { what }));
            return param;
        };
        let logit = |share: &f64| {
            let share = share.clamp(MARGIN, 1.0 - MARGIN);
            (share / (1.0 - share)).ln() as f32
        };
        let scores: Vec<f32> = shares.iter().map(logit).collect();
        let trained = param.is_require_grad();
        let param = param.map(|old| {
            let data = TensorData::new(scores, old.shape());
            Tensor::from_data(data, (&old.device(), old.dtype()))
        });
        param.set_require_grad(trained)
    }
}
