//! What is trained: parameter-efficient fine-tuning of a pretrained model.
//!
//! Noise grows with the number of trained parameters, so under privacy it pays to train few. The
//! engine keeps no activation and computes no gradient for the rest. A [`ParamSelector`] is a rule.
//! [`select`](ParamSelector::select) resolves it against a model. The resulting [`Selection`]
//! freezes all other parameters, and prints what it trains:
//!
//! ```
//! use burn::module::Module;
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::Device;
//! use burn_dp::selection::ParamSelector;
//!
//! #[derive(Module, Debug)]
//! struct Model {
//!     trunk: Linear,
//!     head: Linear,
//! }
//!
//! # fn main() -> burn_dp::Result<()> {
//! let device = Device::default().autodiff();
//! let model = Model {
//!     trunk: LinearConfig::new(8, 4).init(&device),
//!     head: LinearConfig::new(4, 2).init(&device),
//! };
//! let selection = ParamSelector::head().union(ParamSelector::bias()).select(&model)?;
//! println!("{selection}");
//! assert_eq!(selection.trained(), 4 * 2 + 2 + 4);
//! let model = selection.apply(model)?;
//! assert!(!model.trunk.weight.is_require_grad());
//! # Ok(())
//! # }
//! ```
//!
//! A rule that knows only the model costs no privacy. [`TopGradientNorm`] looks at data: at public
//! data for free, or at the private data for one noised release that the plan has to include. A
//! [`Schedule`] trains one selection after another in one run and one ledger.

mod inventory;
mod low_rank;
mod own_ids;
mod rows;
mod schedule;
mod selected;
mod selector;
mod top_gradient_norm;

pub use low_rank::{LowRank, LowRankAdapter};
pub use own_ids::copy_with_own_ids;
pub use rows::{RowSelection, SelectedRows};
pub use schedule::Schedule;
pub use selected::Selection;
pub use selector::ParamSelector;
pub(crate) use top_gradient_norm::Scores;
pub use top_gradient_norm::{Groups, PublicData, TopGradientNorm, TopSelection};
