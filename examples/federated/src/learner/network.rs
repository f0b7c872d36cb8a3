//! A whole network, of which a part is trained.

use anyhow::Result;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor};
use burn_dp::federated::{Manifest, Trained, Training, weights};
use finetune::models::cross_entropy;
use finetune::run::labels;
use finetune::run::task::{Classifier, Part, Task};
use rayon::prelude::*;

use super::learning::{Learner, Turn, hits};
use super::records::train_privately;
use super::trained::prepared;
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

impl<T: Task> Network<T> {
    /// Training records.
    fn load(&self, records: &[usize]) -> (T::Inputs, Tensor<1, Int>) {
        let device = Device::flex().autodiff();
        let inputs = self.task.inputs(Part::Train, records, &device);
        (inputs, labels(self.task.targets(Part::Train).labels(), records, &device))
    }
}

fn loss<T: Task>(model: &T::Model, (inputs, labels): (T::Inputs, Tensor<1, Int>)) -> Tensor<1> {
    cross_entropy(model.classify(model.features(inputs)), labels)
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

    fn train(&self, turn: &Turn<'_>, training: &Training) -> Result<Trained> {
        let round = training.request.round;
        let mut model = weights::write(self.model.clone(), &training.request.weights)?;
        if let Some(plan) = &training.privacy {
            let load = |records: &[usize]| self.load(records);
            return train_privately(model, (turn, round), plan, load, loss::<T>);
        }
        let mut optimizer: ModuleOptimizer = SgdConfig::new().init();
        for records in turn.batches(round) {
            let gradients = loss::<T>(&model, self.load(&records)).backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            model = optimizer.step(turn.settings.learning_rate, model, gradients);
        }
        Ok(Trained::new(weights::read(&model)?))
    }

    fn accuracy(&self, numbers: &[f32]) -> Result<f64> {
        let device = Device::flex();
        let model = weights::write(self.model.clone(), numbers)?.valid();
        let mut records: Vec<usize> = (0..self.task.targets(Part::Test).labels().len()).collect();
        // A batch is padded to its largest record, so records of like size go together.
        records.sort_by_key(|record| self.task.size(Part::Test, *record));
        let right: f64 = records
            .par_chunks(CHUNK)
            .map(|chunk| {
                let inputs = self.task.inputs(Part::Test, chunk, &device);
                let labels = labels(self.task.targets(Part::Test).labels(), chunk, &device);
                hits(model.classify(model.features(inputs)), labels)
            })
            .sum();
        Ok(right / records.len() as f64)
    }

    fn labels(&self) -> &[u32] {
        self.task.targets(Part::Train).labels()
    }
}
