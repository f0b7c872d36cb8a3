//! Many clients train one digit classifier together, each with a few handwritten digits of its own, and what they end with
//! says provably little about any one client.
//!
//! ```text
//! cargo run --release --example federated_digits                       # 240 clients in this process
//! cargo run --release --example federated_digits -- --clients 480 --epsilon 3
//! ```
//!
//! The same program is the worker that a transport runs at both ends. Its server wants `clients.txt` in its state folder (the
//! clients' names, one a line), its clients a file `share` (`2/4`: the second quarter of the digits is mine):
//!
//! ```text
//! burn-dp-flower loopback target/release/examples/federated_digits trial
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig};
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_dp::Result;
use burn_dp::federated::worker::{self, Task, TaskError};
use burn_dp::federated::{
    ClientId, FederatedPlan, Request, RunId, Server, ServerOptimizer, Trained, Training, simulate,
    weights,
};
use burn_dp::privacy::{Clipping, Delta, PrivacyPlan};
use burn_dp::seed::SeedSource;
use clap::Parser;

fn main() -> ExitCode {
    let first = std::env::args().nth(1).unwrap_or_default();
    if worker::is_worker_argument(&first) {
        return worker::main(&Digits { seed: seed() });
    }
    match simulated(&Settings::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Trains a digit classifier with client-level differential privacy, all clients in this process.
#[derive(Parser)]
struct Settings {
    /// How many clients share the 1,437 training digits.
    #[arg(long, default_value_t = 240)]
    clients: usize,
    /// A file with the clients' names, one a line, instead of a number of them.
    #[arg(long)]
    names: Option<PathBuf>,
    /// ε of the whole run, at δ = 1e-4.
    #[arg(long, default_value_t = EPSILON)]
    epsilon: f64,
}

const EPSILON: f64 = 8.0;
const DELTA: f64 = 1e-4;
const LOCAL_STEPS: usize = 5;

/// What all roles have in common: the plan, and how a client trains.
struct Digits {
    seed: SeedSource,
}

/// For experiments without privacy, `BURN_DP_SEED=7` makes a run repeatable.
fn seed() -> SeedSource {
    let number = std::env::var("BURN_DP_SEED").ok().and_then(|number| number.parse().ok());
    number.map_or(SeedSource::OperatingSystem, SeedSource::Reproducible)
}

/// 60, unless `ROUNDS` makes a trial shorter.
fn rounds() -> u64 {
    std::env::var("ROUNDS").ok().and_then(|number| number.parse().ok()).unwrap_or(60)
}

fn plan(clients: Vec<ClientId>, epsilon: f64) -> Result<FederatedPlan> {
    // At least 60 clients in each round, or all where there are fewer.
    let rate = (60.0 / clients.len() as f64).min(1.0);
    let privacy = PrivacyPlan::builder()
        .target(epsilon, DELTA)
        .sampling_rate(rate)
        .expected_batch_size(rate * clients.len() as f64)
        .steps(rounds())
        .clipping(Clipping::flat(0.5))
        .build()?;
    let manifest = weights::manifest(&model())?;
    FederatedPlan::builder(RunId::new("digits")?, manifest, clients, privacy)
        .optimizer(ServerOptimizer::Momentum { learning_rate: 1.0, momentum: 0.8 })
        .deadline(300)
        .build()
}

/// Zeros, so that everybody begins alike.
fn model() -> Linear {
    let device = Device::default().autodiff();
    LinearConfig::new(64, 10).with_initializer(burn::nn::Initializer::Zeros).init(&device)
}

/// A few steps on one client's digits.
fn train(request: &Request, digits: &[&str]) -> Result<Vec<f32>> {
    let mut model = weights::of_request(model(), request)?;
    let mut optimizer: ModuleOptimizer = SgdConfig::new().init();
    let (images, labels) = batch(digits);
    for _ in 0..LOCAL_STEPS {
        let logits = model.forward(images.clone());
        let loss = CrossEntropyLossConfig::new().init(&logits.device());
        let gradients = loss.forward(logits, labels.clone()).backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = optimizer.step(0.1, model, gradients);
    }
    weights::read(&model)
}

fn simulated(settings: &Settings) -> Result<(), TaskError> {
    let names = match &settings.names {
        Some(file) => listed(file)?,
        None => (0..settings.clients)
            .map(|n| ClientId::new(format!("client-{n}")))
            .collect::<Result<_, _>>()?,
    };
    let plan = plan(names, settings.epsilon)?;
    let delta = Delta::new(DELTA)?;
    println!("{}\n", plan.statement(delta)?);
    let population = plan.population().to_vec();
    let train = |client: &ClientId, training: &Training| {
        let index = population.binary_search(client).unwrap_or_default();
        train(&training.request, &share(index, population.len()))
    };
    let start = weights::read(&model())?;
    let ended = simulate(plan, start, seed(), train, |round| {
        if round.round.is_multiple_of(10) {
            let accuracy = accuracy(round.weights).map_or(f64::NAN, |share| 100.0 * share);
            println!("round {:3}: {accuracy:.1} % of 360 held-out digits", round.round);
        }
    })?;
    println!("{:.1} %, digest {:08x}", 100.0 * accuracy(&ended.weights)?, digest(&ended.weights));
    println!("{} bytes down, {} bytes up", ended.bytes_down, ended.bytes_up);
    Ok(())
}

impl Task for Digits {
    fn plan(&self, state: &Path) -> Result<FederatedPlan, TaskError> {
        Ok(plan(listed(&state.join("clients.txt"))?, EPSILON)?)
    }

    fn weights(&self) -> Result<Vec<f32>, TaskError> {
        Ok(weights::read(&model())?)
    }

    fn train(&self, training: &Training, state: &Path) -> Result<Trained, TaskError> {
        let text = text(&state.join("share"))?;
        let numbers = text.trim().split_once('/').map(|(one, all)| (one.parse(), all.parse()));
        match numbers {
            Some((Ok(one), Ok(all))) if (1..=all).contains(&one) => {
                Ok(train(&training.request, &share(one - 1, all))?.into())
            }
            _ => Err(format!("`share` says {text:?}; write 2/4 for the second quarter").into()),
        }
    }

    fn released(&self, server: &Server) -> Result<(), TaskError> {
        let accuracy = 100.0 * accuracy(server.weights())?;
        let (round, digest) = (server.round(), digest(server.weights()));
        eprintln!("round {round}: {accuracy:.1} % of 360 held-out digits, digest {digest:08x}");
        Ok(())
    }

    fn seed(&self) -> SeedSource {
        self.seed
    }
}

/// The names in a file, one a line.
fn listed(file: &Path) -> Result<Vec<ClientId>, TaskError> {
    let text = text(file)?;
    let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
    names.map(|name| Ok(ClientId::new(name)?)).collect()
}

fn text(file: &Path) -> Result<String, TaskError> {
    fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()).into())
}

/// The held-out digits are every fifth.
fn lines(held_out: bool) -> impl Iterator<Item = &'static str> {
    let lines = include_str!("data/digits.csv").lines().enumerate();
    lines.filter(move |(index, _)| (index % 5 == 0) == held_out).map(|(_, line)| line)
}

/// The digits of one client of many.
fn share(index: usize, of: usize) -> Vec<&'static str> {
    lines(false).skip(index).step_by(of.max(1)).collect()
}

fn batch(digits: &[&str]) -> (Tensor<2>, Tensor<1, Int>) {
    let device = Device::default().autodiff();
    let numbers = |line: &str| line.split(',').filter_map(|n| n.parse().ok()).collect::<Vec<i32>>();
    let rows: Vec<Vec<i32>> = digits.iter().map(|line| numbers(line)).collect();
    let pixels = rows.iter().flat_map(|row| &row[..64]).map(|pixel| *pixel as f32 / 8.0 - 1.0);
    let pixels = TensorData::new(pixels.collect::<Vec<f32>>(), [rows.len(), 64]);
    let labels = rows.iter().map(|row| row[64]).collect::<Vec<i32>>();
    let labels = TensorData::new(labels, [rows.len()]);
    (Tensor::from_data(pixels, &device), Tensor::from_data(labels, &device))
}

/// Of the held-out digits, which are public here.
fn accuracy(of: &[f32]) -> Result<f64> {
    let (images, labels) = batch(&lines(true).collect::<Vec<_>>());
    let guesses = weights::write(model(), of)?.forward(images).argmax(1).squeeze_dim::<1>(1);
    let right = guesses.equal(labels).int().sum().into_scalar::<i64>();
    Ok(right as f64 / lines(true).count() as f64)
}

/// Tells runs apart: FNV-1a over the bits.
fn digest(weights: &[f32]) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    weights.iter().flat_map(|x| x.to_bits().to_le_bytes()).fold(0x811c_9dc5, step)
}
