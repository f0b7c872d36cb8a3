//! The time that steps take.

use std::time::Instant;

/// Counts seconds, but not those that are taken aside.
pub(super) struct Stopwatch {
    before: f64,
    started: Instant,
    aside: f64,
}

impl Stopwatch {
    /// Goes on from `seconds`.
    pub(super) fn from(seconds: f64) -> Self {
        Self { before: seconds, started: Instant::now(), aside: 0.0 }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64() - self.aside
    }

    /// Does something that isn't counted.
    pub(super) fn aside<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        self.aside += start.elapsed().as_secs_f64();
        result
    }
}
