//! Fine-tunes a pretrained model with differential privacy, on known data or on your own:
//!
//! ```sh
//! cargo run --release -p dp-finetune -- rotten-tomatoes --method bitfit --epsilon 8
//! cargo run --release -p dp-finetune -- text --train notes.csv --text note --label diagnosis --model my-bert
//! cargo run --release -p dp-finetune -- images --train photos --model my-vit
//! cargo run --release -p dp-finetune -- predict --run out/text-head-3-random "no fever since Monday"
//! ```

#![forbid(unsafe_code)]

mod commands;
mod language;

use std::process::ExitCode;

use clap::Parser;
use finetune::run::exit_code;

use commands::Command;

#[derive(Parser)]
#[command(about = "Fine-tunes pretrained models with differential privacy")]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    exit_code(Flags::parse().command.run())
}
