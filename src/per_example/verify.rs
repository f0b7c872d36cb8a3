//! Compares the traced engine with the batch-of-one engine on a model of the user's own.

use burn::module::Module;
use burn::tensor::Tensor;

use super::{Engine, Loop, Traced, read};
use crate::batch::Batch;
use crate::error::{Error, Result};

/// How closely the two engines agree.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// The largest difference of a gradient entry, relative to the largest entry of that parameter's
    /// gradients, or to a thousandth of the largest of all, if that is more: gradients that are zero but for
    /// rounding (those of an attention's key biases) have no digits to agree in.
    pub worst: f64,
    /// The parameter where it occurs.
    pub parameter: String,
}

/// A parameter's entries are compared relative to at least this share of the largest of all.
const FLOOR: f64 = 1e-3;

/// Runs both engines on `batch` and compares all per-example gradients. Run it once on a few
/// examples of every shape before trusting a new model; switch dropout and other random operations
/// off first, since the two engines draw different numbers.
///
/// # Errors
/// [`Error::EnginesDisagree`] when some entry differs by more than `tolerance` (relative; 1e-3 suits
/// single precision), and whatever either engine reports.
pub fn verify<M, X, F>(model: &M, batch: X, loss: F, tolerance: f64) -> Result<Agreement>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    let oracle = Loop::new(&loss).per_example(model, batch.clone())?;
    let traced = Traced::new(&loss).per_example(model, batch)?;
    let largest = |values: &[f64]| values.iter().fold(f64::MIN_POSITIVE, |m, x| m.max(x.abs()));
    let mut floor = 0.0f64;
    for (id, _) in oracle.parameters() {
        floor = floor.max(FLOOR * largest(&read(oracle.flat(id)?)?));
    }
    let mut agreement = Agreement { worst: 0.0, parameter: String::new() };
    for (id, path) in oracle.parameters() {
        let (a, b) = (read(oracle.flat(id)?)?, read(traced.flat(id)?)?);
        let scale = largest(&a).max(floor);
        let difference = a.iter().zip(&b).fold(0.0f64, |m, (x, y)| m.max((x - y).abs()));
        // `max` would let a NaN through as "equal".
        let relative = if a.iter().chain(&b).all(|x| x.is_finite()) {
            difference / scale
        } else {
            f64::INFINITY
        };
        if relative > agreement.worst || agreement.parameter.is_empty() {
            agreement = Agreement { worst: relative, parameter: path.to_owned() };
        }
    }
    if agreement.worst > tolerance || tolerance.is_nan() {
        let Agreement { worst, parameter } = agreement;
        return Err(Error::EnginesDisagree { parameter, relative: worst });
    }
    Ok(agreement)
}
