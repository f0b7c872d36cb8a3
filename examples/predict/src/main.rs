//! Classifies with what `cifar10` or `sst2` fine-tuned:
//!
//! ```sh
//! cargo run --release -p predict -- --run out/sst2-head-3-random "a joy from start to finish"
//! ```

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use finetune::data;
use finetune::run::{exit_code, predict};

#[derive(Parser)]
#[command(about = "Classifies texts or PNG images with a fine-tuned model")]
struct Flags {
    /// The output folder of a finished run
    #[arg(long)]
    run: PathBuf,
    /// Classify the first so many held-out records as well
    #[arg(long, default_value_t = 0)]
    test: usize,
    /// Texts, or PNG files
    inputs: Vec<String>,
}

fn main() -> ExitCode {
    exit_code(classify(&Flags::parse()))
}

fn classify(flags: &Flags) -> anyhow::Result<()> {
    for line in predict(&flags.run, &data::folder()?, &flags.inputs, flags.test)? {
        println!("{line}");
    }
    Ok(())
}
