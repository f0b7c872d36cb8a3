//! Compares the traced engine with the batch-of-one engine on a user's own model, and compares both
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
    /// The largest difference of a gradient entry. It is relative to the largest entry of that
    /// parameter's gradients, or to a thousandth of the largest of all if that is more. A gradient
    /// that is zero except for rounding (that of an attention's key bias) has no digits that could
    /// agree.
    pub worst: f64,
    /// The parameter where it occurs.
    pub parameter: String,
    /// How the loss of a batch follows from those of its records.
    pub loss: LossKind,
}

/// Runs both engines on `batch` and compares all per-example gradients, then compares those with
/// burn's own gradient of the loss of the whole batch.
///
/// Run it once on a few examples of every shape before trusting a new model. Switch off dropout and
/// other random operations first, since each run draws other numbers.
///
/// The result about the loss holds for the given examples. Choose at least two, of different
/// classes, lengths and weights, public or made up. [`loss_kind`] is the second half by itself, for
/// a model that [`Traced`] refuses.
///
/// # Errors
/// - [`GradientError::EnginesDisagree`] when some entry differs by more than `tolerance` (relative;
///   1e-3 suits single precision).
/// - [`LossError::WithoutGradient`](crate::error::LossError::WithoutGradient) when every record's
///   gradient is zero or not finite: training would follow the noise alone.
///   [`GradientError::NotFinite`] when one record's gradient is not finite.
/// - [`LossError::WeightedByBatch`](crate::error::LossError::WeightedByBatch) and
///   [`LossError::MixesExamples`](crate::error::LossError::MixesExamples) when the loss of a batch
///   does not consist of those of batches of one, so that private training would mean something
///   else.
/// - The errors of either engine.
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

/// The largest relative difference, and the parameter where it occurs. Entries that are not finite
/// in both are equal.
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
        // Such a record contributes nothing, whichever of its entries is not finite.
        (false, false) => 0.0,
        _ => f64::INFINITY,
    }
}
