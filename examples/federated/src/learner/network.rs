//! A whole network, of which a part is trained.

use anyhow::Result;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Device;
use burn_dp::federated::{Manifest, weights};
use finetune::models::cross_entropy;
use finetune::run::labels;
use finetune::run::task::{Classifier, Part, Task};
use rayon::prelude::*;

use super::trained::prepared;
use super::{Learner, Turn, all, hits};
use crate::settings::Train;

/// Held-out records at a time.
const CHUNK: usize = 50;

pub(super) struct Network<T: Task> {
    task: T,
    /// Of which clones share the frozen weights.
    model: T::Model,
    manifest: Manifest,
}

impl<T: Task> Network<T> {
    pub(super) fn new(task: T, train: Train) -> Result<Self> {
        let model = prepared(&task, train, &Device::flex().autodiff())?;
        let manifest = weights::manifest(&model)?;
        Ok(Self { task, model, manifest })
    }
}

impl<T> Learner for Network<T>
where
    T: Task<Model: Sync> + Send + Sync,
{
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn start(&self) -> Result<Vec<f32>> {
        Ok(weights::read(&self.model)?)
    }

    fn train(&self, turn: &Turn<'_>, weights: &[f32]) -> Result<Vec<f32>> {
        let device = Device::flex().autodiff();
        let mut model = weights::write(self.model.clone(), weights)?;
        let mut optimizer: ModuleOptimizer = SgdConfig::new().init();
        for records in turn.batches() {
            let inputs = self.task.inputs(Part::Train, &records, &device);
            let labels = labels(self.task.labels(Part::Train), &records, &device);
            let scores = model.classify(model.features(inputs));
            let gradients = cross_entropy(scores, labels).backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            model = optimizer.step(turn.settings.learning_rate, model, gradients);
        }
        Ok(weights::read(&model)?)
    }

    fn accuracy(&self, weights: &[f32]) -> Result<f64> {
        let device = Device::flex();
        let model = weights::write(self.model.clone(), weights)?.valid();
        let mut records = all(&self.task, Part::Test);
        // A batch is padded to its largest record, so records of like size go together.
        records.sort_by_key(|record| self.task.size(Part::Test, *record));
        let right: f64 = records
            .par_chunks(CHUNK)
            .map(|chunk| {
                let inputs = self.task.inputs(Part::Test, chunk, &device);
                let labels = labels(self.task.labels(Part::Test), chunk, &device);
                hits(model.classify(model.features(inputs)), labels)
            })
            .sum();
        Ok(right / records.len() as f64)
    }

    fn labels(&self) -> &[u8] {
        self.task.labels(Part::Train)
    }
}
