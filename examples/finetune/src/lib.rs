//! What the `cifar10`, `sst2` and `predict` examples share.

pub mod data;
pub mod models;
