//! One fine-tuning run from the command line to the report.

mod args;
mod evaluation;
mod features;
mod interrupt;
mod masks;
mod method;
mod plots;
mod predict;
mod report;
mod setup;
mod state;
mod step;
pub mod task;
mod train;

pub use args::{Args, DeviceArg};
pub use features::cached_features;
pub use interrupt::forget_interrupt;
pub use masks::{MaskArgs, MaskSummary, Of, Rule};
pub use method::Method;
pub use predict::predict;
pub use report::Summary;
pub use train::run;

use std::process::ExitCode;

/// How a program ends: an error is told in one line, without a backtrace.
pub fn exit_code(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
