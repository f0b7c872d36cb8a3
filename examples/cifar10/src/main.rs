//! Fine-tunes an ImageNet network on CIFAR-10 with differential privacy: `cargo run --release -p cifar10`.
//!
//! `examples/data.sh` gets the data and the weights. Without flags it trains a new head on EfficientNet-Lite0
//! at ε = 3, δ = 1e-5, on all 50,000 images.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use finetune::data;
use finetune::run::task::{ImageArgs, cifar10};
use finetune::run::{Args, exit_code, run};

#[derive(Parser)]
#[command(about = "Fine-tunes an ImageNet network on CIFAR-10 with differential privacy")]
struct Flags {
    #[command(flatten)]
    task: ImageArgs,
    #[command(flatten)]
    run: Args,
}

fn main() -> ExitCode {
    exit_code(started(&Flags::parse()))
}

fn started(flags: &Flags) -> anyhow::Result<()> {
    let folder = data::folder()?;
    let task = cifar10(&folder, &flags.task)?;
    run(&task, serde_json::to_value(&flags.task)?, &flags.run, &folder)?;
    Ok(())
}
