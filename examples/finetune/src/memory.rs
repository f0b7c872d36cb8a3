//! Memory of this process, in megabytes; none where the system does not tell.

use std::fs;

/// The most that was resident at once so far.
pub fn peak_megabytes() -> Option<f64> {
    megabytes("VmHWM:")
}

/// What is resident now.
pub fn resident_megabytes() -> Option<f64> {
    megabytes("VmRSS:")
}

/// A line of Linux's account of the process.
fn megabytes(line: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|text| text.strip_prefix(line))?;
    let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kilobytes * 1024.0 / 1e6)
}
