//! What the `cifar10`, `sst2` and `predict` examples share.

#![forbid(unsafe_code)]

pub mod data;
pub mod language;
pub mod memory;
pub mod models;
pub mod run;

/// Training allocates and frees megabytes at every operation. The system's allocator returns them to the kernel each
/// time, which costs a sixth of a step's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
