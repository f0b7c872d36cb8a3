//! One workload of the comparison with other libraries: whole training steps, timed, in a process of its own.
//!
//! `benches/peers/steps.py` runs this program in turn with its peers' and makes the tables of
//! docs/performance.md. By hand:
//!
//! ```sh
//! cargo bench -p finetune --bench workloads -- --workload encoder --train bias --mode private
//! ```

mod models;
mod steps;

use burn::tensor::{Device, Distribution, FloatDType, Int, Tensor};
use clap::{Parser, ValueEnum};

use models::{Block, BlockConfig, Cnn, Recurrent, WordClassifier, encoder};
use steps::{Report, steps};

use finetune::models::vision::SqueezeNetConfig;
use finetune::run::DeviceArg;

/// Times training steps of one workload, and prints one line of JSON.
#[derive(Debug, Parser)]
pub struct Args {
    #[arg(long, value_enum)]
    workload: Workload,
    #[arg(long, value_enum, default_value_t = Mode::Private)]
    mode: Mode,
    /// What is trained
    #[arg(long, value_enum, default_value_t = Train::Full)]
    train: Train,
    /// Examples in a physical batch
    #[arg(long)]
    batch: Option<usize>,
    /// Physical batches in a step
    #[arg(long, default_value_t = 1)]
    parts: usize,
    /// Tokens, time steps or pixels
    #[arg(long)]
    length: Option<usize>,
    /// Width of the block
    #[arg(long, default_value_t = 384)]
    width: usize,
    /// Steps that are timed, after two that are not
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceArg::Cpu)]
    device: DeviceArg,
    /// What weights and data are
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    dtype: Precision,
    /// cargo bench passes it
    #[arg(long, hide = true)]
    bench: bool,
}

/// What runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Workload {
    /// A: a small convolutional network on 3 x 32 x 32
    Cnn,
    /// B: one transformer block
    Block,
    /// C: the MiniLM-L6 encoder and a classifier
    Encoder,
    /// D: SqueezeNet 1.1
    Squeezenet,
    /// E: an LSTM
    Lstm,
    /// F: a text classifier that is mostly embeddings
    Words,
}

/// How a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// burn's autodiff and optimizer
    Ordinary,
    /// DpOptimizer
    Private,
}

/// The type of the model's numbers. Norms, sums and noise are f32 all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    F32,
    Bf16,
}

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Train {
    Full,
    /// Biases, shifts and the head
    Bias,
    /// Adapters of rank 8, and the head
    Lora,
    Head,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut device = args.device.device();
    if args.dtype == Precision::Bf16 {
        device.configure(FloatDType::BF16)?;
    }
    let report = run(&args, &device.autodiff())?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

fn run(args: &Args, device: &Device) -> anyhow::Result<Report> {
    let batch = |default: usize| args.batch.unwrap_or(default);
    let length = |default: usize| args.length.unwrap_or(default);
    let normal = Distribution::Normal(0.0, 1.0);
    match args.workload {
        Workload::Cnn => {
            let (n, size) = (batch(64), length(32));
            let x = Tensor::<4>::random([n, 3, size, size], normal, device);
            steps(args, Cnn::new(size, device), (x, labels(n, 10, device)), Cnn::loss)
        }
        Workload::Block => {
            let (n, t) = (batch(16), length(128));
            let config = BlockConfig::new(args.width);
            let x = Tensor::<3>::random([n, t, args.width], normal, device);
            steps(args, config.init(device), (x, labels(n, 2, device)), Block::loss)
        }
        Workload::Encoder => {
            let (n, t) = (batch(32), length(128));
            let mask = Tensor::<2>::ones([n, t], device);
            let data = (tokens(n, t, 30_522, device), mask, labels(n, 2, device));
            steps(args, encoder(device)?, data, models::encoder_loss)
        }
        Workload::Squeezenet => {
            let (n, size) = (batch(32), length(96));
            let x = Tensor::<4>::random([n, 3, size, size], normal, device);
            let model = SqueezeNetConfig::new(10).init(device);
            steps(args, model, (x, labels(n, 10, device)), models::squeezenet_loss)
        }
        Workload::Lstm => {
            let (n, t) = (batch(32), length(64));
            let x = Tensor::<3>::random([n, t, 256], normal, device);
            steps(args, Recurrent::new(256, device), (x, labels(n, 2, device)), Recurrent::loss)
        }
        Workload::Words => {
            let (n, t) = (batch(64), length(128));
            let data = (tokens(n, t, models::VOCABULARY, device), labels(n, 2, device));
            steps(args, WordClassifier::new(device), data, WordClassifier::loss)
        }
    }
}

/// The same tokens as the peers': spread over the vocabulary by a multiplication.
fn tokens(batch: usize, length: usize, vocabulary: usize, device: &Device) -> Tensor<2, Int> {
    let tokens: Vec<i32> = (0..batch * length).map(|i| (i * 7919 % vocabulary) as i32).collect();
    Tensor::<1, Int>::from_data(tokens.as_slice(), device).reshape([batch, length])
}

fn labels(batch: usize, classes: usize, device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = (0..batch).map(|i| (i % classes) as i32).collect();
    Tensor::from_data(labels.as_slice(), device)
}
