//! What several test files do.
#![allow(dead_code)] // Each test crate uses a part.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file or folder of `tests/data`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The error with its causes.
pub fn refused<T, E: Into<anyhow::Error>>(result: Result<T, E>) -> String {
    result.map_or_else(|error| format!("{:#}", error.into()), |_| "it was accepted".to_owned())
}

pub fn assert_has(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}

/// Tells something past the harness, which shows nothing of tests that pass.
pub fn note(text: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{text}")
}
