//! A linear head on features that are computed once: thousands of clients in seconds.

use anyhow::{Result, ensure};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_dp::federated::{Manifest, Trained, Training, weights};
use burn_dp::privacy::PrivacyPlan;
use finetune::models::cross_entropy;
use finetune::run::task::Task;

use super::features::FeatureSets;
use super::learning::{Learner, Turn};
use super::records::train_privately;
use super::trained::prepared;
use crate::settings::Train;

pub(super) struct Head {
    manifest: Manifest,
    sets: FeatureSets,
}

impl Head {
    pub(super) fn new<T: Task>(task: &T, sets: FeatureSets) -> Result<Self> {
        // The head of the whole model, so that nobody trains it on top of another trunk.
        let model = prepared(task, Train::Head, &Device::flex().autodiff())?;
        let manifest = weights::manifest(&model)?;
        let expected = [vec![sets.full_width, sets.classes], vec![sets.classes]];
        let shapes = manifest.tensors().iter().map(|(_, shape)| shape);
        ensure!(shapes.eq(&expected), "the head is not one linear map with a bias");
        let manifest =
            if sets.public_inputs() == 0 { manifest } else { narrower(&manifest, &sets)? };
        Ok(Self { manifest, sets })
    }

    fn train_records(
        &self,
        turn: (&Turn<'_>, u64),
        plan: &PrivacyPlan,
        numbers: &[f32],
    ) -> Result<Trained> {
        let device = Device::flex().autodiff();
        let (width, classes) = (self.sets.width(), self.sets.classes);
        let head = LinearConfig::new(width, classes).with_initializer(Initializer::Zeros);
        let model = weights::write(head.init(&device), numbers)?;
        let load = |records: &[usize]| self.sets.train.batch(records, &device);
        train_privately(model, turn, plan, load, |model: &Linear, batch: (Tensor<2>, _)| {
            cross_entropy(model.forward(batch.0), batch.1)
        })
    }
}

impl Learner for Head {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Zeros: the problem is convex, so any start will do.
    fn start(&self) -> Result<Vec<f32>> {
        Ok(vec![0.0; self.manifest.len()])
    }

    fn train(&self, turn: &Turn<'_>, training: &Training) -> Result<Trained> {
        let (numbers, round) = (&training.request.weights, training.request.round);
        if let Some(plan) = &training.privacy {
            return self.train_records((turn, round), plan, numbers);
        }
        let mut map = LinearMap::new(numbers, self.sets.width(), self.sets.classes)?;
        for records in turn.batches(round) {
            let (features, labels) = self.sets.train.batch(&records, &Device::flex());
            map.step(features, one_hot(labels, self.sets.classes), turn.settings.learning_rate);
        }
        Ok(Trained::new(map.flat()))
    }

    fn accuracy(&self, numbers: &[f32]) -> Result<f64> {
        let map = LinearMap::new(numbers, self.sets.width(), self.sets.classes)?;
        Ok(self.sets.accuracy(|features| map.forward(features)))
    }

    fn labels(&self) -> &[u32] {
        self.sets.private_labels()
    }
}

/// The same head on fewer features. Its base names the network, the directions and how many inputs they are from, so that nobody
/// trains it along others.
fn narrower(manifest: &Manifest, sets: &FeatureSets) -> Result<Manifest> {
    let shapes = [vec![sets.width(), sets.classes], vec![sets.classes]];
    let paths = manifest.tensors().iter().map(|(path, _)| path.clone());
    let base = Manifest::digest([manifest.base().as_slice(), sets.trunk.as_bytes()]);
    Ok(Manifest::new(paths.zip(shapes).collect(), base)?)
}

/// A linear map by hand: building a module for each of thousands of clients would cost more than training it.
pub(super) struct LinearMap {
    /// `[width, classes]`
    weight: Tensor<2>,
    /// `[1, classes]`
    bias: Tensor<2>,
}

impl LinearMap {
    /// From all numbers of the weight, then those of the bias.
    pub(super) fn new(flat: &[f32], width: usize, classes: usize) -> Result<Self> {
        ensure!(flat.len() == (width + 1) * classes, "the head has another number of weights");
        let (weight, bias) = flat.split_at(width * classes);
        let tensor = |numbers: &[f32], shape: [usize; 2]| {
            Tensor::from_data(TensorData::new(numbers.to_vec(), shape), &Device::flex())
        };
        Ok(Self { weight: tensor(weight, [width, classes]), bias: tensor(bias, [1, classes]) })
    }

    pub(super) fn flat(self) -> Vec<f32> {
        let [weight, bias] = [self.weight, self.bias].map(Tensor::into_data);
        weight.iter::<f32>().chain(bias.iter::<f32>()).collect()
    }

    pub(super) fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        features.matmul(self.weight.clone()) + self.bias.clone()
    }

    /// A gradient step on the mean cross entropy with the `truth`, probabilities `[records, classes]`. Its gradient by the scores
    /// is softmax minus truth.
    pub(super) fn step(&mut self, features: Tensor<2>, truth: Tensor<2>, learning_rate: f64) {
        let records = features.dims()[0].max(1) as f64;
        let slope = softmax(self.forward(features.clone()), 1) - truth;
        let change = slope * (learning_rate / records);
        self.weight = self.weight.clone() - features.transpose().matmul(change.clone());
        self.bias = self.bias.clone() - change.sum_dim(0);
    }
}

pub(super) fn one_hot(labels: Tensor<1, Int>, classes: usize) -> Tensor<2> {
    labels.one_hot::<2>(classes).float()
}

#[cfg(test)]
mod tests {
    use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
    use burn::tensor::Distribution;

    use super::*;

    /// The oracle is burn's own autodiff and optimizer.
    #[test]
    fn a_step_by_hand_is_that_of_sgd() -> Result<()> {
        let device = Device::flex().autodiff();
        device.seed(3);
        let mut model: Linear = LinearConfig::new(7, 4).init(&device);
        let mut map = LinearMap::new(&weights::read(&model)?, 7, 4)?;
        let mut optimizer: ModuleOptimizer = SgdConfig::new().init();
        for _ in 0..3 {
            let features = Tensor::<2>::random([5, 7], Distribution::Default, &device);
            let labels = Tensor::<1, Int>::from_data([0, 3, 1, 1, 2], &device);
            map.step(features.clone().inner(), one_hot(labels.clone().inner(), 4), 0.5);
            let loss = cross_entropy(model.forward(features), labels);
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(0.5, model, gradients);
        }
        let (by_hand, by_burn) = (map.flat(), weights::read(&model)?);
        assert!(by_hand.iter().zip(&by_burn).all(|(a, b)| (a - b).abs() < 1e-5));
        Ok(())
    }
}
