//! burn-dp
pub mod batch;
pub mod error;
pub mod per_example;
pub use error::{Error, Result};
