//! Compares the traced engine with the batch-of-one engine on a model of the user's own, and what both train
//! with the loss of a whole batch.

mod loss_kind;
mod products;
mod whole;

use burn::module::Module;
use burn::tensor::Tensor;

use self::loss_kind::{FLOOR, kind_of};
pub use self::loss_kind::{LossKind, loss_kind};
use super::{Engine, Loop, PerExample, Traced, read};
use crate::batch::Batch;
use crate::error::{Error, GradientError, Result};

/// How closely the two engines agree, and what kind of loss they differentiate.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Agreement {
    /// The largest difference of a gradient entry, relative to the largest entry of that parameter's
    /// gradients, or to a thousandth of the largest of all, if that is more: gradients that are zero but for
    /// rounding (those of an attention's key biases) have no digits to agree in.
    pub worst: f64,
    /// The parameter where it occurs.
    pub parameter: String,
    /// What the loss of a batch is, made of those of its records.
    pub loss: LossKind,
}

/// Runs both engines on `batch` and compares all per-example gradients, then compares those with burn's own
/// gradient of the loss of the whole batch. Run it once on a few examples of every shape before trusting a new
/// model; switch dropout and other random operations off first, since each run draws other numbers.
///
/// What it says of the loss is about the examples that it sees: choose some of different classes, lengths and
/// weights, at least two, public or made up. [`loss_kind`] is the second half by itself, for a model that
/// [`Traced`] refuses.
///
/// # Errors
/// - [`GradientError::EnginesDisagree`] when some entry differs by more than `tolerance` (relative; 1e-3 suits
///   single precision).
/// - [`LossError::WithoutGradient`](crate::error::LossError::WithoutGradient) when every record's gradient is zero or not finite: training would follow
///   the noise alone. [`GradientError::NotFinite`] when that of one is not finite.
/// - [`LossError::WeightedByBatch`](crate::error::LossError::WeightedByBatch) and [`LossError::MixesExamples`](crate::error::LossError::MixesExamples) when the loss of a batch is not made of
///   those of batches of one, so that private training would mean something else.
/// - Whatever either engine reports.
pub fn verify<M, X, F>(model: &M, batch: X, loss: F, tolerance: f64) -> Result<Agreement>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    let traced = Traced::new(&loss).per_example(model, batch.clone())?;
    let oracle = Loop::new(&loss).per_example(model, batch.clone())?;
    let (worst, parameter) = compare(&oracle, &traced)?;
    if worst > tolerance || tolerance.is_nan() {
        return Err(Error::Gradient(GradientError::EnginesDisagree { parameter, relative: worst }));
    }
    let loss = kind_of(&oracle, model, &batch, &loss, tolerance)?;
    Ok(Agreement { worst, parameter, loss })
}

/// The largest relative difference, and the parameter where it is. What is not finite in both is equal.
fn compare(oracle: &PerExample, traced: &PerExample) -> Result<(f64, String)> {
    let largest = |values: &[f64]| {
        let finite = values.iter().filter(|x| x.is_finite());
        finite.fold(f64::MIN_POSITIVE, |largest, x| largest.max(x.abs()))
    };
    let mut floor = 0.0f64;
    for (id, _) in oracle.parameters() {
        floor = floor.max(FLOOR * largest(&read(oracle.flat(id)?)?));
    }
    let (mut worst, mut parameter) = (0.0, None);
    for (id, path) in oracle.parameters() {
        let (a, b) = (read(oracle.flat(id)?)?, read(traced.flat(id)?)?);
        let entries = a.len().checked_div(oracle.len()).unwrap_or(0).max(1);
        let scale = largest(&a).max(floor);
        let examples = a.chunks(entries).zip(b.chunks(entries));
        let relative = examples.map(|(a, b)| difference(a, b) / scale).fold(0.0, f64::max);
        if relative > worst || parameter.is_none() {
            (worst, parameter) = (relative, Some(path.to_owned()));
        }
    }
    Ok((worst, parameter.unwrap_or_default()))
}

/// The largest difference of one example's gradients of one parameter.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    let finite = |x: &[f64]| x.iter().all(|x| x.is_finite());
    match (finite(a), finite(b)) {
        (true, true) => a.iter().zip(b).fold(0.0, |most, (x, y)| f64::max(most, (x - y).abs())),
        // Such a record contributes nothing, whichever of its entries it is.
        (false, false) => 0.0,
        _ => f64::INFINITY,
    }
}
