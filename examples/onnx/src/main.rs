//! Fine-tunes the converted encoder on made-up sentences, with differential privacy:
//!
//! ```sh
//! cargo run --release -p onnx-encoder
//! cargo run --release -p onnx-encoder -- --train full --also encoder.constant1 --epsilon 8
//! ```

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::{DType, Device};
use burn_dp::DpOptimizer;
use burn_dp::per_example::Traced;
use burn_dp::privacy::{Clipping, Delta, PrivacyPlan};
use clap::Parser;
use onnx_encoder::TOPICS;
use onnx_encoder::classifier::Classifier;
use onnx_encoder::sentences::Sentences;
use onnx_encoder::trained::Trained;

#[derive(Parser)]
#[command(about = "Fine-tunes an encoder from an ONNX file with differential privacy")]
struct Settings {
    /// What is trained, besides the new head.
    #[arg(long, value_enum, default_value = "biases")]
    train: Trained,
    /// A constant that is trained as well, by its path: `--also encoder.constant1`, the table of words.
    #[arg(long, value_name = "PATH")]
    also: Vec<String>,
    /// ε of the whole run.
    #[arg(long, default_value_t = 3.0)]
    epsilon: f64,
    /// δ, below one in the number of records.
    #[arg(long, default_value_t = 1e-5)]
    delta: f64,
    #[arg(long, default_value_t = 60)]
    steps: u64,
    /// Expected batch size.
    #[arg(long, default_value_t = 400.0)]
    batch: f64,
    /// Adam's learning rate.
    #[arg(long, default_value_t = 0.01)]
    lr: f64,
}

fn run(settings: &Settings) -> Result<()> {
    let (train, held_out) = (Sentences::draw(4_000, 1), Sentences::draw(1_000, 2));
    let device = Device::default().autodiff();

    let model = Classifier::new(TOPICS, &device);
    let selection = settings.train.and(&settings.also)?.select(&model)?;
    println!("{selection}\n");
    let mut model = selection.apply(model)?;

    let delta = Delta::new(settings.delta)?;
    let plan = PrivacyPlan::builder()
        .target(settings.epsilon, delta)
        .sampling_rate(settings.batch / train.len() as f64)
        .expected_batch_size(settings.batch)
        .steps(settings.steps)
        .clipping(Clipping::flat(1.0))
        .build()?;
    let engine = Traced::new(Classifier::loss);
    let mut optimizer = DpOptimizer::new(plan, AdamConfig::new().init(), engine)?;
    println!("{}\n", optimizer.statement(delta));

    while optimizer.steps_left().value() > 0 {
        let sample = optimizer.sample(train.len())?;
        let batch = sample.batches(256, |records| train.batch(records, &device))?;
        optimizer.step(settings.lr, &mut model, batch)?;
    }
    let accuracy = 100.0 * accuracy(&model, &held_out, &device);
    let epsilon = optimizer.epsilon(delta)?;
    println!("{accuracy:.1} % of {} held-out sentences, ε = {epsilon:.2}", held_out.len());
    Ok(())
}

/// The fraction of sentences whose topic is the model's first choice.
fn accuracy(model: &Classifier, sentences: &Sentences, device: &Device) -> f64 {
    let all: Vec<usize> = (0..sentences.len()).collect();
    let (tokens, topics) = sentences.batch(&all, &device.clone().without_autodiff());
    let predicted = model.valid().forward(tokens).argmax(1).squeeze_dim::<1>(1).cast(DType::I64);
    let right = predicted.equal(topics).int().sum().into_data().iter::<i64>().sum::<i64>();
    right as f64 / sentences.len() as f64
}

fn main() -> ExitCode {
    match run(&Settings::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
