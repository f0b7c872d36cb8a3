//! What a `main` does.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;

use super::args::Args;
use super::task::Task;
use super::train::run;
use crate::data;

/// A program that fine-tunes: `task` reads it from the data folder, as its own flags say.
pub fn fine_tune<A: Serialize, T: Task>(
    task: impl FnOnce(&Path, &A) -> Result<T>,
    own: &A,
    args: &Args,
) -> ExitCode {
    exit_code(data::folder().and_then(|folder| {
        let task = task(&folder, own)?;
        run(&task, serde_json::to_value(own)?, args, &folder)?;
        Ok(())
    }))
}

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
