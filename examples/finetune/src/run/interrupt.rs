//! Ctrl-C: once for a checkpoint, twice to leave at once.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

static ASKED: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();

/// From now on Ctrl-C is noticed instead of ending the program.
///
/// # Errors
/// When the system refuses.
pub(super) fn watch() -> Result<()> {
    if INSTALLED.set(()).is_err() {
        return Ok(());
    }
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step; once more to stop at once");
    })
    .context("cannot watch for Ctrl-C")
}

/// Whether Ctrl-C was pressed.
pub(super) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Forgets an earlier Ctrl-C, so that another run can begin in this process.
pub fn forget_interrupt() {
    ASKED.store(false, Ordering::SeqCst);
}
