//! Using what was fine-tuned.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use burn::module::Module;
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};

use super::report::Summary;
use super::task::{Classifier, ImageArgs, Part, Task, TextArgs, cifar10, sentiment};

/// Classifies texts, or PNG files, or the first `test` held-out records, by the run in `run`; returns a line
/// each.
///
/// # Errors
/// When the run, its data or an input cannot be read.
pub fn predict(run: &Path, folder: &Path, inputs: &[String], test: usize) -> Result<Vec<String>> {
    let file = run.join("run.json");
    let text = fs::read_to_string(&file)
        .with_context(|| format!("{} is no finished run: cannot read run.json", run.display()))?;
    let summary: Summary =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", file.display()))?;
    let device = Device::flex();
    match summary.task.as_str() {
        "sst2" => {
            let args: TextArgs = serde_json::from_value(summary.settings.clone())?;
            let task = sentiment(folder, &args)?;
            let model = loaded(&task, run, &device)?;
            let read = |text: &String| task.encode(text, &device);
            lines(&task, &model, inputs, test, read, &device)
        }
        "cifar10" => {
            let args: ImageArgs = serde_json::from_value(summary.settings.clone())?;
            let task = cifar10(folder, &args)?;
            let model = loaded(&task, run, &device)?;
            let read = |path: &String| {
                let (pixels, height, width) = rgb(Path::new(path))?;
                Ok(task.preprocess(pixels, height, width, &device))
            };
            lines(&task, &model, inputs, test, read, &device)
        }
        other => bail!("{} is a run of the unknown task {other}", run.display()),
    }
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
    read: impl Fn(&String) -> Result<T::Inputs>,
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
        let (class, chance) = best(read(input)?)?;
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

/// A PNG's pixels, channel by channel, with its height and width.
fn rgb(path: &Path) -> Result<(Vec<u8>, usize, usize)> {
    let unusable = || format!("{} is no 8-bit RGB PNG", path.display());
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut decoder = png::Decoder::new(std::io::Cursor::new(bytes));
    decoder.set_transformations(png::Transformations::STRIP_16 | png::Transformations::EXPAND);
    let mut reader = decoder.read_info().with_context(unusable)?;
    let mut pixels = vec![0; reader.output_buffer_size().with_context(unusable)?];
    let info = reader.next_frame(&mut pixels).with_context(unusable)?;
    let channels = info.color_type.samples();
    ensure!(matches!(info.color_type, png::ColorType::Rgb | png::ColorType::Rgba), unusable());
    let pixels = &pixels[..info.buffer_size()];
    let planes = (0..3).flat_map(|c| pixels.iter().skip(c).step_by(channels).copied()).collect();
    Ok((planes, info.height as usize, info.width as usize))
}
