//! A privacy calculator: what a run of DP-SGD guarantees, or what it may do within a budget.
//!
//! ```text
//! cargo run --release -p burn-dp-accounting --features cli -- \
//!     --dataset-size 60000 --batch-size 600 --noise-multiplier 1 --steps 1000 --delta 1e-5
//! cargo run --release -p burn-dp-accounting --features cli -- \
//!     --sampling-rate 0.01 --steps 1000 --delta 1e-5 --epsilon 1 --solve noise-multiplier
//! cargo run --release -p burn-dp-accounting --features cli -- --jsonl < rows.jsonl
//! ```
//!
//! `--help` lists everything, `--plot FILE.svg` draws ε over the steps. With `--jsonl` many questions come
//! from a file, one JSON object a line in the form of `tests/data/accounting.json`.

mod accountants;
mod args;
mod chart;
mod failure;
mod jsonl;
mod question;
mod report;
mod run;

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use args::Args;
use clap::Parser;
pub use failure::Failure;

fn main() -> ExitCode {
    match answer(std::env::args_os(), io::stdin().lock(), io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.explain(),
    }
}

/// Everything the program does, for given arguments and streams.
pub fn answer(
    arguments: impl IntoIterator<Item = OsString>,
    input: impl BufRead,
    mut output: impl Write,
) -> Result<(), Failure> {
    let args = Args::try_parse_from(arguments)?;
    if args.jsonl {
        return Ok(jsonl::answer_lines(input, output)?);
    }
    let question = question::Question::new(&args)?;
    let (run, solved) = question.solve()?;
    let report = report::Report { run: &run, solved, show_approximate: args.show_approximate };
    write!(output, "{}", report.text()?)?;
    if let Some(path) = &args.plot {
        chart::write(&run, path)?;
        writeln!(output, "\nPlot: {}", path.display())?;
    }
    Ok(output.flush()?)
}
