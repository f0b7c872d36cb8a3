//! Whole steps: forward and backward pass, clipping, noise, and SGD's update of the weights.
//!
//! SGD, so that the optimizer's own arithmetic, which privacy does not change, hides nothing.

use std::time::Instant;

use anyhow::{Result, anyhow};
use burn::module::Module;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::Tensor;
use burn_dp::DpOptimizer;
use burn_dp::batch::Batch;
use burn_dp::per_example::Traced;
use burn_dp::privacy::*;
use burn_dp::seed::Seed;
use burn_dp::selection::{LowRank, ParamSelector};
use finetune::memory::{peak_megabytes, resident_megabytes};
use serde::Serialize;

use super::{Args, Mode, Train};

const WARM_UP: usize = 2;
const LEARNING_RATE: f64 = 1e-4;

/// What one process found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Each timed step.
    milliseconds: Vec<f64>,
    first_milliseconds: f64,
    /// The trace and the plan, once for these shapes; none where there is no privacy.
    plan_milliseconds: Option<f64>,
    /// Resident before the first step: program, weights and data.
    start_megabytes: f64,
    peak_megabytes: f64,
}

pub fn steps<M: Module, X: Batch>(
    args: &Args,
    model: M,
    batch: X,
    loss: fn(&M, X) -> Tensor<1>,
) -> Result<Report> {
    let model = select(args.train, model)?;
    let start_megabytes = resident_megabytes().unwrap_or(f64::NAN);
    let (plan_milliseconds, mut times) = match args.mode {
        Mode::Ordinary => (None, ordinary(args, model, &batch, loss)?),
        Mode::Private => private(args, model, &batch, loss)?,
    };
    let milliseconds = times.split_off(WARM_UP);
    Ok(Report {
        milliseconds,
        first_milliseconds: times.swap_remove(0),
        plan_milliseconds,
        start_megabytes,
        peak_megabytes: peak_megabytes().unwrap_or(f64::NAN),
    })
}

fn select<M: Module>(train: Train, model: M) -> Result<M> {
    let head = || ParamSelector::path("head");
    let (model, selector) = match train {
        Train::Full => (model, ParamSelector::all()),
        Train::Bias => (model, ParamSelector::bias().union(head())),
        Train::Head => (model, head()),
        Train::Lora => {
            let layers = ParamSelector::regex(r"encoder\.layers\.\d+\..*(y|e|t|up|down)\.weight$")?;
            let adapters = LowRank::new(8, 16.0)?.on(&layers.select(&model)?);
            (adapters.apply(model)?, ParamSelector::lora().union(head()))
        }
    };
    Ok(selector.select(&model)?.apply(model)?)
}

fn ordinary<M: Module, X: Batch>(
    args: &Args,
    mut model: M,
    batch: &X,
    loss: fn(&M, X) -> Tensor<1>,
) -> Result<Vec<f64>> {
    let mut optimizer = SgdConfig::new().init();
    let mut times = Vec::new();
    for _ in 0..WARM_UP + args.steps {
        let start = Instant::now();
        let gradients = loss(&model, batch.clone()).backward();
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = optimizer.step(LEARNING_RATE, model, gradients);
        wait(args)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

fn private<M: Module, X: Batch>(
    args: &Args,
    mut model: M,
    batch: &X,
    loss: fn(&M, X) -> Tensor<1>,
) -> Result<(Option<f64>, Vec<f64>)> {
    let plan = PrivacyPlan::builder()
        .noise_multiplier(NoiseMultiplier::new(1.0)?)
        .sampling_rate(SamplingRate::new(0.01)?)
        .expected_batch_size(ExpectedBatchSize::new(32.0)?)
        .steps(Steps::from((WARM_UP + args.steps) as u64))
        .clipping(Clipping::flat(ClippingNorm::new(1.0)?))
        .build()?;
    let mut engine = Traced::new(loss);
    let start = Instant::now();
    engine.explain(&model, batch)?;
    let planned = start.elapsed().as_secs_f64() * 1e3;
    let seed = Seed::reproducible(1);
    let mut optimizer = DpOptimizer::with_seed(plan, SgdConfig::new().init(), engine, seed);
    let mut times = Vec::new();
    for _ in 0..WARM_UP + args.steps {
        let start = Instant::now();
        let logical = optimizer.vouch_for_poisson(vec![batch.clone(); args.parts]);
        optimizer.step(LEARNING_RATE, &mut model, logical)?;
        wait(args)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok((Some(planned), times))
}

/// Until a GPU has done what it was given.
fn wait(args: &Args) -> Result<()> {
    args.device.device().sync().map_err(|error| anyhow!("the device failed: {error:?}"))
}
