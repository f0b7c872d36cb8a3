//! Supermasks: fine-tuning a frozen pretrained model by switching its weights on, off or down.
//!
//! The weights stay as they are. A score is trained for each of them, or for each row, column,
//! channel or attention head. A rule ([`MaskKind`]) turns the scores into a mask, and the model
//! computes with mask ⊙ weight (Zhou et al. 2019, arXiv 1905.01067; Ramanujan et al. 2020, arXiv
//! 1911.13299; Mallya et al. 2018, arXiv 1801.06519). A client that trains a mask sends one bit for
//! each weight, or far less, and no weights.
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Tensor};
//! use burn_dp::mask::{MaskKind, SuperMaskConfig};
//!
//! # fn main() -> burn_dp::Result<()> {
//! let device = Device::default().autodiff();
//! let model: Linear = LinearConfig::new(8, 4).init(&device);
//! let x: Tensor<2> = Tensor::ones([1, 8], &device);
//! let before = model.forward(x.clone()).into_data();
//!
//! let masked = SuperMaskConfig::new(MaskKind::Threshold { threshold: 0.0 })?.apply(model)?;
//! assert_eq!(masked.forward(x).into_data(), before); // every score starts at "keep"
//! let plain: Linear = masked.materialize(); // leaves the training world
//! # Ok(())
//! # }
//! ```
//!
//! A masked model trains with [`DpOptimizer`](crate::DpOptimizer) as it is. The gradient of a score
//! is the weight's gradient times the weight, and the engine keeps it in factors.

mod aggregate;
mod coding;
mod config;
mod from_shares;
mod gate;
mod mask_kind;
mod mask_set;
mod randomized_response;
mod refresh;
mod structure;

pub(crate) use coding::{decode as decode_bits, encode as encode_bits};

pub use aggregate::{BetaShares, CentralNoise, LayerShares, MaskShares};
pub use config::{SuperMask, SuperMaskConfig};
pub use gate::Gate;
pub use mask_kind::{MaskKind, Scope};
pub use mask_set::{LayerMask, MaskSet};
pub use randomized_response::RandomizedResponse;
pub use structure::Structure;
