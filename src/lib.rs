//! burn-dp
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]
pub mod batch;
pub mod error;
pub mod loader;
pub mod mechanism;
pub mod optimizer;
pub mod per_example;
pub mod privacy;
pub use error::{Error, Result};
pub use optimizer::DpOptimizer;
