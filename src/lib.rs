//! Differential privacy for [burn](https://burn.dev): trains any burn model, with any burn
//! optimizer, on any burn device, so that the trained weights provably reveal little about any one
//! record.
//!
//! The model stays as it is: no wrapped layers, no hooks, no second model definition. You bring the
//! loss that you would train with anyway, and replace the optimizer's step.
//!
//! # What is promised
//!
//! - **One record moves a step's sum by at most a known bound**, whatever the model, the loss or the
//!   record: each record's exact gradient is clipped by itself. A gradient that is not finite counts
//!   as zero. An index out of range is refused by name ([`BadRecords`](per_example::BadRecords)).
//! - **What is accounted for is what happens.** Sampling rate, clipping, noise and divisor come
//!   from one [`PrivacyPlan`](privacy::PrivacyPlan), and so does the event that the accountant
//!   records. A batch that was not sampled for the step that is due is refused.
//! - **ε is a proven upper bound**, rounded up: the best of the
//!   [accountants](privacy::PrivacyAccountant) that have a proof. An event without a known bound is
//!   refused.
//! - **A call that fails has changed nothing**, and every [`Error`] says what to do.
//!
//! # What is not promised
//!
//! - The guarantee holds for real arithmetic. [`noise`] explains what floating-point noise leaves
//!   open. Running time and memory use are not hidden either.
//! - It covers what a step releases: the weights. Losses, gradient norms and the sizes of batches are
//!   exact and private; so is a choice of hyper-parameters made by looking at the private data.
//! - It protects one record, not all records of one person.
//! - The loss is that of a batch of one record. Class weights whose sum the loss divides by, means
//!   over a whole batch and in-batch negatives then mean something else.
//!   [`verify`](per_example::verify) finds them.
//! - Layers that mix the examples of a batch have no per-example gradient. Batch normalization in
//!   training mode is refused: use group or layer normalization, or freeze it.
//!
//! # How it works
//!
//! ```text
//!  loss closure ──trace one example──> graph of forward and backward pass (once per shape)
//!                                        │ replay over a whole batch: one rule per operation
//!  PrivacyPlan ─┬─ sample ──> batch ──> per-example gradients, in factors where that is smaller
//!               ├─ clip ──────────────────> Σ clipped gradients
//!               ├─ noise ─────────────────> + N(0, (z·C)²), once a step
//!               ├─ divide by the public expected batch size ──> any burn optimizer ──> model
//!               └─ event ──> Ledger ──> ε
//! ```
//!
//! `src/optimizer/step.rs` is that picture in code. Read that file first.
//!
//! # Getting started
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig, loss::CrossEntropyLossConfig};
//! use burn::optim::SgdConfig;
//! use burn::tensor::{Device, Distribution, Int, Tensor};
//! use burn_dp::DpOptimizer;
//! use burn_dp::per_example::Traced;
//! use burn_dp::privacy::*;
//!
//! #[derive(Module, Debug)]
//! struct Classifier {
//!     linear: Linear,
//! }
//!
//! # fn main() -> burn_dp::Result<()> {
//! let device = Device::default().autodiff();
//! let images = Tensor::<2>::random([1000, 64], Distribution::Default, &device);
//! let labels = Tensor::<1, Int>::zeros([1000], &device);
//!
//! let delta = Delta::new(1e-5)?;
//! let plan = PrivacyPlan::builder()
//!     .target(3.0, delta) // finds the least noise
//!     .sampling_rate(0.1)
//!     .expected_batch_size(100.0)
//!     .steps(3)
//!     .clipping(Clipping::flat(1.0))
//!     .build()?;
//! // The loss that also trains without privacy: the mean over a batch.
//! let loss = |model: &Classifier, (images, labels): (Tensor<2>, Tensor<1, Int>)| {
//!     let logits = model.linear.forward(images);
//!     CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels)
//! };
//!
//! let mut model = Classifier { linear: LinearConfig::new(64, 10).init(&device) };
//! let mut optimizer = DpOptimizer::new(plan, SgdConfig::new().init(), Traced::new(loss))?;
//! println!("{}", optimizer.statement(delta)); // what the run guarantees, in words
//! while optimizer.steps_left().value() > 0 {
//!     // Every record enters with probability 0.1; at most 256 are in memory at a time.
//!     let batch = optimizer.sample(1000)?.batches(256, |records| {
//!         let records = Tensor::<1, Int>::from_data(
//!             records.iter().map(|&r| r as i32).collect::<Vec<_>>().as_slice(),
//!             &device,
//!         );
//!         (images.clone().select(0, records.clone()), labels.clone().select(0, records))
//!     })?;
//!     optimizer.step(0.1, &mut model, batch)?;
//! }
//! assert!(optimizer.epsilon(delta)?.value() <= 3.0);
//! # Ok(())
//! # }
//! ```
//!
//! From here:
//! - The [`guide`] has a chapter for everything: what to set, fine-tuning, losses, accounting, running, other libraries.
//! - `examples/quickstart.rs` is the same on real images, with a baseline to compare with.
//! - [`loader`] samples from a burn `Dataset`; [`batch`] makes your own struct a batch.
//! - [`per_example`] gives exact per-example gradients by themselves, and
//!   [`verify`](per_example::verify) checks them, and the loss, on your model.
//! - [`DpOptimizer::save`] and [`DpOptimizer::load`] continue a run.
//! - [`privacy`] tells what a run would cost before it starts.
//!
//! # Features
//!
//! The library enables none of burn's backends, so it never changes your choice. Each feature
//! forwards to burn's own:
//!
//! | Feature | |
//! |---|---|
//! | `flex` | CPU, pure Rust |
//! | `ndarray` | CPU; deprecated by burn, here as a second opinion in tests |
//! | `wgpu`, `vulkan`, `metal` | GPUs through wgpu |
//! | `cuda` | NVIDIA GPUs |
//! | `train` | `train`: burn's `Learner` and its dashboard |

#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

pub mod batch;
mod bounded_sum;
mod clipping;
mod device;
pub mod error;
pub mod federated;
pub mod guide;
pub mod loader;
pub mod loss;
pub mod mask;
mod model;
pub mod noise;
pub mod optimizer;
pub mod per_example;
mod plan;
pub mod privacy;
pub mod sampling;
mod sealed_file;
pub mod seed;
pub mod selection;
#[cfg(feature = "train")]
pub mod train;

pub use bounded_sum::BoundedSum;
/// Accounting by itself, without burn. [`privacy`] has all of it, and the plan.
pub use burn_dp_accounting as accounting;
pub use error::{Error, Result};
pub use optimizer::DpOptimizer;
