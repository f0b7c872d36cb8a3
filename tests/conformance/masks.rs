//! Supermasks of every kind and structure, over everything that has a weight.

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::prelude::*;
use burn_dp::mask::{Gate, MaskKind, Scope, Structure, SuperMaskConfig};

use crate::harness::{Bench, Case, EXAMPLES as N, Outcome, score};

#[derive(Module, Debug)]
struct Model {
    embedding: Embedding,
    hidden: Linear,
    gate: Gate,
    conv: Conv2d,
    head: Linear,
}

impl Model {
    fn loss(&self, (tokens, x): (Tensor<2, Int>, Tensor<2>)) -> Tensor<1> {
        let tokens = self.embedding.forward(tokens);
        let hidden = self.gate.forward(self.hidden.forward(tokens).tanh());
        let [examples, positions, width] = hidden.dims();
        let image = hidden.reshape([examples, 2, positions, width / 2]);
        let image: Tensor<2> = self.conv.forward(image).tanh().flatten(1, 3);
        // The head sees one position, the layers before it see several.
        score(self.head.forward(image) * x)
    }
}

fn case(b: &Bench, kind: MaskKind, structure: Structure) -> Outcome {
    let wrong = |error: burn_dp::Error| error.to_string();
    let model = Model {
        embedding: EmbeddingConfig::new(6, 4).init(&b.device),
        hidden: LinearConfig::new(4, 8).init(&b.device),
        gate: Gate::new([8], &b.device).map_err(wrong)?,
        conv: Conv2dConfig::new([2, 2], [2, 2]).init(&b.device),
        head: LinearConfig::new(2 * 2 * 3, 4).init(&b.device),
    };
    let config = SuperMaskConfig::new(kind).map_err(wrong)?.with_structure(structure);
    let model = config.apply(model).map_err(wrong)?;
    b.run(model, (b.ints([N, 3], 6), b.floats([N, 4])), Model::loss)
}

macro_rules! table {
    ($($name:literal: $kind:expr;)*) => {
        pub const CASES: &[Case] = &[$(
            (concat!($name, " of weights"), |b| case(b, $kind, Structure::Weight)),
            (concat!($name, " of rows"), |b| case(b, $kind, Structure::Axis(0))),
            (concat!($name, " of columns"), |b| case(b, $kind, Structure::Axis(1))),
            (concat!($name, " of heads"), |b| {
                case(b, $kind, Structure::Heads { axis: 1, heads: 2 })
            }),
        )*];
    };
}
table! {
    "Threshold masks": MaskKind::Threshold { threshold: 0.1 };
    "Top-k masks by layer": MaskKind::TopK { share: 0.6, scope: Scope::Layer };
    "Top-k masks": MaskKind::TopK { share: 0.6, scope: Scope::Global };
    "Stochastic masks": MaskKind::Stochastic { keep: 0.7 };
    "Sigmoid masks": MaskKind::Sigmoid;
    "Multiplier masks": MaskKind::Multiplier;
}
