//! The classifier that all clients train.

use burn::module::{Initializer, Module};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use finetune::models::cross_entropy;

use crate::data::{Batch, Clients};

/// Two layers without biases, so that all of it can be masked.
#[derive(Module, Debug)]
pub struct Classifier {
    pub hidden: Linear,
    pub head: Linear,
}

impl Classifier {
    /// Random weights, the same for all who know the seed.
    pub fn new(clients: &Clients, hidden: usize, seed: u64, device: &Device) -> Self {
        device.seed(seed);
        let linear = |from: usize, to: usize| {
            let config = LinearConfig::new(from, to).with_bias(false);
            let initializer = Initializer::KaimingNormal { gain: 2f64.sqrt(), fan_out_only: false };
            config.with_initializer(initializer).init(device)
        };
        Self { hidden: linear(clients.width, hidden), head: linear(hidden, clients.classes) }
    }

    /// The same with weights of one size, whose signs alone are random: what masks choose from best (Ramanujan et
    /// al. 2020, section 4; FedPM, section 4).
    #[must_use]
    pub fn signs(mut self) -> Self {
        for layer in [&mut self.hidden, &mut self.head] {
            let [rows, _] = layer.weight.dims();
            let size = (2.0 / rows as f64).sqrt();
            layer.weight = layer.weight.clone().map(|weight| weight.sign().mul_scalar(size));
        }
        self
    }

    pub fn forward(&self, features: Tensor<2>) -> Tensor<2> {
        let hidden = burn::tensor::activation::relu(self.hidden.forward(features));
        self.head.forward(hidden)
    }

    pub fn loss(&self, (features, labels): Batch) -> Tensor<1> {
        cross_entropy(self.forward(features), labels)
    }
}
