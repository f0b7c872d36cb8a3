//! Class probabilities of public inputs instead of weights (FedMD: Li & Wang 2019, arXiv 1910.03581): each end trains a head of
//! its own to agree with them.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};
use burn_dp::federated::{Manifest, Trained, Training};

use super::features::FeatureSets;
use super::head::{LinearMap, one_hot};
use super::learning::{Learner, Turn};

/// Steps and learning rate by which a head learns to agree with predictions.
const STEPS: usize = 200;
const LEARNING_RATE: f64 = 0.01;

pub(super) struct Predictions {
    sets: FeatureSets,
    manifest: Manifest,
    /// `[inputs, width]`: the last training records.
    inputs: Tensor<2>,
    /// The last predictions and the head that agrees with them, which is the same for all clients of a round.
    known: Mutex<(Vec<f32>, Vec<f32>)>,
}

impl Predictions {
    pub(super) fn new(sets: FeatureSets) -> Result<Self> {
        let inputs = sets.inputs();
        let shape = vec![sets.public_inputs(), sets.classes];
        let base = Manifest::digest([sets.trunk.as_bytes()]);
        let manifest = Manifest::new(vec![("predictions".into(), shape)], base)?;
        Ok(Self { sets, manifest, inputs, known: Mutex::default() })
    }

    /// The head that agrees with these predictions, flat.
    fn student(&self, predictions: &[f32]) -> Result<Vec<f32>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != predictions {
            let shape = [self.inputs.dims()[0], self.sets.classes];
            let truth = TensorData::new(predictions.to_vec(), shape);
            let truth = Tensor::<2>::from_data(truth, &Device::flex());
            let zeros = vec![0.0; (self.sets.width() + 1) * self.sets.classes];
            let mut student = self.head(&zeros)?;
            for _ in 0..STEPS {
                student.step(self.inputs.clone(), truth.clone(), LEARNING_RATE);
            }
            *known = (predictions.to_vec(), student.flat());
        }
        Ok(known.1.clone())
    }

    fn head(&self, flat: &[f32]) -> Result<LinearMap> {
        LinearMap::new(flat, self.sets.width(), self.sets.classes)
    }
}

impl Learner for Predictions {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn start(&self) -> Result<Vec<f32>> {
        let uniform = 1.0 / self.sets.classes as f32;
        Ok(vec![uniform; self.manifest.len()])
    }

    /// Agrees with what all predict, then learns from its own records, then predicts.
    fn train(&self, turn: &Turn<'_>, training: &Training) -> Result<Trained> {
        let mut head = self.head(&self.student(&training.request.weights)?)?;
        for records in turn.batches(training.request.round) {
            let (features, labels) = self.sets.train.batch(&records, &Device::flex());
            head.step(features, one_hot(labels, self.sets.classes), turn.settings.learning_rate);
        }
        let predictions = softmax(head.forward(self.inputs.clone()), 1).into_data();
        Ok(Trained::new(predictions.iter().collect()))
    }

    fn accuracy(&self, predictions: &[f32]) -> Result<f64> {
        let head = self.head(&self.student(predictions)?)?;
        Ok(self.sets.accuracy(|features| head.forward(features)))
    }

    fn labels(&self) -> &[u32] {
        self.sets.private_labels()
    }
}
