//! The laws that a case must satisfy, and how they are measured.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Bool, Int, Tensor, TensorData};
use burn_dp::batch::{self, Batch, BatchMapper};
use burn_dp::per_example::{Engine, Loop, NormMethod, PerExample, Traced};

use crate::harness::{EXAMPLES, Figures, Outcome, device, device_is, host, numbers};

/// The largest difference from the batch-of-one gradient, relative to the largest entry of that
/// parameter's gradients. burn's CUDA backend multiplies with ten bits of f32's fraction (TF32),
/// and it uses different kernels for a batch and for one example.
fn tolerance() -> f64 {
    if device_is("cuda") { 1e-2 } else { 1e-4 }
}

/// If a parameter's gradient is zero in exact arithmetic (the key bias of attention, a bias under a
/// normalization), only rounding can be compared. It is measured relative to this part of the
/// largest entry of the whole model's gradient.
const FLOOR: f64 = 1e-2;

/// [`Law::Equality`](crate::harness::Law::Equality).
pub fn equality<M, X, F>(model: &M, batch: &X, loss: &F, norm_floor: f64) -> Outcome
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    let oracle = Loop::new(loss).per_example(model, batch.clone()).map_err(|e| e.to_string())?;
    let oracle = Results::of(&oracle, model);
    if !oracle.gradients.iter().flatten().all(|x| x.is_finite()) {
        return Err("the oracle itself is not finite".to_owned());
    }
    let mut worst = Figures::default();
    for method in [NormMethod::Mixed, NormMethod::Ghost, NormMethod::Materialized] {
        let mut engine = Traced::new(loss).with_norm_method(method);
        for examples in [0, 1, 2, EXAMPLES] {
            let part = batch::slice(batch, 0..examples).map_err(|e| e.to_string())?;
            let given = engine.per_example(model, part).map_err(|e| e.to_string())?;
            // Norms of materialized gradients are sums of squares, where nothing cancels.
            let norm_floor = if method == NormMethod::Materialized { 0.0 } else { norm_floor };
            let figures = compare(&oracle, &given, model, norm_floor)
                .map_err(|e| format!("{e} ({method:?}, {examples} examples)"))?;
            worst = worst.max(figures);
        }
        if engine.traces() != 1 {
            return Err(format!("{} traces of one shape of example", engine.traces()));
        }
    }
    Ok(worst)
}

/// All results of a [`PerExample`], on the host, example by example.
struct Results {
    parameters: Vec<(ParamId, String)>,
    losses: Vec<f64>,
    /// One per parameter: `[examples, ...]`, flat.
    gradients: Vec<Vec<f64>>,
    /// One per parameter.
    norms: Vec<Vec<f64>>,
    total: Vec<f64>,
    /// Upper bounds, not squared.
    clipping_norms: Vec<f64>,
}

impl Results {
    fn of<M: Module>(given: &PerExample, model: &M) -> Self {
        let ranks = Ranks::of(model);
        let parameters: Vec<_> =
            given.parameters().map(|(id, path)| (id, path.to_owned())).collect();
        Self {
            losses: host(given.losses()),
            gradients: parameters.iter().map(|(id, _)| flat(given, *id, ranks[id])).collect(),
            norms: parameters
                .iter()
                .map(|(id, _)| host(given.estimated_squared_norms_of(*id).unwrap()))
                .collect(),
            total: host(given.estimated_squared_norms()),
            clipping_norms: given.clipping_norms().unwrap(),
            parameters,
        }
    }

    /// The rows of the first `examples` of a parameter's gradient.
    fn rows(&self, parameter: usize, examples: usize) -> &[f64] {
        let row = self.gradients[parameter].len() / self.losses.len();
        &self.gradients[parameter][..row * examples]
    }
}

fn compare<M: Module>(
    oracle: &Results,
    given: &PerExample,
    model: &M,
    norm_floor: f64,
) -> Result<Figures, String> {
    let examples = given.len();
    let mut sums = Sums { found: HashMap::new(), gradients: weighted(given, model)? };
    model.visit(&mut sums);
    let given = Results::of(given, model);
    if given.parameters != oracle.parameters {
        return Err(format!("the parameters are {:?}", given.parameters));
    }

    let mut worst = Figures::default();
    let losses = &oracle.losses[..examples];
    let scale = largest(losses).max(1e-3);
    near("the loss", losses, &given.losses, scale)?;

    let floor = FLOOR * oracle.gradients.iter().map(|g| largest(g)).fold(0.0, f64::max);
    let norm_floor = (norm_floor * largest(&oracle.total)).max(floor * floor);
    let mut squares = vec![0.0; examples];
    for (index, (id, path)) in given.parameters.iter().enumerate() {
        let expected = oracle.rows(index, examples);
        let scale = largest(&oracle.gradients[index]).max(floor).max(f64::MIN_POSITIVE);
        let what = format!("the gradient of {path}");
        let error = near(&what, expected, &given.gradients[index], scale)?;
        worst.gradient = worst.gradient.max(error);

        let row = expected.len().checked_div(examples).unwrap_or(0);
        let norms: Vec<f64> =
            (0..examples).map(|i| square(&expected[i * row..(i + 1) * row])).collect();
        squares.iter_mut().zip(&norms).for_each(|(total, norm)| *total += norm);
        let scale = largest(&norms).max(norm_floor).max(f64::MIN_POSITIVE);
        let what = format!("the squared norm of {path}");
        let error = near(&what, &norms, &given.norms[index], scale)?;
        worst.norm = worst.norm.max(error);

        let mut sum = vec![0.0; oracle.gradients[index].len() / EXAMPLES];
        for (i, weight) in weights(examples).into_iter().enumerate() {
            for (to, from) in sum.iter_mut().zip(&expected[i * row..(i + 1) * row]) {
                *to += f64::from(weight) * from;
            }
        }
        let scale = largest(&oracle.gradients[index]).max(floor).max(f64::MIN_POSITIVE);
        let what = format!("the weighted sum of {path}");
        let found = sums.found.get(id).ok_or_else(|| format!("no sum for {path}"))?;
        worst.sum = worst.sum.max(near(&what, &sum, found, scale)?);
    }
    for (example, (square, bound)) in squares.iter().zip(&given.clipping_norms).enumerate() {
        // Up to how far apart the two gradients themselves may be.
        if square.is_finite() && *bound < square.sqrt() * (1.0 - 1e-4) {
            return Err(format!("example {example} is clipped by {bound}, not {}", square.sqrt()));
        }
    }
    if squares.iter().any(|x| *x > 0.0) {
        for (expected, given) in squares.iter().zip(&given.total) {
            let scale = expected.max(1e-4 * largest(&squares));
            let one = |x: &f64| std::slice::from_ref(x).to_vec();
            let error = near("the squared norm", &one(expected), &one(given), scale)?;
            worst.norm = worst.norm.max(error);
        }
    }
    Ok(worst)
}

fn weighted<M: Module>(given: &PerExample, model: &M) -> Result<GradientsParams, String> {
    let weights = weights(given.len());
    let weights = TensorData::new(weights, [given.len()]);
    // Weights may be on the plain device as well as on the autodiff one.
    let weights = Tensor::from_data(weights, &device());
    Ok(given.weighted_sum(weights).map_err(|e| e.to_string())?.into_gradients(model))
}

fn weights(examples: usize) -> Vec<f32> {
    numbers(4, examples)
}

/// The largest difference relative to `scale`.
fn near(what: &str, expected: &[f64], given: &[f64], scale: f64) -> Result<f64, String> {
    if expected.len() != given.len() {
        return Err(format!("{what} has {} entries, not {}", given.len(), expected.len()));
    }
    let mut worst = 0.0;
    for (a, b) in expected.iter().zip(given) {
        let error = (a - b).abs() / scale;
        if error.is_nan() || error > tolerance() {
            return Err(format!("{what} is {b:e}, not {a:e}: off by {error:.1e} relative"));
        }
        worst = f64::max(worst, error);
    }
    Ok(worst)
}

/// [`Law::Separation`](crate::harness::Law::Separation).
pub fn separation<M, X, F>(model: &M, batch: &X, loss: &F) -> Outcome
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    for method in [NormMethod::Ghost, NormMethod::Materialized] {
        let mut engine = Traced::new(loss).with_norm_method(method);
        let mut run = |change| -> Result<Results, String> {
            let batch = batch.clone().map(&mut Changed { change });
            let given = engine.per_example(model, batch).map_err(|e| e.to_string())?;
            Ok(Results::of(&given, model))
        };
        // This first run is not compared: a device that tunes its kernels may change them after it.
        run(Change::Nothing)?;
        let before = run(Change::Nothing)?;
        for change in [Change::Other, Change::Nan] {
            let after = run(change)?;
            for kept in [0, 2] {
                let what = format!("of example {kept} changed ({method:?}, {change:?} in another)");
                let row = kept..kept + 1;
                identical(&before.losses, &after.losses, &row, 3, &format!("the loss {what}"))?;
                identical(&before.total, &after.total, &row, 3, &format!("the norm {what}"))?;
                for (index, (_, path)) in before.parameters.iter().enumerate() {
                    let what = format!("{path} {what}");
                    let (a, b) = (&before.gradients[index], &after.gradients[index]);
                    identical(a, b, &row, 3, &format!("the gradient of {what}"))?;
                    let (a, b) = (&before.norms[index], &after.norms[index]);
                    identical(a, b, &row, 3, &format!("the norm of {what}"))?;
                }
            }
        }
    }
    Ok(Figures::default())
}

fn identical(
    a: &[f64],
    b: &[f64],
    rows: &std::ops::Range<usize>,
    of: usize,
    what: &str,
) -> Result<(), String> {
    let row = a.len() / of;
    let range = rows.start * row..rows.end * row;
    let bits = |x: &[f64]| x[range.clone()].iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    if bits(a) == bits(b) { Ok(()) } else { Err(what.to_owned()) }
}

/// The change to example 1 of the first three.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    /// It is replaced by the batch's last example.
    Other,
    /// Its floats become NaN.
    Nan,
}

struct Changed {
    change: Change,
}

impl Changed {
    fn index(&self) -> usize {
        if matches!(self.change, Change::Other) { EXAMPLES - 1 } else { 1 }
    }
}

impl BatchMapper for Changed {
    fn map_float<const D: usize>(&mut self, t: Tensor<D>) -> Tensor<D> {
        let at = self.index();
        let row = t.clone().slice_dim(0, at..at + 1);
        let row = if matches!(self.change, Change::Nan) { row * f32::NAN } else { row };
        Tensor::cat(vec![t.clone().slice_dim(0, 0..1), row, t.slice_dim(0, 2..3)], 0)
    }

    fn map_int<const D: usize>(&mut self, t: Tensor<D, Int>) -> Tensor<D, Int> {
        let at = self.index();
        let row = t.clone().slice_dim(0, at..at + 1);
        Tensor::cat(vec![t.clone().slice_dim(0, 0..1), row, t.slice_dim(0, 2..3)], 0)
    }

    fn map_bool<const D: usize>(&mut self, t: Tensor<D, Bool>) -> Tensor<D, Bool> {
        let at = self.index();
        let row = t.clone().slice_dim(0, at..at + 1);
        Tensor::cat(vec![t.clone().slice_dim(0, 0..1), row, t.slice_dim(0, 2..3)], 0)
    }
}

/// The rank of every parameter.
#[derive(Default)]
struct Ranks(HashMap<ParamId, usize>);

impl Ranks {
    fn of<M: Module>(model: &M) -> HashMap<ParamId, usize> {
        let mut ranks = Self::default();
        model.visit(&mut ranks);
        ranks.0
    }
}

impl ModuleVisitor for Ranks {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.insert(param.id, D);
    }
}

/// Gradients as burn's optimizers would read them.
struct Sums {
    gradients: GradientsParams,
    found: HashMap<ParamId, Vec<f64>>,
}

impl ModuleVisitor for Sums {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(sum) = self.gradients.get::<D>(param.id) {
            self.found.insert(param.id, host(sum));
        }
    }
}

/// A parameter's per-example gradients, flat.
fn flat(given: &PerExample, id: ParamId, rank: usize) -> Vec<f64> {
    match rank {
        1 => host(given.gradient::<2>(id).unwrap()),
        2 => host(given.gradient::<3>(id).unwrap()),
        3 => host(given.gradient::<4>(id).unwrap()),
        4 => host(given.gradient::<5>(id).unwrap()),
        5 => host(given.gradient::<6>(id).unwrap()),
        _ => panic!("no case has a parameter of rank {rank}"),
    }
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m: f64, x| m.max(x.abs()))
}

fn square(values: &[f64]) -> f64 {
    values.iter().map(|x| x * x).sum()
}
