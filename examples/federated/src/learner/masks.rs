//! Masks of bits over a frozen random network that reads the pretrained one's features (FedPM: Isik et al. 2023, arXiv
//! 2209.15328).

use anyhow::Result;
use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};
use burn_dp::federated::{Manifest, Trained, Training, masks};
use burn_dp::mask::{MaskKind, SuperMaskConfig};
use finetune::models::cross_entropy;
use rand::RngExt;

use super::features::FeatureSets;
use super::learning::{Learner, Turn};
use crate::settings::{Aggregation, Settings};

/// Learning rate of scores, that of FedPM.
const LEARNING_RATE: f64 = 0.1;
/// How far shares of clients stay from 0 and 1, where a score would be infinite and could not move.
const MARGIN: f64 = 0.01;
/// The same after a majority's vote, which is sure of nothing.
const MARGIN_OF_MAJORITY: f64 = 0.2;
/// Decides the frozen weights, the same for all, and the draw that is tested.
const PUBLIC_SEED: u64 = 2026;

/// Two layers without biases, so that all of it can be masked.
#[derive(Module, Debug)]
pub(super) struct Classifier {
    hidden: Linear,
    head: Linear,
}

pub(super) struct Masks {
    sets: FeatureSets,
    config: SuperMaskConfig,
    model: Classifier,
    manifest: Manifest,
    margin: f64,
}

impl Classifier {
    /// Weights of one size, whose signs alone are random: what masks choose from best (Ramanujan et al. 2020, section 4; FedPM,
    /// section 4).
    fn new(sets: &FeatureSets, hidden: usize) -> Self {
        let device = Device::flex().autodiff();
        device.seed(PUBLIC_SEED);
        let signs = |from: usize, to: usize| -> Linear {
            let config = LinearConfig::new(from, to).with_bias(false);
            let initializer = Initializer::Normal { mean: 0.0, std: 1.0 };
            let mut layer: Linear = config.with_initializer(initializer).init(&device);
            let size = (2.0 / from as f64).sqrt();
            layer.weight = layer.weight.map(|weight| weight.sign().mul_scalar(size));
            layer
        };
        Self { hidden: signs(sets.width(), hidden), head: signs(hidden, sets.classes) }
    }

    fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.forward(relu(self.hidden.forward(features)))
    }
}

impl Masks {
    pub(super) fn new(sets: FeatureSets, settings: &Settings) -> Result<Self> {
        let config = SuperMaskConfig::new(MaskKind::Stochastic { keep: 0.5 })?;
        let model = config.apply(Classifier::new(&sets, settings.hidden))?;
        let manifest = masks::manifest(&config, &model)?;
        let margin = match settings.aggregation {
            Aggregation::Mean | Aggregation::Posterior => MARGIN,
            Aggregation::Majority => MARGIN_OF_MAJORITY,
        };
        Ok(Self { sets, config, model, manifest, margin })
    }

    /// The model whose weights are kept with these probabilities.
    fn with_shares(&self, shares: &[f32]) -> Result<Classifier> {
        let (least, most) = (self.margin, 1.0 - self.margin);
        let shares = masks::shares(&self.config, &self.model, shares)?;
        let shares = shares.map(|share| share.clamp(least, most));
        Ok(self.config.with_shares(self.model.clone(), &shares)?)
    }
}

impl Learner for Masks {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn start(&self) -> Result<Vec<f32>> {
        Ok(vec![0.5; self.manifest.len()])
    }

    /// Local steps on the scores, each with a mask drawn anew; what is sent is one more draw.
    fn train(&self, turn: &Turn<'_>, training: &Training) -> Result<Trained> {
        let (device, round) = (Device::flex().autodiff(), training.request.round);
        let mut rng = turn.rng(round);
        let mut model = self.with_shares(&training.request.weights)?;
        let mut optimizer: ModuleOptimizer = AdamConfig::new().init();
        for records in turn.batches(round) {
            model = self.config.refresh(model, rng.random(), 0)?;
            let (features, labels) = self.sets.train.batch(&records, &device);
            let gradients = cross_entropy(model.forward(features), labels).backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            model = optimizer.step(LEARNING_RATE, model, gradients);
        }
        let model = self.config.refresh(model, rng.random(), 0)?;
        Ok(Trained::new(masks::bits(&self.config, &model)?))
    }

    fn accuracy(&self, shares: &[f32]) -> Result<f64> {
        let model = self.config.refresh(self.with_shares(shares)?, PUBLIC_SEED, 0)?;
        let model = model.materialize().valid();
        Ok(self.sets.accuracy(|features| model.forward(features)))
    }

    fn labels(&self) -> &[u32] {
        &self.sets.train.labels
    }
}
