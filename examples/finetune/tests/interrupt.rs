//! Ctrl-C, in a process of its own: it stops the run after the step, and the run goes on with `--resume`.
#![cfg(unix)]

mod toy;

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tempfile::tempdir;
use toy::{Toy, timeless_metrics, train};

#[test]
fn control_c_leaves_a_checkpoint_that_resumes() -> Result<()> {
    let flags = "--method full --seed 6 --steps 400";
    let (whole, pieces) = (tempdir()?, tempdir()?);
    train(&Toy::new(), flags, whole.path())?;

    let (mut task, loads) = (Toy::new(), AtomicUsize::new(0));
    task.on_load = Box::new(move |_| {
        if loads.fetch_add(1, Ordering::SeqCst) == 20 {
            let me = std::process::id().to_string();
            let sent = Command::new("kill").args(["-INT", &me]).status();
            assert!(sent.is_ok_and(|status| status.success()), "no signal was sent");
        }
    });
    let Err(stopped) = train(&task, flags, pieces.path()) else {
        anyhow::bail!("the run did not stop");
    };
    assert!(stopped.to_string().contains("--resume"), "{stopped}");
    assert!(!pieces.path().join("run.json").exists());

    finetune::run::forget_interrupt();
    train(&Toy::new(), &format!("{flags} --resume"), pieces.path())?;
    assert_eq!(timeless_metrics(whole.path())?, timeless_metrics(pieces.path())?);
    Ok(())
}
