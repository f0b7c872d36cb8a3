//! How one optimizer is distinguished from another.
//!
//! burn shows neither an optimizer's type nor its settings once it is a `ModuleOptimizer`. Adam's
//! record also fits AdamW, and Adam with other betas. So an optimizer is identified by what it
//! does. It is tried, from its start, on a model with the same paths but a few numbers in each
//! parameter, and on three gradients that distinguish settings.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{
    AdaGradConfig, AdamConfig, AdamWConfig, AdanConfig, GradientsParams, LambConfig, LionConfig,
    ModuleOptimizer, OptimizerRecord, RmsPropConfig, SgdConfig,
};
use burn::tensor::{DType, Tensor, TensorData};

use crate::error::{CheckpointError, Error, Result};

/// The first is so small that Adam's ε shows; the second is ordinary; the third is so large that
/// gradients are clipped.
const SCALES: [f32; 3] = [1e-4, 0.5, 40.0];
const GRADIENT: [f32; 4] = [1.0, -2.0, 0.5, 3.0];
const START: [f32; 4] = [1.0, -0.5, 0.75, 2.0];
const RATE: f64 = 0.1;

/// Backends round differently. Adam with β₂ = 0.999 differs from Adam with 0.998 by five times
/// this.
const TOLERANCE: f32 = 1e-5;

/// Every parameter after each of three steps. `None` for an optimizer that draws random numbers, or
/// that cannot be tried in this way.
pub(super) fn behavior<M: Module>(optimizer: &ModuleOptimizer, model: &M) -> Option<Vec<f32>> {
    let first = try_out(optimizer, model)?;
    (try_out(optimizer, model)? == first).then_some(first)
}

/// # Errors
/// When `optimizer` does not do what the checkpoint's did.
pub(super) fn check<M: Module>(
    optimizer: &ModuleOptimizer,
    model: &M,
    then: Option<&[f32]>,
) -> Result<()> {
    let now = behavior(optimizer, model);
    let (Some(then), Some(now)) = (then, now.as_deref()) else { return Ok(()) };
    if same(then, now) {
        return Ok(());
    }
    let describe = |behavior: &[f32]| describe(behavior, model);
    Err(Error::Checkpoint(CheckpointError::OfAnotherOptimizer {
        saved: describe(then),
        given: describe(now),
    }))
}

fn same(a: &[f32], b: &[f32]) -> bool {
    let close = |(a, b): (&f32, &f32)| {
        (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0) || (a.is_nan() && b.is_nan())
    };
    a.len() == b.len() && a.iter().zip(b).all(close)
}

/// A description in words: one of burn's optimizers with its default settings, or the effect on a
/// parameter.
fn describe<M: Module>(behavior: &[f32], model: &M) -> String {
    let known: [(&str, ModuleOptimizer); 8] = [
        ("SGD", SgdConfig::new().init()),
        ("Adam", AdamConfig::new().init()),
        ("AdamW", AdamWConfig::new().init()),
        ("AdaGrad", AdaGradConfig::new().init()),
        ("RMSprop", RmsPropConfig::new().init()),
        ("Lion", LionConfig::new().init()),
        ("Adan", AdanConfig::new().init()),
        ("LAMB", LambConfig::new().init()),
    ];
    let is = |optimizer| try_out(optimizer, model).is_some_and(|known| same(&known, behavior));
    let steps = behavior.chunks((behavior.len() / SCALES.len()).max(1));
    let moved: Vec<f32> = steps.filter_map(|step| step.first().copied()).collect();
    match known.iter().find(|(_, optimizer)| is(optimizer)) {
        Some((name, _)) => format!("{name} with burn's default settings"),
        None => {
            format!("one that moves a parameter from 1 to {moved:?} on the gradients {SCALES:?}")
        }
    }
}

fn try_out<M: Module>(optimizer: &ModuleOptimizer, model: &M) -> Option<Vec<f32>> {
    // A user's own optimizer may expect more of a parameter than this.
    let tried = catch_unwind(AssertUnwindSafe(|| {
        let mut optimizer = optimizer.clone().load_record(OptimizerRecord::default());
        let mut model = model.valid().map(&mut Small);
        let mut read = Read(Some(Vec::new()));
        for scale in SCALES {
            let mut gradients = Gradients { scale, gradients: GradientsParams::new() };
            model.visit(&mut gradients);
            model = optimizer.step(RATE, model, gradients.gradients);
            model.visit(&mut read);
        }
        read.0
    }));
    tried.ok().flatten()
}

/// At most two by two numbers, whatever the rank.
fn small<const D: usize>(numbers: &[f32; 4], scale: f32) -> TensorData {
    let mut shape = [1; D];
    shape.iter_mut().rev().take(2).for_each(|length| *length = 2);
    let numbers = numbers.iter().take(shape.iter().product()).map(|x| x * scale);
    TensorData::new(numbers.collect::<Vec<f32>>(), shape)
}

/// Puts a few numbers into every parameter.
struct Small;

impl ModuleMapper for Small {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            let device = tensor.device().autodiff();
            Tensor::from_data(small::<D>(&START, 1.0), (&device, DType::F32)).require_grad()
        })
    }
}

/// A gradient for every parameter.
struct Gradients {
    scale: f32,
    gradients: GradientsParams,
}

impl ModuleVisitor for Gradients {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let device = param.base().device().without_autodiff();
        let gradient = small::<D>(&GRADIENT, self.scale);
        self.gradients.register(param.id, Tensor::<D>::from_data(gradient, (&device, DType::F32)));
    }
}

/// The parameters' numbers; `None` if some cannot be read.
struct Read(Option<Vec<f32>>);

impl ModuleVisitor for Read {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let data = param.base().without_autodiff().try_into_data();
        self.0 = self.0.take().and_then(|mut numbers| {
            numbers.extend(data.ok()?.iter::<f32>());
            Some(numbers)
        });
    }
}
