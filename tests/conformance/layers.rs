//! Dense layers, embeddings, normalizations and activations.

use burn::module::{Module, Param};
use burn::nn::activation::*;
use burn::nn::norm::*;
use burn::nn::*;
use burn::tensor::Tensor;

use crate::harness::{Bench, Case, EXAMPLES as N, Outcome, score};

pub const CASES: &[Case] = &[
    ("Linear", |b| linear(b, LinearConfig::new(3, 4))),
    ("Linear without bias", |b| linear(b, LinearConfig::new(3, 4).with_bias(false))),
    ("Linear in column layout", |b| {
        linear(b, LinearConfig::new(3, 4).with_layout(LinearLayout::Col))
    }),
    ("Linear at many positions", |b| {
        let model = LinearConfig::new(3, 4).init(&b.device);
        b.run(model, b.floats([N, 2, 3, 3]), |m, x| score(m.forward(x)))
    }),
    ("Linear wider than its positions", |b| {
        let model = LinearConfig::new(9, 8).init(&b.device);
        b.run(model, b.floats([N, 3, 9]), |m, x| score(m.forward(x)))
    }),
    ("Embedding", |b| {
        let model = EmbeddingConfig::new(5, 3).init(&b.device);
        b.run(model, b.ints([N, 4], 5), |m, x| score(m.forward(x)))
    }),
    ("Embedding larger than its positions", |b| {
        let model = EmbeddingConfig::new(11, 6).init(&b.device);
        b.run(model, b.ints([N, 3], 11), |m, x| score(m.forward(x)))
    }),
    ("LayerNorm", |b| {
        let model = LayerNormConfig::new(4).init(&b.device);
        b.run(model, b.floats([N, 3, 4]), |m, x| score(m.forward(x)))
    }),
    ("LayerNorm between Linears", |b| {
        let norm = LayerNormConfig::new(4).init(&b.device);
        between(b, norm, |m, x| m.forward(x))
    }),
    ("RmsNorm", |b| {
        let norm = RmsNormConfig::new(4).init(&b.device);
        between(b, norm, |m, x| m.forward(x))
    }),
    ("GroupNorm", |b| {
        let norm = GroupNormConfig::new(2, 4).init(&b.device);
        between(b, norm, |m, x| m.forward(x.swap_dims(1, 2)))
    }),
    ("InstanceNorm", |b| {
        let norm = InstanceNormConfig::new(4).init(&b.device);
        between(b, norm, |m, x| m.forward(x.swap_dims(1, 2)))
    }),
    ("LocalResponseNorm", |b| {
        let norm = LocalResponseNormConfig::new(2).init();
        between(b, norm, |m, x| m.forward(x.swap_dims(1, 2)))
    }),
    ("BatchNorm frozen", |b| {
        let norm = BatchNormConfig::new(4).init(&b.device).freeze();
        between(b, norm, |m, x| m.forward(x.swap_dims(1, 2)))
    }),
    ("BatchNorm with fixed statistics and trainable gain", |b| {
        let mut norm = BatchNormConfig::new(4).init(&b.device);
        norm.training = Param::from_bool(false);
        between(b, norm, |m, x| m.forward(x.swap_dims(1, 2)))
    }),
    ("Normalization", |b| {
        let norm = NormalizationConfig::Layer(LayerNormConfig::new(4)).init(&b.device);
        between(b, norm, |m, x| m.forward(x))
    }),
    ("PRelu", |b| {
        let model = PReluConfig::new().init(&b.device);
        b.run(model, b.floats([N, 3, 2]), |m, x| score(m.forward(x)))
    }),
    ("PRelu with a slope a channel", |b| {
        let model = PReluConfig::new().with_num_parameters(3).init(&b.device);
        b.run(model, b.floats([N, 3, 2]), |m, x| score(m.forward(x)))
    }),
    ("SwiGlu", |b| {
        let model = SwiGluConfig::new(3, 4).with_bias(true).init(&b.device);
        b.run(model, b.floats([N, 2, 3]), |m, x| score(m.forward(x)))
    }),
    ("GLU", |b| pointwise(b, |x| GLU::new(2).forward(x))),
    ("Gelu", |b| pointwise(b, |x| Gelu::new().forward(x))),
    ("Gelu approximate", |b| pointwise(b, |x| Gelu::new_approximate().forward(x))),
    ("Relu", |b| pointwise(b, |x| Relu::new().forward(x))),
    ("Relu6", |b| pointwise(b, |x| Relu6::new().forward(x))),
    ("LeakyRelu", |b| pointwise(b, |x| LeakyReluConfig::new().init().forward(x))),
    ("RRelu frozen", |b| pointwise(b, |x| RReluConfig::new().init().freeze().forward(x))),
    ("Selu", |b| pointwise(b, |x| Selu::new().forward(x))),
    ("Elu", |b| pointwise(b, |x| EluConfig::new().init().forward(x))),
    ("Celu", |b| pointwise(b, |x| CeluConfig::new().init().forward(x))),
    ("Silu", |b| pointwise(b, |x| SiLU::new().forward(x))),
    ("Mish", |b| pointwise(b, |x| Mish::new().forward(x))),
    ("Sigmoid", |b| pointwise(b, |x| Sigmoid::new().forward(x))),
    ("LogSigmoid", |b| pointwise(b, |x| LogSigmoid::new().forward(x))),
    ("HardSigmoid", |b| pointwise(b, |x| HardSigmoidConfig::new().init().forward(x))),
    ("HardSwish", |b| pointwise(b, |x| HardSwish::new().forward(x))),
    ("Hardtanh", |b| pointwise(b, |x| HardtanhConfig::new().init().forward(x))),
    ("Tanh", |b| pointwise(b, |x| Tanh::new().forward(x))),
    ("Tanhshrink", |b| pointwise(b, |x| Tanhshrink::new().forward(x))),
    ("HardShrink", |b| pointwise(b, |x| HardShrinkConfig::new().init().forward(x))),
    ("SoftShrink", |b| pointwise(b, |x| SoftShrinkConfig::new().init().forward(x))),
    ("Shrink", |b| pointwise(b, |x| ShrinkConfig::new().init().forward(x))),
    ("Softplus", |b| pointwise(b, |x| SoftplusConfig::new().init().forward(x))),
    ("Softsign", |b| pointwise(b, |x| Softsign::new().forward(x))),
    ("Threshold", |b| pointwise(b, |x| ThresholdConfig::new(0.1, 0.2).init().forward(x))),
    ("ThresholdedRelu", |b| pointwise(b, |x| ThresholdedReluConfig::new().init().forward(x))),
    ("Identity", |b| pointwise(b, |x| Identity::new().forward(x))),
    ("Activation", |b| {
        let model = ActivationConfig::PRelu(PReluConfig::new()).init(&b.device);
        b.run(model, b.floats([N, 3, 2]), |m, x| score(m.forward(x)))
    }),
    ("Dropout with probability zero", |b| {
        pointwise(b, |x| DropoutConfig::new(0.0).init().forward(x))
    }),
    ("Dropout frozen", |b| pointwise(b, |x| DropoutConfig::new(0.5).init().freeze().forward(x))),
    ("GaussianNoise frozen", |b| {
        pointwise(b, |x| GaussianNoiseConfig::new(0.5).init().freeze().forward(x))
    }),
    ("CosineSimilarity", |b| {
        let model = b.parameter([2, 3]);
        b.run(model, b.floats([N, 2, 3]), |m, x| {
            let x = x.reshape([-1, 3]);
            score(CosineSimilarityConfig::new().init().forward(x, m.val()))
        })
    }),
    ("PairwiseDistance", |b| {
        let model = b.parameter([2, 3]);
        b.run(model, b.floats([N, 2, 3]), |m, x| {
            let x = x.reshape([-1, 3]);
            score(PairwiseDistanceConfig::new().init().forward(x, m.val()))
        })
    }),
];

fn linear(b: &Bench, config: LinearConfig) -> Outcome {
    b.run(config.init(&b.device), b.floats([N, 3]), |m, x| score(m.forward(x)))
}

/// A layer between two trainable layers.
fn between<M: Module>(b: &Bench, layer: M, forward: fn(&M, Tensor<3>) -> Tensor<3>) -> Outcome {
    let before = LinearConfig::new(3, 4).init(&b.device);
    let after = LinearConfig::new(4, 2).init(&b.device);
    b.run((before, layer, after), b.floats([N, 4, 3]), move |(before, layer, after), x| {
        score(after.forward(forward(layer, before.forward(x))))
    })
}

/// A function of each entry, on entries that depend on a parameter.
fn pointwise(b: &Bench, forward: fn(Tensor<3>) -> Tensor<3>) -> Outcome {
    b.run(b.parameter([1, 3, 4]), b.floats([N, 3, 4]), move |p, x| {
        score(forward(x.clone() * p.val() * 4.0 + x))
    })
}
