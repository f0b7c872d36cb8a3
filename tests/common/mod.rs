//! Shared by the tests of the private step: a model with every kind of gradient, records for it,
//! every engine path and every clipping, and an optimizer that shows its gradient.
#![allow(dead_code)] // Each test crate uses a part.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{
    Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig1d,
};
use burn::optim::{ModuleOptimizer, Optimizer, SgdState};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_dp::batch::Batch;
use burn_dp::per_example::{Engine, Loop, NormMethod, PerExample, Traced};
use burn_dp::privacy::{
    AdaptiveClipping, Adjacency, Clipping, ClippingNorm, Delta, ExpectedBatchSize, NoiseMultiplier,
    PrivacyPlan, PrivacyPlanBuilder, SamplingRate, Steps,
};
use burn_dp::seed::Seed;
use burn_dp::{DpOptimizer, Result};

/// The public divisor of [`plan`]; no test has this many records.
pub const DIVISOR: f64 = 16.0;
/// Positions of a record.
pub const LENGTH: usize = 3;
/// Features of a position.
pub const WIDTH: usize = 4;
/// Distinct tokens.
pub const TOKENS: usize = 16;

/// A model with an embedding, a layer that is used twice at every position, normalization, a
/// convolution and a dense layer.
#[derive(Module, Debug)]
pub struct Net {
    pub embedding: Embedding,
    pub mix: Linear,
    pub norm: LayerNorm,
    pub conv: Conv1d,
    pub head: Linear,
}

impl Net {
    /// A model with the same weights at every call.
    pub fn new(device: &Device) -> Self {
        let conv = Conv1dConfig::new(WIDTH, WIDTH, 2).with_padding(PaddingConfig1d::Valid);
        fill(Self {
            embedding: EmbeddingConfig::new(TOKENS, WIDTH).init(device),
            mix: LinearConfig::new(WIDTH, WIDTH).init(device),
            norm: LayerNormConfig::new(WIDTH).init(device),
            conv: conv.init(device),
            head: LinearConfig::new(WIDTH, 2).init(device),
        })
    }

    pub fn forward(&self, features: Tensor<3>, tokens: Tensor<2, Int>) -> Tensor<2> {
        let x = features + self.embedding.forward(tokens);
        let x = self.mix.forward(self.mix.forward(x).tanh()).tanh();
        let x = self.conv.forward(self.norm.forward(x).swap_dims(1, 2)).tanh();
        self.head.forward(x.mean_dim(2).flatten(1, 2))
    }

    pub fn loss(&self, batch: Records) -> Tensor<1> {
        let y = self.forward(batch.features, batch.tokens);
        (y.powi_scalar(2).mean_dim(1).flatten::<1>(0, 1) * batch.weights).mean()
    }
}

/// A batch for [`Net`].
#[derive(Clone, Debug)]
pub struct Records {
    /// `[batch, LENGTH, WIDTH]`
    pub features: Tensor<3>,
    /// `[batch, LENGTH]`
    pub tokens: Tensor<2, Int>,
    /// `[batch]`: multiplies the loss, and so the gradient.
    pub weights: Tensor<1>,
}
burn_dp::impl_batch!(Records { features, tokens, weights });

/// One record on the host.
#[derive(Clone, Debug)]
pub struct Record {
    pub features: Vec<f32>,
    pub tokens: Vec<i32>,
    pub weight: f32,
}

/// `count` records, different for every `seed`.
pub fn records(count: usize, seed: u64) -> Vec<Record> {
    let record = |index: usize| {
        let numbers = numbers(seed * 1000 + index as u64, LENGTH * WIDTH + LENGTH);
        let (features, tokens) = numbers.split_at(LENGTH * WIDTH);
        let tokens = tokens.iter().map(|x| ((x + 1.0) / 2.0 * TOKENS as f32) as i32).collect();
        Record { features: features.to_vec(), tokens, weight: 1.0 }
    };
    (0..count).map(record).collect()
}

/// `record` with its loss, and so its gradient, multiplied by `weight`.
pub fn weighted(record: &Record, weight: f32) -> Record {
    Record { weight, ..record.clone() }
}

/// The records as one physical batch.
pub fn collate(records: &[Record], device: &Device) -> Records {
    let count = records.len();
    let features: Vec<f32> = records.iter().flat_map(|r| r.features.clone()).collect();
    let tokens: Vec<i32> = records.iter().flat_map(|r| r.tokens.clone()).collect();
    let weights: Vec<f32> = records.iter().map(|r| r.weight).collect();
    Records {
        features: Tensor::from_data(TensorData::new(features, [count, LENGTH, WIDTH]), device),
        tokens: Tensor::from_data(TensorData::new(tokens, [count, LENGTH]), device),
        weights: Tensor::from_data(TensorData::new(weights, [count]), device),
    }
}

/// The device of the tests.
pub fn device() -> Device {
    Device::default().autodiff()
}

/// Reproducible numbers in `[-1, 1)`: splitmix64.
pub fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(number).take(count).collect()
}

/// `model` with reproducible values in every float parameter.
pub fn fill<M: Module>(model: M) -> M {
    struct Fill(u64);
    impl ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0 += 1;
            let seed = self.0;
            param.map(|t| {
                let shape = t.shape();
                let mut values = numbers(seed, shape.num_elements());
                values.iter_mut().for_each(|x| *x = 0.6 * *x + if D == 1 { 0.5 } else { 0.0 });
                Tensor::from_data(TensorData::new(values, shape), &t.device())
                    .set_require_grad(t.is_require_grad())
            })
        }
    }
    model.map(&mut Fill(50))
}

/// Every float parameter of `model`, in visiting order.
pub fn values<M: Module>(model: &M) -> Vec<Vec<f32>> {
    visited(model).into_iter().map(|(_, values)| values).collect()
}

/// The trainable parameters of `model`, in visiting order, one after the other.
pub fn trainable<M: Module>(model: &M) -> Vec<f64> {
    let trainable = visited(model).into_iter().filter(|(trainable, _)| *trainable);
    trainable.flat_map(|(_, values)| values).map(f64::from).collect()
}

fn visited<M: Module>(model: &M) -> Vec<(bool, Vec<f32>)> {
    #[derive(Default)]
    struct Values(Vec<(bool, Vec<f32>)>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.val().without_autodiff().into_data();
            self.0.push((param.is_require_grad(), data.iter::<f32>().collect()));
        }
    }
    let mut values = Values::default();
    model.visit(&mut values);
    values.0
}

/// The bits of every float parameter.
pub fn bits<M: Module>(model: &M) -> Vec<Vec<u32>> {
    values(model).iter().map(|v| v.iter().map(|x| x.to_bits()).collect()).collect()
}

/// The L2 norm.
pub fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The L2 distance.
pub fn distance(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len());
    norm(&x.iter().zip(y).map(|(x, y)| x - y).collect::<Vec<_>>())
}

/// Every way to a per-example gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Path {
    Mixed,
    Ghost,
    Materialized,
    Loop,
}

pub const PATHS: [Path; 4] = [Path::Mixed, Path::Ghost, Path::Materialized, Path::Loop];

impl Path {
    pub fn engine<F>(self, loss: F) -> AnyEngine<F> {
        let traced = |method| AnyEngine::Traced(Box::new(method));
        match self {
            Self::Mixed => traced(Traced::new(loss).with_norm_method(NormMethod::Mixed)),
            Self::Ghost => traced(Traced::new(loss).with_norm_method(NormMethod::Ghost)),
            Self::Materialized => {
                traced(Traced::new(loss).with_norm_method(NormMethod::Materialized))
            }
            Self::Loop => AnyEngine::Loop(Loop::new(loss)),
        }
    }
}

/// An engine of either kind.
pub enum AnyEngine<F> {
    Traced(Box<Traced<F>>),
    Loop(Loop<F>),
}

impl<M: Module, X: Batch, F: Fn(&M, X) -> Tensor<1>> Engine<M, X> for AnyEngine<F> {
    fn per_example(&mut self, model: &M, batch: X) -> Result<PerExample> {
        match self {
            Self::Traced(engine) => engine.per_example(model, batch),
            Self::Loop(engine) => engine.per_example(model, batch),
        }
    }
}

/// An optimizer whose new parameter is the gradient it was given. It shows what a step releases.
#[derive(Clone)]
pub struct Reveal;

impl Optimizer for Reveal {
    type State<const D: usize> = SgdState<D>;

    fn step<const D: usize>(
        &self,
        _: f64,
        _: Tensor<D>,
        gradient: Tensor<D>,
        _: Option<SgdState<D>>,
    ) -> (Tensor<D>, Option<SgdState<D>>) {
        (gradient, None)
    }

    fn to_device<const D: usize>(state: SgdState<D>, _: &Device) -> SgdState<D> {
        state
    }
}

/// C, R or the initial C of every clipping of [`clippings`].
pub const BOUND: f64 = 0.8;

/// One of every kind for [`Net`], each with sensitivity [`BOUND`].
pub fn clippings() -> Vec<(&'static str, Clipping)> {
    clippings_in([("mix", 0.2), ("head.bias", 0.3), ("", 0.5)])
}

/// The same with other groups. Each is a prefix and its share of the squared bound.
pub fn clippings_in<const N: usize>(groups: [(&str, f64); N]) -> Vec<(&'static str, Clipping)> {
    let norm = |x: f64| ClippingNorm::new(x).expect("a positive norm");
    let group = |(path, share): (&str, f64)| (path.to_owned(), norm(BOUND * share.sqrt()));
    let groups = groups.map(group).to_vec();
    vec![
        ("flat", flat(BOUND)),
        ("automatic", Clipping::automatic(norm(BOUND), 0.01).expect("valid")),
        ("per group", Clipping::per_group(groups).expect("valid")),
        ("adaptive", adaptive(BOUND, 40.0)),
    ]
}

pub fn flat(clipping_norm: f64) -> Clipping {
    Clipping::flat(clipping_norm).expect("a positive norm")
}

pub fn adaptive(initial: f64, count_noise_std: f64) -> Clipping {
    let initial = ClippingNorm::new(initial).expect("a positive norm");
    AdaptiveClipping::new(initial, 0.5, 0.2, count_noise_std).expect("valid").into()
}

/// Every record enters every batch; 50 steps; noise multiplier `z`.
pub fn plan(clipping: Clipping, z: f64) -> PrivacyPlan {
    builder(clipping, z).build().expect("a valid plan")
}

pub fn builder(clipping: Clipping, z: f64) -> PrivacyPlanBuilder {
    PrivacyPlan::builder()
        .sampling_rate(SamplingRate::new(1.0).expect("a rate"))
        .expected_batch_size(ExpectedBatchSize::new(DIVISOR).expect("a size"))
        .steps(Steps::from(50))
        .clipping(clipping)
        .noise_multiplier(NoiseMultiplier::new(z).expect("a multiplier"))
        .adjacency(Adjacency::AddRemove)
}

pub fn delta() -> Delta {
    Delta::new(1e-5).expect("a delta")
}

/// An optimizer for [`Net`] with a reproducible seed.
pub type NetOptimizer = DpOptimizer<AnyEngine<fn(&Net, Records) -> Tensor<1>>>;

pub fn optimizer(
    plan: PrivacyPlan,
    optimizer: impl Into<ModuleOptimizer>,
    path: Path,
    seed: u64,
) -> NetOptimizer {
    let engine = path.engine(Net::loss as fn(&Net, Records) -> Tensor<1>);
    DpOptimizer::with_seed(plan, optimizer, engine, Seed::reproducible(seed))
}

/// One step on `records`, in physical batches of `physical`.
pub fn step(
    optimizer: &mut NetOptimizer,
    learning_rate: f64,
    model: &mut Net,
    records: &[Record],
    physical: usize,
) -> Result<()> {
    let device = device();
    let batches: Vec<Records> = records.chunks(physical).map(|r| collate(r, &device)).collect();
    let batch = optimizer.vouch_for_poisson(batches);
    optimizer.step(learning_rate, model, batch)
}

/// The release of one step of `plan` on `records`, times the divisor: the sum of the clipped
/// gradients and the noise.
pub fn release(plan: &PrivacyPlan, path: Path, records: &[Record], physical: usize) -> Vec<f64> {
    release_of(Net::new(&device()), plan, path, records, physical)
}

/// [`release`] for a given model.
pub fn release_of(
    mut model: Net,
    plan: &PrivacyPlan,
    path: Path,
    records: &[Record],
    physical: usize,
) -> Vec<f64> {
    let mut optimizer = optimizer(plan.clone(), Reveal, path, 7);
    step(&mut optimizer, 1.0, &mut model, records, physical).expect("a step");
    trainable(&model).into_iter().map(|x| x * plan.divisor()).collect()
}
