//! What a run can be asked for.

use std::fmt;
use std::str::FromStr;

use burn_dp::federated::{
    AdaptiveNoise, Encoding, Kind, MaskAggregation, Schedule, ServerOptimizer,
};
use clap::{Args, ValueEnum};
use serde::Serialize;

/// Settings that all roles of a run have in common.
#[derive(Clone, Debug, Args, Serialize)]
pub struct Settings {
    /// What is learned
    #[arg(long, value_enum, default_value = "cifar10")]
    pub task: TaskName,
    /// What is trained of the pretrained model
    #[arg(long, value_enum, default_value = "head")]
    pub train: Train,
    /// Train the head on so many directions of the features of public inputs, instead of on all features
    #[arg(long)]
    pub directions: Option<usize>,
    /// What clients send
    #[arg(long, value_enum, default_value = "weights")]
    pub kind: Sent,
    /// How the server makes one mask of many, for --kind masks
    #[arg(long, value_enum, default_value = "mean")]
    pub aggregation: Aggregation,
    /// Whom the run protects
    #[arg(long, value_enum, default_value = "client")]
    pub unit: Unit,
    /// Registered clients, among whom the training records are divided
    #[arg(long, default_value_t = 1000)]
    pub clients: usize,
    /// Expected clients of a round: each takes part with the same probability
    #[arg(long, default_value_t = 100.0)]
    pub cohort: f64,
    /// Rounds
    #[arg(long, default_value_t = 100)]
    pub rounds: u64,
    /// Epsilon of the whole run for each client or record, or `none` for no noise
    #[arg(long, default_value = "8")]
    pub epsilon: Budget,
    /// The delta that goes with it
    #[arg(long, default_value_t = 1e-5)]
    pub delta: f64,
    /// L2 norm to which a client's update is cut, or under --unit record a record's gradient
    #[arg(long, default_value_t = 0.3)]
    pub clipping_norm: f64,
    /// Gradient steps of a client in a round
    #[arg(long, default_value_t = 5)]
    pub local_steps: usize,
    /// Most records in such a step
    #[arg(long, default_value_t = 64)]
    pub batch: usize,
    /// The probability with which a record enters such a step, in place of --batch under --unit record
    #[arg(long, default_value_t = 0.1)]
    pub sampling_rate: f64,
    /// A public number of records by which each client's sums are divided under --unit record
    /// [default: as many as it has]
    #[arg(long)]
    pub records: Option<usize>,
    /// Learning rate of these steps
    #[arg(long, default_value_t = 0.01)]
    pub learning_rate: f64,
    /// How the server moves the weights
    #[arg(long, value_enum, default_value = "momentum")]
    pub server_optimizer: Optimizer,
    /// Learning rate of the server
    #[arg(long, default_value_t = 1.0)]
    pub server_learning_rate: f64,
    /// What keeps the server's steps small where updates are, for adam and yogi
    #[arg(long, default_value_t = 1e-3)]
    pub adaptivity: f64,
    /// How updates are written: dense, top-k:K, random-k:K, quantized:BITS, bits
    /// [default: bits for masks, dense for the rest]
    #[arg(long, value_parser = encoding)]
    pub encoding: Option<Encoding>,
    /// Concentration of the classes' Dirichlet distribution over clients: small is uneven
    #[arg(long, default_value_t = 0.3)]
    pub alpha: f64,
    /// Width of the hidden layer that --kind masks has
    #[arg(long, default_value_t = 64)]
    pub hidden: usize,
    /// Public inputs, which no client has, for --kind predictions and --directions
    #[arg(long, default_value_t = 1000)]
    pub public_inputs: usize,
    /// How much noise each round gets, at the same epsilon
    #[arg(long, value_enum, default_value = "constant")]
    pub schedule: Noise,
    /// Tokens of a sentence, after which it is cut
    #[arg(long, default_value_t = 48)]
    pub length: usize,
    /// Makes an experiment repeatable, noise included, and so not private
    #[arg(long)]
    pub seed: Option<u64>,
}

/// Data and a pretrained model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskName {
    /// CIFAR-10 with EfficientNet-Lite0
    Cifar10,
    /// Rotten Tomatoes sentences with MiniLM-L6
    Sentiment,
}

/// What is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Train {
    /// The last layer, on features that are computed once
    Head,
    /// Every bias and shift, and the head (DP-BiTFiT)
    Bias,
    /// Low-rank adapters, and the head
    Lora,
    /// A multiplier for each output of the frozen weights (a supermask), and the head
    Scores,
    /// Everything
    All,
}

/// What clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sent {
    /// Changes of weights, or of what stands in for them
    Weights,
    /// Masks of bits over a random two-layer network on the pretrained one's features (FedPM)
    Masks,
    /// Class probabilities of public inputs (FedMD)
    Predictions,
}

/// How the server makes one mask of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aggregation {
    /// The share of clients that keep a weight
    Mean,
    /// What at least half of them keep
    Majority,
    /// The posterior of all rounds
    Posterior,
}

/// Whom a run protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A client, from all but the server, which adds the noise
    Client,
    /// A record of a client, from all but that client, which adds the noise
    Record,
    /// A client, from all others: it adds the noise itself
    Local,
}

/// How much noise each round gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// The same
    Constant,
    /// 1.4 times as much in the first round, 0.7 times in the last, and evenly less between
    Falling,
    /// From 1.4 times, less by a tenth whenever a release was hardly more than noise, at least 0.5 times; ends with the budget
    Adaptive,
}

/// An epsilon, or none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Budget(pub Option<f64>);

impl FromStr for Budget {
    type Err = std::num::ParseFloatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(if text == "none" { None } else { Some(text.parse()?) }))
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(epsilon) => write!(f, "{epsilon}"),
            None => f.write_str("none"),
        }
    }
}

/// The server's optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Optimizer {
    /// FedAvg
    Average,
    /// FedAvgM, momentum 0.9
    Momentum,
    /// FedAdam, betas 0.9 and 0.99
    Adam,
    /// FedYogi, betas 0.9 and 0.99
    Yogi,
}

/// Reddi et al. 2021, arXiv 2003.00295, section 5.
const BETAS: [f64; 2] = [0.9, 0.99];

impl Settings {
    /// What clients send, as the library has it.
    pub fn kind(&self) -> Kind {
        match (self.kind, self.aggregation) {
            (Sent::Weights, _) => Kind::Weights,
            (Sent::Predictions, _) => Kind::Predictions,
            (Sent::Masks, Aggregation::Mean) => Kind::Masks(MaskAggregation::Mean),
            (Sent::Masks, Aggregation::Majority) => Kind::Masks(MaskAggregation::Majority),
            (Sent::Masks, Aggregation::Posterior) => {
                Kind::Masks(MaskAggregation::Posterior { prior: 1.0 })
            }
        }
    }

    /// How much noise each round gets, as the library has it.
    pub fn noise(&self) -> Schedule {
        let last = self.rounds.saturating_sub(1).max(1) as f64;
        match self.schedule {
            Noise::Constant => Schedule::Constant,
            Noise::Falling => {
                Schedule::Public((0..self.rounds).map(|r| 1.4 - 0.7 * r as f64 / last).collect())
            }
            Noise::Adaptive => {
                let (first, decay, least, signal) = (1.4, 0.9, 0.5, 0.1);
                Schedule::Adaptive(AdaptiveNoise { first, decay, least, signal })
            }
        }
    }

    /// The server's optimizer with its numbers.
    pub fn optimizer(&self) -> ServerOptimizer {
        let (learning_rate, adaptivity) = (self.server_learning_rate, self.adaptivity);
        match self.server_optimizer {
            Optimizer::Average => ServerOptimizer::Average { learning_rate },
            Optimizer::Momentum => ServerOptimizer::Momentum { learning_rate, momentum: BETAS[0] },
            Optimizer::Adam => ServerOptimizer::Adam { learning_rate, betas: BETAS, adaptivity },
            Optimizer::Yogi => ServerOptimizer::Yogi { learning_rate, betas: BETAS, adaptivity },
        }
    }
}

fn encoding(text: &str) -> Result<Encoding, String> {
    let (name, number) = text.split_once(':').unwrap_or((text, ""));
    match (name, number.parse::<usize>()) {
        ("dense", _) if number.is_empty() => Ok(Encoding::Dense),
        ("top-k", Ok(keep)) => Ok(Encoding::TopK { keep }),
        ("random-k", Ok(keep)) => Ok(Encoding::RandomK { keep }),
        ("bits", _) if number.is_empty() => Ok(Encoding::Bits),
        ("quantized", Ok(bits)) if bits <= 8 => Ok(Encoding::Quantized { bits: bits as u8 }),
        _ => Err("give dense, top-k:500, random-k:500, quantized:4 or bits".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_read() {
        assert_eq!(encoding("dense"), Ok(Encoding::Dense));
        assert_eq!(encoding("bits"), Ok(Encoding::Bits));
        assert_eq!(encoding("top-k:7"), Ok(Encoding::TopK { keep: 7 }));
        assert_eq!(encoding("random-k:7"), Ok(Encoding::RandomK { keep: 7 }));
        assert_eq!(encoding("quantized:4"), Ok(Encoding::Quantized { bits: 4 }));
        for wrong in ["", "dense:1", "top-k", "top-k:x", "quantized:400", "zip:3"] {
            assert!(encoding(wrong).is_err(), "{wrong}");
        }
    }
}
