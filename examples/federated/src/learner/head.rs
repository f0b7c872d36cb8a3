//! A linear head on features that are computed once: thousands of clients in seconds.

use std::path::Path;

use anyhow::{Result, ensure};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_dp::federated::{Manifest, weights};
use finetune::run::task::{Part, Task};
use finetune::run::{Features, cached_features, labels};

use super::trained::prepared;
use super::{Learner, Turn, hits};
use crate::settings::Train;

/// Held-out records at a time.
const CHUNK: usize = 1000;

pub(super) struct Head {
    manifest: Manifest,
    train: Records,
    test: Records,
    classes: usize,
    device: Device,
}

/// Features and classes.
struct Records {
    features: Features,
    labels: Vec<u8>,
}

impl Head {
    pub(super) fn new<T: Task>(task: &T, folder: &Path) -> Result<Self> {
        let part = |part| -> Result<Records> {
            let mut features = cached_features(task, part, folder)?;
            features.rows_mut().for_each(normalize);
            Ok(Records { features, labels: task.labels(part).to_vec() })
        };
        let (train, test) = (part(Part::Train)?, part(Part::Test)?);
        // The head of the whole model, so that nobody trains it on top of another trunk.
        let model = prepared(task, Train::Head, &Device::flex().autodiff())?;
        let manifest = weights::manifest(&model)?;
        let classes = task.classes().len();
        let expected = [vec![train.features.width(), classes], vec![classes]];
        let shapes = manifest.tensors().iter().map(|(_, shape)| shape);
        ensure!(shapes.eq(&expected), "the head is not one linear map with a bias");
        Ok(Self { manifest, train, test, classes, device: Device::flex() })
    }

    /// Flat weights as a matrix `[width, classes]` and a bias `[1, classes]`.
    fn unflattened(&self, flat: &[f32]) -> Result<(Tensor<2>, Tensor<2>)> {
        let (width, classes) = (self.train.features.width(), self.classes);
        ensure!(flat.len() == (width + 1) * classes, "the head has another number of weights");
        let (weight, bias) = flat.split_at(width * classes);
        let tensor = |numbers: &[f32], shape: [usize; 2]| {
            Tensor::from_data(TensorData::new(numbers.to_vec(), shape), &self.device)
        };
        Ok((tensor(weight, [width, classes]), tensor(bias, [1, classes])))
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

    /// Gradient steps on the mean cross entropy, whose gradient by a linear map's scores is softmax minus truth.
    fn train(&self, turn: &Turn<'_>, weights: &[f32]) -> Result<Vec<f32>> {
        let (mut weight, mut bias) = self.unflattened(weights)?;
        for records in turn.batches() {
            let (features, labels) = self.train.batch(&records, &self.device);
            let scores = features.clone().matmul(weight.clone()) + bias.clone();
            let truth = labels.one_hot::<2>(self.classes).float();
            let step = (softmax(scores, 1) - truth) * (turn.settings.learning_rate / records.len() as f64);
            weight = weight - features.transpose().matmul(step.clone());
            bias = bias - step.sum_dim(0);
        }
        let [weight, bias] = [weight, bias].map(|tensor| tensor.into_data());
        Ok(weight.iter::<f32>().chain(bias.iter::<f32>()).collect())
    }

    fn accuracy(&self, weights: &[f32]) -> Result<f64> {
        let (weight, bias) = self.unflattened(weights)?;
        let records: Vec<usize> = (0..self.test.labels.len()).collect();
        let right: f64 = records
            .chunks(CHUNK)
            .map(|chunk| {
                let (features, labels) = self.test.batch(chunk, &self.device);
                hits(features.matmul(weight.clone()) + bias.clone(), labels)
            })
            .sum();
        Ok(right / records.len() as f64)
    }

    fn labels(&self) -> &[u8] {
        &self.train.labels
    }
}

impl Records {
    fn batch(&self, records: &[usize], device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
        (self.features.batch(records, device), labels(&self.labels, records, device))
    }
}

/// Mean zero and variance one, for each record by itself: no record's features depend on another's.
fn normalize(row: &mut [f32]) {
    let count = row.len() as f32;
    let mean = row.iter().sum::<f32>() / count;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count;
    row.iter_mut().for_each(|x| *x = (*x - mean) / (variance + 1e-6).sqrt());
}
