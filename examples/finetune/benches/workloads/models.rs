//! The workloads' models. `benches/peers/torch_steps.py` and `jax_steps.py` have the same.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig, Lstm, LstmConfig,
    PaddingConfig2d,
};
use burn::tensor::activation::{gelu, relu, softmax};
use burn::tensor::{Device, Int, Tensor};

use finetune::models::cross_entropy;
use finetune::models::text::{TextClassifier, TextEncoderConfig, TextInputs};
use finetune::models::vision::SqueezeNet;

/// Three convolutions, each halved, and two dense layers.
#[derive(Module, Debug)]
pub struct Cnn {
    convs: Vec<Conv2d>,
    pool: MaxPool2d,
    hidden: Linear,
    head: Linear,
}

impl Cnn {
    pub fn new(pixels: usize, device: &Device) -> Self {
        let conv = |[from, to]: [usize; 2]| {
            let config = Conv2dConfig::new([from, to], [3, 3]);
            config.with_padding(PaddingConfig2d::Same).init(device)
        };
        let features = 128 * (pixels / 8).pow(2);
        Self {
            convs: [[3, 32], [32, 64], [64, 128]].map(conv).into(),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            hidden: LinearConfig::new(features, 128).init(device),
            head: LinearConfig::new(128, 10).init(device),
        }
    }

    pub fn loss(&self, (x, y): (Tensor<4>, Tensor<1, Int>)) -> Tensor<1> {
        let layer = |x, conv: &Conv2d| self.pool.forward(relu(conv.forward(x)));
        let x = self.convs.iter().fold(x, layer).flatten::<2>(1, 3);
        cross_entropy(self.head.forward(relu(self.hidden.forward(x))), y)
    }
}

/// One post-norm transformer block, the mean over time, and a dense map to two classes.
#[derive(Module, Debug)]
pub struct Block {
    attention: [Linear; 4],
    up: Linear,
    down: Linear,
    norms: [LayerNorm; 2],
    head: Linear,
    heads: usize,
}

#[derive(Config, Debug)]
pub struct BlockConfig {
    width: usize,
}

impl BlockConfig {
    pub fn init(&self, device: &Device) -> Block {
        let d = self.width;
        let linear = |from, to| LinearConfig::new(from, to).init(device);
        let norm = || LayerNormConfig::new(d).init(device);
        Block {
            attention: [(); 4].map(|()| linear(d, d)),
            up: linear(d, 4 * d),
            down: linear(4 * d, d),
            norms: [norm(), norm()],
            head: linear(d, 2),
            heads: d / 32,
        }
    }
}

impl Block {
    pub fn loss(&self, (x, y): (Tensor<3>, Tensor<1, Int>)) -> Tensor<1> {
        let [batch, length, width] = x.dims();
        let size = width / self.heads;
        let split = |layer: &Linear| {
            layer.forward(x.clone()).reshape([batch, length, self.heads, size]).swap_dims(1, 2)
        };
        let [query, key, value, output] = &self.attention;
        let scores = split(query).matmul(split(key).swap_dims(2, 3)) / (size as f64).sqrt();
        let mixed = softmax(scores, 3).matmul(split(value));
        let mixed = mixed.swap_dims(1, 2).reshape([batch, length, width]);
        let x = self.norms[0].forward(output.forward(mixed) + x.clone());
        let inner = gelu(self.up.forward(x.clone()));
        let x = self.norms[1].forward(self.down.forward(inner) + x);
        cross_entropy(self.head.forward(x.mean_dim(1).squeeze_dim::<2>(1)), y)
    }
}

/// MiniLM-L6 with random weights, which change no time.
pub fn encoder(device: &Device) -> anyhow::Result<TextClassifier> {
    TextClassifier::new(TextEncoderConfig::minilm_l6().init(device)?, 2, device)
}

pub fn encoder_loss(
    model: &TextClassifier,
    (tokens, mask, y): (Tensor<2, Int>, Tensor<2>, Tensor<1, Int>),
) -> Tensor<1> {
    cross_entropy(model.forward(TextInputs::new(tokens, mask)), y)
}

pub fn squeezenet_loss(model: &SqueezeNet, (x, y): (Tensor<4>, Tensor<1, Int>)) -> Tensor<1> {
    cross_entropy(model.forward(x), y)
}

/// An LSTM and a dense map of its last state to two classes.
#[derive(Module, Debug)]
pub struct Recurrent {
    lstm: Lstm,
    head: Linear,
}

impl Recurrent {
    pub fn new(width: usize, device: &Device) -> Self {
        Self {
            lstm: LstmConfig::new(width, width, true).init(device),
            head: LinearConfig::new(width, 2).init(device),
        }
    }

    pub fn loss(&self, (x, y): (Tensor<3>, Tensor<1, Int>)) -> Tensor<1> {
        let (_, state) = self.lstm.forward(x, None);
        cross_entropy(self.head.forward(state.hidden), y)
    }
}

/// Words of the embedding-heavy classifier.
pub const VOCABULARY: usize = 32_000;

/// Embeddings, their mean, and two dense layers.
#[derive(Module, Debug)]
pub struct WordClassifier {
    words: Embedding,
    hidden: Linear,
    head: Linear,
}

impl WordClassifier {
    pub fn new(device: &Device) -> Self {
        Self {
            words: EmbeddingConfig::new(VOCABULARY, 128).init(device),
            hidden: LinearConfig::new(128, 128).init(device),
            head: LinearConfig::new(128, 2).init(device),
        }
    }

    pub fn loss(&self, (tokens, y): (Tensor<2, Int>, Tensor<1, Int>)) -> Tensor<1> {
        let mean = self.words.forward(tokens).mean_dim(1).squeeze_dim::<2>(1);
        cross_entropy(self.head.forward(relu(self.hidden.forward(mean))), y)
    }
}
