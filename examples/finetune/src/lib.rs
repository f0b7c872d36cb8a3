//! What the `cifar10`, `sst2` and `predict` examples share.

#![forbid(unsafe_code)]

pub mod data;
pub mod models;
pub mod run;
