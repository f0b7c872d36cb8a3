//! One fine-tuning run, from the command line to the report.
//!
//! The story is [`run`]: set up, take steps, report. What a run trains is its [`Method`]; what it learns, and from
//! what, is its [`Task`](task::Task).

mod args;
mod average;
mod batches;
mod begin;
mod checkpoint;
mod evaluation;
mod features;
mod interrupt;
mod method;
mod predict;
mod program;
mod progress;
mod rates;
mod report;
mod settings;
mod setup;
mod state;
mod stepper;
mod stopwatch;
mod targets;
pub mod task;
mod train;
mod training;
mod units;

pub use args::{Args, DeviceArg};
pub use batches::Examples;
pub use features::{Features, cached_features};
pub use interrupt::forget_interrupt;
pub use method::{Defaults, MaskArgs, Method, Of, Rule};
pub use program::exit_code;
pub use progress::bar;
pub use rates::{Decay, RateArgs};
pub use report::{MaskSummary, Summary, plot};
pub use targets::{Objective, Targets, labels};
pub use task::predict;
pub use train::run;
pub use units::Units;
