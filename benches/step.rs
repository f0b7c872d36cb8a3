//! Time of a private step relative to an ordinary one, as ratios in one run:
//! `cargo bench --bench step`.

use criterion::{Criterion, criterion_group, criterion_main};

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::MaxPool2dConfig;
use burn::nn::transformer::{
    TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput,
};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::Distribution;
use burn_dp::per_example::{Engine, Loop, Traced};

#[derive(Module, Debug)]
struct Cnn {
    first: Conv2d,
    second: Conv2d,
    out: Linear,
}

impl Cnn {
    fn new(device: &Device) -> Self {
        let conv = |channels| {
            Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Same).init(device)
        };
        Self {
            first: conv([3, 32]),
            second: conv([32, 64]),
            out: LinearConfig::new(64 * 16 * 16, 10).init(device),
        }
    }

    fn loss(&self, (x, y): (Tensor<4>, Tensor<1, Int>)) -> Tensor<1> {
        use burn::tensor::activation::relu;
        let x = relu(self.first.forward(x));
        let pool = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
        let x = pool.forward(x);
        let x = relu(self.second.forward(x));
        let logits = self.out.forward(x.flatten(1, 3));
        CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, y)
    }
}

fn encoder_loss(model: &TransformerEncoder, x: Tensor<3>) -> Tensor<1> {
    model.forward(TransformerEncoderInput::new(x)).powi_scalar(2).mean()
}

fn benches(c: &mut Criterion) {
    let device = Device::default().autodiff();

    let model = Cnn::new(&device);
    let x = Tensor::<4>::random([32, 3, 32, 32], Distribution::Default, &device);
    let y = Tensor::<1, Int>::zeros([32], &device);
    rows(c, "cnn 3x32x32, batch 32", model, (x, y), Cnn::loss);

    let model = TransformerEncoderConfig::new(128, 256, 4, 1).with_dropout(0.0).init(&device);
    let x = Tensor::<3>::random([16, 64, 128], Distribution::Default, &device);
    rows(c, "transformer d=128 T=64, batch 16", model, x, encoder_loss);
}

fn rows<M, X, F>(c: &mut Criterion, name: &str, model: M, batch: X, loss: F)
where
    M: Module,
    X: burn_dp::batch::Batch,
    F: Fn(&M, X) -> Tensor<1> + Copy,
{
    let mut group = c.benchmark_group(name);
    group.sample_size(10);
    group.bench_function("no privacy", |b| {
        b.iter(|| {
            let gradients = loss(&model, batch.clone()).backward();
            burn::optim::GradientsParams::from_grads(gradients, &model)
        })
    });
    let mut traced = Traced::new(move |model: &M, batch: X| loss(model, batch));
    group
        .bench_function("clipped sum, traced", |b| b.iter(|| clipped(&mut traced, &model, &batch)));
    let mut looped = Loop::new(move |model: &M, batch: X| loss(model, batch));
    group.bench_function("clipped sum, loop", |b| b.iter(|| clipped(&mut looped, &model, &batch)));
    group.finish();
}

fn clipped<M: Module, X: Clone>(
    engine: &mut impl Engine<M, X>,
    model: &M,
    batch: &X,
) -> burn::optim::GradientsParams {
    let gradients = engine.per_example(model, batch.clone()).expect("the model traces");
    let norms = gradients.clipping_norms().expect("the device works");
    let weights: Vec<f32> = norms.iter().map(|norm| norm.recip().min(1.0) as f32).collect();
    let weights = Tensor::from_data(weights.as_slice(), &gradients.losses().device());
    gradients.weighted_sum(weights).expect("one weight an example").into_gradients(model)
}

criterion_group!(step, benches);
criterion_main!(step);
