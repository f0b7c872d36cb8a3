//! Exact per-example gradients of any burn model.
//!
//! Two engines give the same answer. [`Traced`] records the loss of one example and its gradient as
//! a graph, and replays the graph over a batch, with one batching rule for every operation of burn.
//! It keeps gradients in factors where that is cheaper. [`Loop`] runs burn's autodiff on one
//! example at a time. [`verify`] compares the two on your own model, and reports losses that mean
//! something else for one record than for a batch.
//!
//! The results ([`PerExample`]) are useful beyond privacy: importance sampling, influence, gradient
//! noise scale. They are exact, so never release them if the data are sensitive.
//!
//! ```
//! use burn::nn::{Linear, LinearConfig};
//! use burn::tensor::{Device, Distribution, Tensor};
//! use burn_dp::per_example::{Engine, Traced};
//!
//! # fn main() -> burn_dp::Result<()> {
//! let device = Device::default().autodiff();
//! let model = LinearConfig::new(3, 1).init(&device);
//! let batch = Tensor::<2>::random([8, 3], Distribution::Default, &device);
//!
//! let mut engine = Traced::new(|model: &Linear, x: Tensor<2>| model.forward(x).powi_scalar(2).mean());
//! let gradients = engine.per_example(&model, batch)?;
//! assert_eq!(gradients.estimated_squared_norms().dims(), [8]);
//! assert_eq!(gradients.gradient::<3>(model.weight.id)?.dims(), [8, 3, 1]);
//! # Ok(())
//! # }
//! ```

mod contraction;
mod execute;
mod factor;
mod fingerprint;
mod gradients;
mod graph;
mod guard;
mod indices;
mod looped;
mod panics;
mod plan;
mod refusal;
mod replay;
mod representation;
mod rules;
mod schedule;
mod simplify;
mod sums;
mod trace;
mod traced;
mod value;
mod verify;

use gradients::ParameterGradient;
pub(crate) use gradients::read;
pub use gradients::{GradientSum, PerExample};
pub use indices::BadRecords;
pub use looped::Loop;
pub use traced::{Explanation, ParameterPlan, PlannedMethod, Retracing, Traced};
pub use verify::{Agreement, LossKind, loss_kind, verify};

use burn::tensor::Tensor;

use self::factor::Factored;
use self::representation::Representation;
use crate::error::Result;
use crate::model::ModuleTensors;

/// Something that computes per-example losses and gradients of model `M` on batches `X`.
pub trait Engine<M, X> {
    /// Losses and gradients of every example of `batch`, for every trainable parameter of `model`.
    ///
    /// # Errors
    /// When the model or the loss cannot be used (each [`Error`](crate::Error) says why and what to
    /// do), or the batch's tensors differ in length.
    fn per_example(&mut self, model: &M, batch: X) -> Result<PerExample>;
}

/// How [`Traced`] holds gradients that can be written as products of factors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NormMethod {
    /// In factors where the Gram matrices are no larger than the gradient, `2 T² <= rows · columns`
    /// (mixed ghost clipping: Bu et al. 2022, arXiv 2205.10683), and the factors take no more work
    /// than the gradient. Otherwise materialized.
    #[default]
    Mixed,
    /// In factors wherever the factors need no more than a few uses of each operation.
    Ghost,
    /// Always as `[batch, ...parameter]`.
    Materialized,
}

impl NormMethod {
    fn keeps_factors(self, factored: &Factored) -> bool {
        match self {
            Self::Mixed => factored.ghost_is_smaller() && factored.is_less_work(),
            Self::Ghost => true,
            Self::Materialized => false,
        }
    }
}

/// The answer for a batch of no examples.
fn empty(tensors: &ModuleTensors) -> PerExample {
    let losses = Tensor::<1>::zeros([0], &tensors.device).into_dispatch();
    let gradients = tensors
        .trainable()
        .map(|tensor| ParameterGradient {
            id: tensor.id,
            path: tensor.path.clone(),
            shape: tensor.shape.clone(),
            form: Representation::Zero,
        })
        .collect();
    let excluded = Vec::new();
    PerExample { examples: 0, device: tensors.device.clone(), losses, gradients, excluded }
}
