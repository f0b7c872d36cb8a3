//! Five models, built differently.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::transformer::{
    TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput,
};
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, EmbeddingConfig, GroupNorm, GroupNormConfig, Linear,
    LinearConfig,
};
use burn::tensor::{Int, Tensor};
use burn_dp::selection::{LowRank, ParamSelector};

use crate::common::device;

/// burn's own transformer.
#[derive(Module, Debug)]
pub struct Transformer {
    pub embedding: Embedding,
    pub encoder: TransformerEncoder,
    pub classifier: Linear,
}

impl Transformer {
    pub fn new() -> Self {
        let device = device();
        let encoder = TransformerEncoderConfig::new(8, 16, 2, 3).with_dropout(0.0);
        Self {
            embedding: EmbeddingConfig::new(11, 8).init(&device),
            encoder: encoder.init(&device),
            classifier: LinearConfig::new(8, 3).init(&device),
        }
    }

    pub fn loss(&self, tokens: Tensor<2, Int>) -> Tensor<1> {
        let x = TransformerEncoderInput::new(self.embedding.forward(tokens));
        let x = self.encoder.forward(x).mean_dim(1).flatten::<2>(1, 2);
        self.classifier.forward(x).powi_scalar(2).mean()
    }
}

/// Convolutions, with frozen batch statistics and a trained normalization.
#[derive(Module, Debug)]
pub struct Cnn {
    pub first: Conv2d,
    pub frozen: BatchNorm,
    pub second: Conv2d,
    pub norm: GroupNorm,
    pub head: Linear,
}

impl Cnn {
    pub fn new() -> Self {
        let device = device();
        Self {
            first: Conv2dConfig::new([2, 4], [3, 3]).init(&device),
            frozen: BatchNormConfig::new(4).init(&device).freeze(),
            second: Conv2dConfig::new([4, 6], [3, 3]).init(&device),
            norm: GroupNormConfig::new(2, 6).init(&device),
            head: LinearConfig::new(6, 3).init(&device),
        }
    }

    pub fn loss(&self, images: Tensor<4>) -> Tensor<1> {
        let x = self.frozen.forward(self.first.forward(images)).tanh();
        let x = self.norm.forward(self.second.forward(x)).tanh();
        let x: Tensor<2> = x.flatten::<3>(2, 3).mean_dim(2).flatten(1, 2);
        self.head.forward(x).powi_scalar(2).mean()
    }
}

/// A module in a vector, an option, a tuple and an enum.
#[derive(Module, Debug)]
pub struct Nested {
    pub blocks: Vec<Block>,
    pub gate: Option<Linear>,
    pub pair: (Linear, Linear),
    pub end: End,
}

#[derive(Module, Debug)]
pub struct Block {
    pub inner: Linear,
    pub scale: Param<Tensor<1>>,
    pub output_bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
pub enum End {
    Linear(Linear),
}

impl Nested {
    pub fn new() -> Self {
        let device = device();
        let linear = || LinearConfig::new(4, 4).init(&device);
        let block = || Block {
            inner: linear(),
            scale: Param::from_tensor(Tensor::ones([4], &device)),
            output_bias: Param::from_tensor(Tensor::zeros([4], &device)),
        };
        Self {
            blocks: vec![block(), block()],
            gate: Some(linear()),
            pair: (linear(), linear()),
            end: End::Linear(LinearConfig::new(4, 2).with_bias(false).init(&device)),
        }
    }

    pub fn loss(&self, x: Tensor<2>) -> Tensor<1> {
        let mut x = x;
        for block in &self.blocks {
            let y = block.inner.forward(x) * block.scale.val().unsqueeze();
            x = (y + block.output_bias.val().unsqueeze()).tanh();
        }
        if let Some(gate) = &self.gate {
            x = gate.forward(x.clone()) * x;
        }
        let x = self.pair.1.forward(self.pair.0.forward(x).tanh());
        let End::Linear(end) = &self.end;
        end.forward(x).powi_scalar(2).mean()
    }
}

/// One matrix that both reads tokens and predicts them.
#[derive(Module, Debug)]
pub struct Tied {
    pub tokens: Embedding,
    pub mix: Linear,
    /// A second field for the same parameter. It is refused if it is trained.
    pub again: Option<Embedding>,
}

impl Tied {
    pub fn new(twice: bool) -> Self {
        let device = device();
        let tokens = EmbeddingConfig::new(9, 5).init(&device);
        let again = twice.then(|| tokens.clone());
        Self { tokens, mix: LinearConfig::new(5, 5).init(&device), again }
    }

    pub fn loss(&self, tokens: Tensor<2, Int>) -> Tensor<1> {
        let x = self.mix.forward(self.tokens.forward(tokens)).tanh();
        x.matmul(self.tokens.weight.val().transpose().unsqueeze()).powi_scalar(2).mean()
    }
}

/// The CNN with adapters on its convolutions, and its own head.
pub fn adapted() -> Cnn {
    let model = Cnn::new();
    let convolutions = ParamSelector::regex(r"^(first|second)\.weight$").unwrap();
    let convolutions = convolutions.select(&model).unwrap();
    model.apply_reparameterization(LowRank::new(2, 4.0).unwrap().on(&convolutions))
}

pub fn tokens(count: usize, length: usize, vocabulary: i32) -> Tensor<2, Int> {
    let tokens: Vec<i32> = (0..(count * length) as i32).map(|i| (i * 7 + 3) % vocabulary).collect();
    Tensor::<1, Int>::from_data(tokens.as_slice(), &device()).reshape([count, length])
}

pub fn numbers<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let values = crate::common::numbers(5, count);
    Tensor::<1>::from_data(values.as_slice(), &device()).reshape(shape)
}
