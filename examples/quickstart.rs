//! Trains a small convolutional network on 1,437 handwritten digits with differential privacy, and
//! once more without, and compares the two on 360 images that neither has seen.
//!
//! ```text
//! cargo run --release --example quickstart
//! cargo run --release --example quickstart -- --epsilon 1 --steps 100
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn_dp::DpOptimizer;
use burn_dp::per_example::Traced;
use burn_dp::privacy::{Clipping, Delta, PrivacyPlan};
use burn_dp::sampling::PoissonSampler;
use burn_dp::seed::Seed;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{ProgressBar, ProgressStyle};

type Error = Box<dyn std::error::Error>;

// The model is an ordinary burn module.

#[derive(Module, Debug)]
struct Cnn {
    conv1: Conv2d,
    norm1: GroupNorm,
    conv2: Conv2d,
    norm2: GroupNorm,
    pool: MaxPool2d,
    out: Linear,
}

impl Cnn {
    fn new(device: &Device) -> Self {
        let conv = |channels| {
            Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Same).init(device)
        };
        Self {
            conv1: conv([1, 16]),
            norm1: GroupNormConfig::new(4, 16).init(device),
            conv2: conv([16, 16]),
            norm2: GroupNormConfig::new(4, 16).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            out: LinearConfig::new(16 * 4 * 4, 10).init(device),
        }
    }

    /// `[batch, 1, 8, 8]` to `[batch, 10]`.
    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let x = relu(self.norm1.forward(self.conv1.forward(images)));
        let x = relu(self.norm2.forward(self.conv2.forward(x)));
        self.out.forward(self.pool.forward(x).flatten(1, 3))
    }

    /// The loss that both runs train with.
    fn loss(&self, (images, labels): (Tensor<4>, Tensor<1, Int>)) -> Tensor<1> {
        let logits = self.forward(images);
        CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels)
    }
}

fn run(settings: &Settings) -> Result<(), Error> {
    let (train, held_out) = Digits::embedded()?.split();
    let device = Device::default().autodiff();
    if let Some(seed) = settings.seed {
        device.seed(seed); // burn's generator draws the initial weights
    }

    // What is promised, and what everything else follows from: sampling, clipping, noise, accounting.
    // The number of records is taken to be public here, so that a batch size gives a rate.
    let delta = Delta::new(settings.delta)?;
    let plan = PrivacyPlan::builder()
        .target(settings.epsilon, delta)
        .sampling_rate(settings.batch / train.len() as f64)
        .expected_batch_size(settings.batch)
        .steps(settings.steps)
        .clipping(Clipping::flat(settings.clipping_norm))
        .build()?;

    // The private run. It shows no training loss, which would be one more release of the data.
    let mut private = Cnn::new(&device);
    let engine = Traced::new(Cnn::loss);
    let mut optimizer = DpOptimizer::with_seed(plan, adam(), engine, settings.seed()?);
    println!("{}\n", optimizer.statement(delta));
    let progress = progress_bar("private", settings.steps);
    let start = Instant::now();
    while optimizer.steps_left().value() > 0 {
        let sample = optimizer.sample(train.len())?;
        let batch = sample.batches(256, |records| train.batch(records, &device))?;
        optimizer.step(settings.learning_rate, &mut private, batch)?;
        // A tight ε takes some milliseconds.
        if optimizer.steps_taken().value() % 10 == 0 {
            progress.set_message(format!("ε so far {:.2}", optimizer.epsilon(delta)?));
        }
        progress.inc(1);
    }
    let private_time = start.elapsed();
    progress.finish();

    // The same model, loss, optimizer, sampling and number of steps, without clipping and noise.
    let mut ordinary = Cnn::new(&device);
    let mut plain: ModuleOptimizer = adam();
    let rate = optimizer.plan().sampling_rate();
    let sampler = PoissonSampler::new(&settings.seed()?, rate, train.len())?;
    let progress = progress_bar("not private", settings.steps);
    let start = Instant::now();
    for step in 0..settings.steps {
        let records = sampler.sample(step);
        if !records.is_empty() {
            let loss = ordinary.loss(train.batch(&records, &device));
            let gradients = GradientsParams::from_grads(loss.backward(), &ordinary);
            ordinary = plain.step(settings.learning_rate, ordinary, gradients);
        }
        progress.inc(1);
    }
    let ordinary_time = start.elapsed();
    progress.finish();

    let percent = |model: &Cnn| -> Result<String, Error> {
        Ok(format!("{:.1} %", 100.0 * accuracy(model, &held_out, &device)?))
    };
    let step_time = |time: Duration| {
        format!("{:.1} ms", time.as_secs_f64() * 1e3 / settings.steps.max(1) as f64)
    };
    let spent = format!(
        "{:.2} at δ = {delta}\n{}",
        optimizer.epsilon(delta)?,
        optimizer.plan().adjacency(),
    );
    let steps = settings.steps.to_string();
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["", "private", "not private"]);
    table.add_row([
        format!("accuracy on {} held-out images", held_out.len()),
        percent(&private)?,
        percent(&ordinary)?,
    ]);
    table.add_row(["ε spent", spent.as_str(), "unbounded"]);
    table.add_row(["steps", &steps, &steps]);
    table.add_row(["time per step".to_owned(), step_time(private_time), step_time(ordinary_time)]);
    println!("\n{table}");
    Ok(())
}

fn adam() -> ModuleOptimizer {
    AdamConfig::new().init()
}

/// The fraction of `digits` whose label is the model's first choice.
fn accuracy(model: &Cnn, digits: &Digits, device: &Device) -> Result<f64, Error> {
    let all: Vec<usize> = (0..digits.len()).collect();
    let (images, labels) = digits.batch(&all, &device.clone().without_autodiff());
    let predicted = model.valid().forward(images).argmax(1).flatten::<1>(0, 1);
    let right = predicted.equal(labels).int().sum().into_data().iter::<i64>().sum::<i64>();
    Ok(right as f64 / digits.len() as f64)
}

fn progress_bar(name: &'static str, steps: u64) -> ProgressBar {
    let template = "{prefix:>11} {wide_bar} {pos}/{len} steps, {eta} left  {msg}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(steps).with_style(style).with_prefix(name)
}

/// Images of 8 x 8 pixels with their labels.
struct Digits(Vec<Digit>);

struct Digit {
    pixels: [f32; 64],
    label: i32,
}

#[derive(Debug, thiserror::Error)]
#[error("digits.csv, line {line}: expected 64 pixels from 0 to 16 and a label from 0 to 9")]
struct BadLine {
    line: usize,
}

impl Digits {
    /// The file in `examples/data`, whose README says where it comes from.
    fn embedded() -> Result<Self, BadLine> {
        let lines = include_str!("data/digits.csv").lines().enumerate();
        lines
            .map(|(i, line)| digit(line).ok_or(BadLine { line: i + 1 }))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Training set and held-out set: every fifth image is held out.
    fn split(self) -> (Self, Self) {
        let (mut train, mut held_out) = (Vec::new(), Vec::new());
        for (index, digit) in self.0.into_iter().enumerate() {
            if index % 5 == 0 { held_out.push(digit) } else { train.push(digit) }
        }
        (Self(train), Self(held_out))
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn batch(&self, records: &[usize], device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
        let count = records.len();
        let pixels: Vec<f32> = records.iter().flat_map(|&r| self.0[r].pixels).collect();
        let labels: Vec<i32> = records.iter().map(|&r| self.0[r].label).collect();
        let images = Tensor::from_data(TensorData::new(pixels, [count, 1, 8, 8]), device);
        (images, Tensor::from_data(TensorData::new(labels, [count]), device))
    }
}

/// Pixels are scaled to -1..1.
fn digit(line: &str) -> Option<Digit> {
    let numbers: Vec<u8> = line.split(',').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let (&label, pixels) = numbers.split_last()?;
    if label > 9 || pixels.iter().any(|&p| p > 16) {
        return None;
    }
    let pixels: Vec<f32> = pixels.iter().map(|&p| f32::from(p) / 8.0 - 1.0).collect();
    Some(Digit { pixels: pixels.try_into().ok()?, label: label.into() })
}

/// What can be set on the command line. The defaults are rules of thumb: choosing the best of several runs
/// by their accuracy would cost privacy that no plan accounts for.
#[derive(Debug)]
struct Settings {
    epsilon: f64,
    delta: f64,
    steps: u64,
    batch: f64,
    learning_rate: f64,
    clipping_norm: f64,
    seed: Option<u64>,
}

const USAGE: &str = "\
Options, each with a number:
  --epsilon        ε of the whole run         [3]
  --delta          δ, below 1 / 1437          [1e-5]
  --steps          number of steps            [150]
  --batch          expected batch size        [512]
  --learning-rate  of Adam                    [0.01]
  --clipping-norm  L2 norm of one gradient    [1]
  --seed           repeat a run; not private  [from the operating system]";

impl Settings {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut settings = Self {
            epsilon: 3.0,
            delta: 1e-5,
            steps: 150,
            batch: 512.0,
            learning_rate: 0.01,
            clipping_norm: 1.0,
            seed: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_default();
            let wrong = || format!("{name} {value}: not understood.\n{USAGE}");
            let number = || value.parse::<f64>().map_err(|_| wrong());
            let count = || value.parse::<u64>().map_err(|_| wrong());
            match name.as_str() {
                "--epsilon" => settings.epsilon = number()?,
                "--delta" => settings.delta = number()?,
                "--steps" => settings.steps = count()?,
                "--batch" => settings.batch = number()?,
                "--learning-rate" => settings.learning_rate = number()?,
                "--clipping-norm" => settings.clipping_norm = number()?,
                "--seed" => settings.seed = Some(count()?),
                _ => return Err(wrong()),
            }
        }
        Ok(settings)
    }

    /// The operating system's randomness, unless a run is to be repeated.
    fn seed(&self) -> Result<Seed, Error> {
        Ok(self.seed.map_or_else(Seed::from_os, |number| Ok(Seed::reproducible(number)))?)
    }
}

fn main() -> ExitCode {
    let settings = match Settings::parse(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::FAILURE;
        }
    };
    match run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
