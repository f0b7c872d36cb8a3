//! Trains a digit classifier with differential privacy through burn's `Learner`, with its dashboard:
//! accuracy and loss on held-out digits, and ε as it is spent.
//!
//! ```text
//! cargo run --release --features train --example learner
//! ```
//!
//! In a terminal the dashboard is drawn; elsewhere only the summary is printed. Logs and metrics go to
//! `out/learner`.

use burn::data::dataloader::DataLoaderBuilder;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::AdamConfig;
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn::train::metric::{AccuracyMetric, LossMetric};
use burn::train::{ClassificationOutput, InferenceStep, SupervisedTraining};
use burn_dp::DpOptimizer;
use burn_dp::per_example::Traced;
use burn_dp::privacy::{Clipping, Delta, PrivacyPlan};
use burn_dp::train::{EpsilonMetric, PrivateTrainer};

/// Logical steps; an epoch is [`EPOCH`] of them.
const STEPS: u64 = 150;
const EPOCH: u64 = 15;
/// Expected size of a logical batch.
const BATCH: f64 = 512.0;
/// Records in memory at a time.
const PHYSICAL: usize = 256;

#[derive(Module, Debug)]
struct Classifier {
    hidden: Linear,
    out: Linear,
}

/// Pixels `[batch, 64]` and labels `[batch]`.
type Digits = (Tensor<2>, Tensor<1, Int>);

impl Classifier {
    fn new(device: &Device) -> Self {
        let [hidden, out] = [(64, 64), (64, 10)].map(|(i, o)| LinearConfig::new(i, o).init(device));
        Self { hidden, out }
    }

    fn outputs(&self, (pixels, labels): Digits) -> ClassificationOutput {
        let logits = self.out.forward(relu(self.hidden.forward(pixels)));
        let loss = CrossEntropyLossConfig::new().init(&logits.device());
        let loss = loss.forward(logits.clone(), labels.clone());
        ClassificationOutput::new(loss, logits, labels)
    }
}

/// What the Learner does with held-out digits. Its training step is the trainer's.
impl InferenceStep for Classifier {
    type Input = Digits;
    type Output = ClassificationOutput;

    fn step(&self, digits: Digits) -> ClassificationOutput {
        self.outputs(digits)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (train, held_out): (Vec<_>, Vec<_>) =
        digits()?.into_iter().enumerate().partition(|(i, _)| i % 5 != 0);
    let [train, held_out] =
        [train, held_out].map(|part| part.into_iter().map(|(_, digit)| digit).collect::<Vec<_>>());
    let device = Device::default().autodiff();

    let delta = Delta::new(1e-5)?;
    let plan = PrivacyPlan::builder()
        .target(3.0, delta)
        .sampling_rate(BATCH / train.len() as f64)
        .expected_batch_size(BATCH)
        .steps(STEPS)
        .clipping(Clipping::flat(1.0))
        .build()?;
    let loss = |model: &Classifier, digits: Digits| model.outputs(digits).loss;
    let optimizer = DpOptimizer::new(plan, AdamConfig::new().init(), Traced::new(loss))?;
    let trainer = PrivateTrainer::new(optimizer, delta);
    let statement = trainer.statement();

    let train = trainer.loader(InMemDataset::new(train), Collate, PHYSICAL, &device, EPOCH)?;
    let valid =
        DataLoaderBuilder::new(Collate).batch_size(PHYSICAL).build(InMemDataset::new(held_out));
    let training = SupervisedTraining::new("out/learner", train, valid)
        .metric_train_numeric(EpsilonMetric::new())
        .metric_valid_numeric(AccuracyMetric::new())
        .metric_valid_numeric(LossMetric::new())
        .num_epochs(STEPS.div_ceil(EPOCH) as usize)
        .summary();
    trainer.stop_through(training.interrupter());
    let schedule = CosineAnnealingLrSchedulerConfig::new(1e-2, STEPS as usize).init()?;
    let result = training.launch(trainer.learner(Classifier::new(&device), schedule));
    drop(result.renderer); // the dashboard gives the terminal back

    trainer.outcome()?;
    println!("{statement}");
    Ok(())
}

/// One image of 8 x 8 pixels.
#[derive(Clone, Debug)]
struct Digit {
    pixels: Vec<f32>,
    label: i32,
}

#[derive(Clone)]
struct Collate;

impl Batcher<Digit, Digits> for Collate {
    fn batch(&self, digits: Vec<Digit>, device: &Device) -> Digits {
        let labels: Vec<i32> = digits.iter().map(|digit| digit.label).collect();
        let pixels: Vec<f32> = digits.into_iter().flat_map(|digit| digit.pixels).collect();
        let pixels = TensorData::new(pixels, [labels.len(), 64]);
        (Tensor::from_data(pixels, device), Tensor::from_data(labels.as_slice(), device))
    }
}

/// The digits of `examples/data`, scaled to -1..1.
fn digits() -> Result<Vec<Digit>, std::num::ParseFloatError> {
    let digit = |line: &str| {
        let numbers: Vec<f32> = line.split(',').map(str::parse).collect::<Result<_, _>>()?;
        let (pixels, label) = numbers.split_at(64.min(numbers.len()));
        let pixels = pixels.iter().map(|pixel| pixel / 8.0 - 1.0).collect();
        Ok(Digit { pixels, label: label.first().map_or(0, |label| *label as i32) })
    };
    include_str!("data/digits.csv").lines().map(digit).collect()
}
