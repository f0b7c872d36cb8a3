//! Accuracy on the held-out records.

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::Tensor;

use super::batches::Records;
use super::targets::{losses, right};
use super::task::Task;

/// Records at a time.
const CHUNK: usize = 100;

/// What the model does on records that it was not trained on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluation {
    /// The share of answers that are right.
    pub(super) accuracy: f64,
    pub(super) loss: f64,
}

/// Tests `model` on held-out records.
pub(super) fn evaluate<T: Task>(records: &Records<T>, model: &T::Model) -> Result<Evaluation> {
    let model = model.valid();
    let mut all: Vec<usize> = (0..records.count()).collect();
    all.sort_by_key(|record| records.size(*record));
    let (mut hits, mut answers, mut loss) = (0.0, 0.0, 0.0);
    for chunk in all.chunks(CHUNK) {
        let batch = records.load(chunk);
        let (objective, targets) = (batch.objective, batch.targets.clone());
        let logits = batch.logits(&model).context("a batch without inputs")?;
        let (more, of) = right(objective, logits.clone(), targets.clone());
        (hits, answers) = (hits + more, answers + of);
        loss += scalar(losses(objective, logits, targets, None).sum());
    }
    let count = records.count().max(1) as f64;
    Ok(Evaluation { accuracy: hits / answers.max(1.0), loss: loss / count })
}

fn scalar(tensor: Tensor<1>) -> f64 {
    tensor.into_data().iter::<f64>().next().unwrap_or(f64::NAN)
}
