//! See the library's first lines, and `federated simulate --help`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use burn_dp::federated::worker::is_worker_argument;
use clap::{Parser, Subcommand};
use federated::{Output, Settings, simulate, worker};
use finetune::run::exit_code;

#[derive(Parser)]
#[command(about = "Clients that may not share their data fine-tune one pretrained model together")]
#[command(
    after_help = "`server FOLDER STATE`, `client FOLDER STATE` and `--protocol` are for a transport: \
                        see crates/flower/README.md; `budget STATE` is for a node's operator"
)]
struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// All clients in this process, with the same messages as between machines
    Simulate {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        output: Output,
    },
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let first = arguments.first().and_then(|first| first.to_str()).unwrap_or_default();
    if is_worker_argument(first) {
        return worker(&arguments);
    }
    let Command::Simulate { settings, output } = Flags::parse().command;
    exit_code(simulate(&settings, &output))
}
