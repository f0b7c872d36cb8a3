//! Everything that can end the program early.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// Each cause, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Arguments(#[from] clap::Error),
    #[error(transparent)]
    Privacy(#[from] burn_dp_accounting::Error),
    #[error("{flag} is missing: {advice}")]
    Missing { flag: &'static str, advice: &'static str },
    #[error("--solve {solve} asks for {flag}: leave it out")]
    AskedAndGiven { solve: &'static str, flag: &'static str },
    #[error("--batch-size must be at most --dataset-size, and both at least 1")]
    BatchLargerThanData,
    #[error("{} cannot be written as a plot: give it the extension .svg", .0.display())]
    PlotFormat(PathBuf),
    #[error("the plot cannot be drawn: {0}")]
    Plot(String),
    #[error("{} cannot be written: {reason}", path.display())]
    PlotFile { path: PathBuf, reason: io::Error },
    #[error("cannot read or write: {0}")]
    Stream(#[from] io::Error),
}

impl Failure {
    /// Prints the cause. The exit code is 2 if the question was wrong, 1 if the system failed, and 0 for
    /// `--help`.
    pub fn explain(&self) -> ExitCode {
        match self {
            Self::Arguments(error) => {
                // Where not even the message can be printed, the exit code remains.
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
            }
            // The reader of the output has seen enough (`| head`).
            Self::Stream(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Stream(_) | Self::PlotFile { .. } => self.exit_with(1),
            _ => self.exit_with(2),
        }
    }

    fn exit_with(&self, code: u8) -> ExitCode {
        eprintln!("error: {self}");
        ExitCode::from(code)
    }
}
