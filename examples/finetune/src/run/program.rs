//! What a `main` does.

use std::process::ExitCode;

use anyhow::Result;

/// How a program ends: an error is told in one line, without a backtrace.
pub fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
