//! Accuracy on the held-out records.

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor};

use super::features::Features;
use super::task::{Examples, Part, Task, labels};

/// Records at a time.
const CHUNK: usize = 100;

/// What the model does on records that it was not trained on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluation {
    pub(super) accuracy: f64,
    pub(super) loss: f64,
}

/// Tests `model`, on features where the trunk is still the pretrained one.
pub(super) fn evaluate<T: Task>(
    task: &T,
    model: &T::Model,
    features: Option<&Features>,
    device: &Device,
) -> Result<Evaluation> {
    let model = model.valid();
    let truth = task.labels(Part::Test);
    let mut records: Vec<usize> = (0..truth.len()).collect();
    records.sort_by_key(|record| task.size(Part::Test, *record));
    let (mut right, mut loss) = (0.0, 0.0);
    for chunk in records.chunks(CHUNK) {
        let labels = labels(truth, chunk, device);
        let inputs = match features {
            None => Some(task.inputs(Part::Test, chunk, device)),
            Some(_) => None,
        };
        let features = features.map(|features| features.batch(chunk, device));
        let logits = Examples { inputs, features, labels: labels.clone() }.logits(&model);
        let logits = logits.context("a batch without inputs")?;
        let hits = logits.clone().argmax(1).flatten::<1>(0, 1).equal(labels.clone());
        right += scalar(hits.int().float().sum());
        let likelihood = log_softmax(logits, 1).gather(1, labels.unsqueeze_dim(1));
        loss -= scalar(likelihood.sum());
    }
    let count = truth.len().max(1) as f64;
    Ok(Evaluation { accuracy: right / count, loss: loss / count })
}

fn scalar(tensor: Tensor<1>) -> f64 {
    tensor.into_data().iter::<f64>().next().unwrap_or(f64::NAN)
}
