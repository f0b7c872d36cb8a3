//! Fine-tunes an ImageNet network on CIFAR-10 with differential privacy: `cargo run --release -p cifar10`.
//!
//! `examples/data.sh` gets the data and the weights. Without flags it trains a new head on EfficientNet-Lite0
//! at ε = 3, δ = 1e-5, on all 50,000 images.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use finetune::run::task::{ImageArgs, cifar10};
use finetune::run::{Args, fine_tune};

#[derive(Parser)]
#[command(about = "Fine-tunes an ImageNet network on CIFAR-10 with differential privacy")]
struct Flags {
    #[command(flatten)]
    task: ImageArgs,
    #[command(flatten)]
    run: Args,
}

fn main() -> ExitCode {
    let Flags { task, run } = Flags::parse();
    fine_tune(cifar10, &task, &run)
}
