//! What the `cifar10`, `sst2` and `predict` examples share.

#![forbid(unsafe_code)]

pub mod data;
pub mod models;
pub mod run;

/// Training allocates and frees megabytes at every operation; the system's allocator returns them to the kernel each
/// time, which costs a step a sixth of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
