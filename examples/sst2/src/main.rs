//! Fine-tunes a sentence encoder for sentiment with differential privacy: `cargo run --release -p sst2`.
//!
//! `examples/data.sh` gets the encoder (MiniLM-L6) and Rotten Tomatoes' sentences, which are not SST-2 but
//! come from the same pool. If you have GLUE's SST-2, its files are used instead; the run says which.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use finetune::run::task::{TextArgs, sentiment};
use finetune::run::{Args, fine_tune};

#[derive(Parser)]
#[command(about = "Fine-tunes a sentence encoder for sentiment with differential privacy")]
struct Flags {
    #[command(flatten)]
    task: TextArgs,
    #[command(flatten)]
    run: Args,
}

fn main() -> ExitCode {
    let Flags { task, run } = Flags::parse();
    fine_tune(sentiment, &task, &run)
}
