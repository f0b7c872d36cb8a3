//! The guide: from a first private run to accounting, fine-tuning and checkpoints.
//!
//! | Chapter | for |
//! |---|---|
//! | [`first_run`] | everybody: a private training loop in small pieces, and what it costs in accuracy |
//! | [`guarantees`] | everybody: what is guaranteed, and what is not |
//! | [`settings`] | choosing the clipping norm, the sampling rate, steps and batch; what to do when accuracy is poor |
//! | [`data_and_losses`] | your own batches, loaders and losses; losses that do not mean what they say |
//! | [`fine_tuning`] | training a part of a pretrained model, adapters, masks |
//! | [`accounting`] | ε before, during and after a run, and without a model |
//! | [`epsilon`] | what an ε covers, and when not to trust one |
//! | [`running`] | checkpoints, devices and features, burn's `Learner` |
//! | [`engines`] | how gradients of single records are computed, what is refused, and the way out |
//! | [`other_libraries`] | those who come from Opacus or jax_privacy |
//! | [`federated`], [`auditing`] | what there is today |
//! | [`contributing`] | those who want to add something |
//!
//! Every block of Rust here is compiled and run by `cargo test --doc`. Blocks that use `Classifier` and `Digits` without
//! defining them take them from `docs/guide/digits.rs`, a page of code with a small network and the quickstart's 1,797
//! handwritten digits; the hidden line of such a block includes it.

#[doc = include_str!("../docs/guide/first-run.md")]
pub mod first_run {}

#[doc = include_str!("../docs/guide/guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("../docs/guide/settings.md")]
pub mod settings {}

#[doc = include_str!("../docs/guide/data-and-losses.md")]
pub mod data_and_losses {}

#[doc = include_str!("../docs/guide/fine-tuning.md")]
pub mod fine_tuning {}

#[doc = include_str!("../docs/guide/accounting.md")]
pub mod accounting {}

#[doc = include_str!("../docs/accounting.md")]
pub mod epsilon {}

#[doc = include_str!("../docs/guide/running.md")]
#[cfg_attr(feature = "train", doc = include_str!("../docs/guide/learner.md"))]
pub mod running {}

#[doc = include_str!("../docs/guide/engines.md")]
pub mod engines {}

#[doc = include_str!("../docs/guide/other-libraries.md")]
pub mod other_libraries {}

#[doc = include_str!("../docs/guide/federated.md")]
pub mod federated {}

#[doc = include_str!("../docs/guide/auditing.md")]
pub mod auditing {}

#[doc = include_str!("../docs/guide/contributing.md")]
pub mod contributing {}

/// The example of README.md is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
