//! Using what was fine-tuned.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::Module;
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};

use super::task::{Classifier, Part, Task};

/// Classifies texts, or image files, or the first `test` held-out records, by the run in `run`; returns a line each.
pub(super) fn with<T: Task>(
    task: &T,
    run: &Path,
    inputs: &[String],
    test: usize,
) -> Result<Vec<String>> {
    let device = Device::flex();
    let model = loaded(task, run, &device)?;
    lines(task, &model, inputs, test, &device)
}

/// The pretrained model with the fine-tuned weights.
fn loaded<T: Task>(task: &T, run: &Path, device: &Device) -> Result<T::Model> {
    let mut model = task.model(device)?;
    let file = run.join("model.safetensors");
    ensure!(file.exists(), "{} has no weights: let the run finish", run.display());
    let mut store = SafetensorsStore::from_file(&file);
    model.load_from(&mut store).map_err(|error| anyhow!("{}: {error}", file.display()))?;
    Ok(model.valid())
}

fn lines<T: Task>(
    task: &T,
    model: &T::Model,
    inputs: &[String],
    test: usize,
    device: &Device,
) -> Result<Vec<String>> {
    let classes = task.classes();
    let best = |inputs: T::Inputs| -> Result<(usize, f32)> {
        let logits: Tensor<2> = model.classify(model.features(inputs));
        let chances: Vec<f32> = softmax(logits, 1).into_data().iter().collect();
        let best = chances.into_iter().enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        best.context("the model has no classes")
    };
    let mut lines = Vec::new();
    for input in inputs {
        let (class, chance) = best(task.read(input, device)?)?;
        lines.push(format!("{} ({:.1} %): {input}", classes[class], 100.0 * chance));
    }
    let targets = task.targets(Part::Test);
    for record in 0..test.min(targets.len()) {
        let (class, chance) = best(task.inputs(Part::Test, &[record], device))?;
        let truth = &classes[targets.labels()[record] as usize];
        lines.push(format!("{} ({:.1} %), in truth {truth}", classes[class], 100.0 * chance));
    }
    Ok(lines)
}
