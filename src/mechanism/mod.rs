//! The random half of a differentially private step: which records enter it, and its noise.
//!
//! ```text
//! Seed ──┬── Domain::Sampling ──> PoissonSampler::sample(step) ──> records of the batch
//!        ├── Domain::GradientNoise ──> add_gaussian(sum of clipped gradients)
//!        └── Domain::CountNoise ──> add_gaussian(count for adaptive clipping)
//! ```
//!
//! # What is promised
//! - All randomness is ChaCha20 keystream under one 256-bit key, by default from the operating
//!   system. No two of (domain, step, tensor, block) share keystream.
//! - Everything is a pure function of the [`Seed`] and the step's number, so the number is the whole
//!   state: there is no generator position to save, and none to forget.
//! - Results do not depend on the number of threads.
//! - Noise is Gaussian and sampling is Poisson in real arithmetic; [`add_gaussian`] says what floating
//!   point leaves open.
//!
//! Nothing here knows tensors, devices or models.

mod noise;
mod sampler;
mod seed;

pub use noise::{add_gaussian, gaussian};
pub(crate) use noise::{add_gaussian_measuring, noised};
pub use sampler::PoissonSampler;
pub use seed::{Domain, Seed, SeedSource};
