//! Fine-tunes a sentence encoder for sentiment with differential privacy: `cargo run --release -p sst2`.
//!
//! `examples/data.sh` gets the encoder (MiniLM-L6) and Rotten Tomatoes' sentences, which are not SST-2 but
//! come from the same pool. If you have GLUE's SST-2, its files are used instead; the run says which.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use finetune::data;
use finetune::run::task::{TextArgs, sentiment};
use finetune::run::{Args, exit_code, run};

#[derive(Parser)]
#[command(about = "Fine-tunes a sentence encoder for sentiment with differential privacy")]
struct Flags {
    #[command(flatten)]
    task: TextArgs,
    #[command(flatten)]
    run: Args,
}

fn main() -> ExitCode {
    exit_code(started(&Flags::parse()))
}

fn started(flags: &Flags) -> anyhow::Result<()> {
    let folder = data::folder()?;
    let task = sentiment(&folder, &flags.task)?;
    run(&task, serde_json::to_value(&flags.task)?, &flags.run, &folder)?;
    Ok(())
}
