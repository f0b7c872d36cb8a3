//! Places where a test ends the program as `kill -9` does: no destructor runs, and what is in the files is all that is left.
//!
//! Without the feature `fail-points` a place is nothing. With it, `BURN_DP_FAIL_LOG=FILE` has each place that is passed written
//! down, a name a line, so that a test finds them all; `BURN_DP_FAIL_AT=NAME:2` ends the program where it passes one for the
//! second time.

#[cfg(not(feature = "fail-points"))]
pub(super) fn fail_point(_step: &str, _of: &str) {}

#[cfg(feature = "fail-points")]
pub(super) fn fail_point(step: &str, of: &str) {
    use std::collections::BTreeMap;
    use std::env;
    use std::fs::File;
    use std::io::Write;
    use std::process::abort;
    use std::sync::{Mutex, PoisonError};

    static PASSED: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

    let name = format!("{step} {of}");
    if let Some(path) = env::var_os("BURN_DP_FAIL_LOG") {
        let log = File::options().create(true).append(true).open(path);
        if let Err(error) = log.and_then(|mut log| writeln!(log, "{name}")) {
            eprintln!("BURN_DP_FAIL_LOG cannot be written: {error}");
            abort();
        }
    }
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    let times = passed.entry(name.clone()).or_default();
    *times += 1;
    if env::var("BURN_DP_FAIL_AT").is_ok_and(|wanted| wanted == format!("{name}:{times}")) {
        abort();
    }
}
