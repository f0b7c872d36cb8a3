//! Determines whether the loss of a batch consists of the losses of its records, which private
//! training adds up.

use std::collections::HashMap;
use std::fmt;

use burn::module::{Module, ParamId};
use burn::tensor::Tensor;
use burn_ir::{BaseOperationIr, NumericOperationIr, OperationIr, ScalarIr};

use super::products::{Products, best_factor, best_weights, misfit};
use super::whole::{Whole, whole};
use crate::batch::{self, Batch};
use crate::error::{Error, GradientError, LossError, Result};
use crate::model::ModuleTensors;
use crate::per_example::trace::trace;
use crate::per_example::{Engine, Loop, PerExample, read};

/// A parameter's entries are compared relative to at least this share of the largest of all.
pub(super) const FLOOR: f64 = 1e-3;

/// How the loss of a batch follows from the losses of batches of one. `Display` says what to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LossKind {
    /// The mean of the records' losses.
    MeanOfRecords,
    /// The sum of the records' losses.
    SumOfRecords,
    /// A sum divided by a constant that does not depend on the batch, as `loss.sum() / 64`.
    ConstantDivisor {
        /// The constant divisor.
        divisor: f64,
    },
    /// A multiple of the records' sum that is neither their sum nor their mean.
    OtherMultiple {
        /// The multiple, for the examples that were given.
        factor: f64,
    },
    /// The kind could not be determined.
    CannotTell {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for LossKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MeanOfRecords => write!(f, "the mean of the records' losses"),
            Self::SumOfRecords => write!(
                f,
                "the sum of the records' losses: as good as their mean, since a step divides by the expected \
                 batch size by itself"
            ),
            Self::ConstantDivisor { divisor } => write!(
                f,
                "the sum of the records' losses over the constant {divisor}: each record's gradient is that much \
                 smaller when it meets the clipping norm and the noise; if {divisor} stands for a batch size, leave \
                 it out (`mean()`), since a step divides by the expected batch size by itself"
            ),
            Self::OtherMultiple { factor } => write!(
                f,
                "{factor} times the sum of the records' losses, which is neither their sum nor their mean: the loss \
                 depends on the batch's size in some other way, which private training, where batches are of one, \
                 does not see; write `mean()`"
            ),
            Self::CannotTell { reason } => write!(f, "of a kind that cannot be told: {reason}"),
        }
    }
}

/// How the loss of a batch follows from those of its records.
///
/// This is the second half of [`verify`](super::verify), with the batch-of-one engine alone, so it
/// also works for a model that [`Traced`](super::Traced) refuses.
///
/// # Errors
/// As [`verify`](super::verify), except for the comparison of engines.
pub fn loss_kind<M, X, F>(model: &M, batch: X, loss: F, tolerance: f64) -> Result<LossKind>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    if tolerance.is_nan() {
        return Err(Error::setting("tolerance", tolerance, "a number"));
    }
    let records = Loop::new(&loss).per_example(model, batch.clone())?;
    kind_of(&records, model, &batch, &loss, tolerance)
}

/// A record's gradient that is shorter than the batch's by this factor counts as zero except for
/// rounding.
const ZERO: f64 = 1e-6;

pub(super) fn kind_of<M, X, F>(
    records: &PerExample,
    model: &M,
    batch: &X,
    loss: &F,
    tolerance: f64,
) -> Result<LossKind>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    let cannot_tell = |reason: String| Ok(LossKind::CannotTell { reason });
    let examples = records.len();
    if examples == 0 {
        return cannot_tell("the batch is empty; give a few examples".to_owned());
    }
    let (lengths, bad) = lengths(records)?;
    let whole = whole(model, batch.clone(), loss)?;
    let products = match &whole {
        Ok(whole) => Some(with_sum(records, whole)?),
        Err(_) => None,
    };
    let of_batch: f64 = products.iter().flatten().map(Products::squared_length).sum();
    // Zero except for rounding, compared with the gradient of the batch.
    let small =
        lengths.iter().all(|length| !length.is_finite() || *length <= ZERO * of_batch.sqrt());
    let nothing = |(length, bad): (&f64, &Option<String>)| bad.is_some() || small || *length == 0.0;
    if lengths.iter().zip(&bad).all(nothing) {
        let finite = bad.iter().all(Option::is_none);
        let batch_has_one = of_batch.is_finite() && of_batch > 0.0;
        return Err(Error::Loss(LossError::WithoutGradient { finite, batch_has_one }));
    }
    if let Some((example, Some(parameter))) = bad.into_iter().enumerate().find(|(_, b)| b.is_some())
    {
        return Err(Error::Gradient(GradientError::NotFinite { example, parameter }));
    }
    if examples == 1 {
        return cannot_tell("one example is its own batch; give at least two".to_owned());
    }
    let products = match (whole, products) {
        (Ok(_), Some(products)) => products,
        (Err(reason), _) => {
            return cannot_tell(format!(
                "the loss works for one example, but not for {examples} at once ({reason})"
            ));
        }
        (Ok(_), None) => return cannot_tell("the batch has no gradient".to_owned()),
    };

    let fits = |weight: f64| misfit(&products, [weight], FLOOR) <= tolerance;
    if fits(1.0 / examples as f64) {
        return Ok(LossKind::MeanOfRecords);
    }
    if fits(1.0) {
        let divisor = constant_divisor(model, batch, loss);
        return Ok(
            divisor.map_or(LossKind::SumOfRecords, |divisor| LossKind::ConstantDivisor { divisor })
        );
    }
    // A record whose gradient is zero, or nearly, would say nothing about a pair.
    let longest = lengths.iter().fold(0.0, |longest: f64, length| longest.max(*length));
    let first = lengths.iter().position(|length| *length >= FLOOR * longest).unwrap_or(0);
    not_of_records(records, first, model, batch, loss, tolerance)?;
    let factor = best_factor(&products);
    if fits(factor) {
        return Ok(LossKind::OtherMultiple { factor });
    }
    let difference = misfit(&products, [1.0 / examples as f64], FLOOR);
    Err(Error::Loss(LossError::MixesExamples { difference }))
}

/// The length of every record's gradient, and the parameter where it is not finite. A gradient also
/// counts as not finite if it is so long that its squared norm overflows single precision, as it
/// does in a step.
fn lengths(records: &PerExample) -> Result<(Vec<f64>, Vec<Option<String>>)> {
    let mut squared = vec![0.0; records.len()];
    let mut bad = vec![None; records.len()];
    for (id, path) in records.parameters() {
        let flat = read(records.flat(id)?)?;
        let entries = (flat.len() / records.len()).max(1);
        for ((row, squared), bad) in flat.chunks(entries).zip(&mut squared).zip(&mut bad) {
            *squared += row.iter().map(|x| x * x).sum::<f64>();
            if squared.is_nan() || *squared > f64::from(f32::MAX) {
                bad.get_or_insert_with(|| path.to_owned());
            }
        }
    }
    Ok((squared.into_iter().map(f64::sqrt).collect(), bad))
}

/// Inner products of the batch's gradient with the sum of the records' gradients, for each
/// parameter.
fn with_sum(records: &PerExample, whole: &Whole) -> Result<Vec<Products<1>>> {
    let of = |id: ParamId| {
        let flat = read(records.flat(id)?)?;
        let entries = (flat.len() / records.len()).max(1);
        let mut sum = vec![0.0; entries];
        let mut total = 0.0;
        for row in flat.chunks(entries) {
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
            total += length(row);
        }
        Ok(Products::new(of_parameter(whole, id, &vec![0.0; entries]), [&sum], [total]))
    };
    records.parameters().map(|(id, _)| of(id)).collect()
}

fn length(row: &[f64]) -> f64 {
    row.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// A parameter's gradient, or zeros where the loss does not depend on it.
fn of_parameter<'w>(whole: &'w Whole, id: ParamId, zeros: &'w [f64]) -> &'w [f64] {
    whole.get(&id).map_or(zeros, Vec::as_slice)
}

/// For a loss that is neither mean nor sum: an error if a pair of records, `first` and another,
/// shows that the loss weights or mixes them.
///
/// Two records are enough to distinguish the two cases, and too few for a combination that fits by
/// chance.
fn not_of_records<M, X, F>(
    records: &PerExample,
    first: usize,
    model: &M,
    batch: &X,
    loss: &F,
    tolerance: f64,
) -> Result<()>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    for other in (0..records.len()).filter(|other| *other != first) {
        let examples = [first, other];
        let one = |example: usize| batch::slice(batch, example..example + 1);
        let pair = [one(first)?, one(other)?];
        let Ok(whole) = whole(model, batch::concat(&pair)?, loss)? else { continue };
        let mut products = Vec::new();
        for (id, _) in records.parameters() {
            let flat = records.flat(id)?;
            let entries = flat.dims()[0] / records.len();
            let row = |at: usize| read(flat.clone().slice_dim(0, at * entries..(at + 1) * entries));
            let (one, two) = (row(first)?, row(other)?);
            let zeros = vec![0.0; entries];
            let whole = of_parameter(&whole, id, &zeros);
            products.push(Products::new(whole, [&one, &two], [length(&one), length(&two)]));
        }
        let Some(weights) = best_weights(&products) else { continue };
        let difference = misfit(&products, weights, FLOOR);
        if difference > tolerance || weights.iter().any(|weight| *weight < 0.0) {
            return Err(Error::Loss(LossError::MixesExamples { difference }));
        }
        // Weights explain the pair if they fit far better than equal weights do. With mixing, that
        // happens only by chance.
        let alike = misfit(&products, [(weights[0] + weights[1]) / 2.0; 2], FLOOR);
        if alike > tolerance && difference < alike / 10.0 {
            return Err(Error::Loss(LossError::WeightedByBatch { examples, weights }));
        }
    }
    Ok(())
}

/// The constant by which the loss is divided at the end, if the trace shows one.
fn constant_divisor<M, X, F>(model: &M, batch: &X, loss: &F) -> Option<f64>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    let tensors = ModuleTensors::of(model).ok()?;
    let trace = trace(model, &tensors, batch, loss).ok()?;
    let makers: HashMap<_, _> =
        trace.operations.iter().flat_map(|op| op.outputs().map(move |out| (out.id, op))).collect();
    let (mut factor, mut at) = (1.0, trace.loss);
    // A trace makes each tensor from earlier ones, so this ends.
    while let Some(op) = makers.get(&at) {
        use NumericOperationIr as Op;
        at = match op {
            OperationIr::NumericFloat(_, Op::DivScalar(op)) => {
                factor /= number(op.rhs);
                op.lhs.id
            }
            OperationIr::NumericFloat(_, Op::MulScalar(op)) => {
                factor *= number(op.rhs);
                op.lhs.id
            }
            OperationIr::NumericFloat(_, Op::Sum(op)) => op.input.id,
            OperationIr::NumericFloat(_, Op::Neg(op)) => op.input.id,
            OperationIr::BaseFloat(BaseOperationIr::Reshape(op)) => op.input.id,
            _ => break,
        };
    }
    let divisor = 1.0 / f64::abs(factor);
    // Rounded, because a division is traced as a product with the reciprocal.
    let whole = divisor.round();
    let divisor = if (divisor - whole).abs() < 1e-4 * whole { whole } else { divisor };
    (divisor.is_finite() && divisor > 1.0).then_some(divisor)
}

fn number(scalar: ScalarIr) -> f64 {
    match scalar {
        ScalarIr::Float(x) => x,
        ScalarIr::Int(x) => x as f64,
        ScalarIr::UInt(x) => x as f64,
        ScalarIr::Bool(_) => 1.0,
    }
}
