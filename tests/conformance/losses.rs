//! Every loss of burn, on the output of a linear layer.

use burn::nn::loss::*;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::{log_softmax, sigmoid, softmax};
use burn::tensor::{Int, Tensor};

use crate::harness::{Bench, Case, EXAMPLES as N, Outcome};

pub const CASES: &[Case] = &[
    ("BinaryCrossEntropyLoss", |b| {
        b.run(linear(b), (b.floats([N, 3]), b.ints([N, 4], 2)), |m, (x, y)| {
            BinaryCrossEntropyLossConfig::new().init(&x.device()).forward(sigmoid(m.forward(x)), y)
        })
    }),
    ("BinaryCrossEntropyLoss of logits, weighted and smoothed", |b| {
        b.run(linear(b), (b.floats([N, 3]), b.ints([N, 4], 2)), |m, (x, y)| {
            let config = BinaryCrossEntropyLossConfig::new().with_logits(true);
            let config = config.with_weights(Some(vec![0.5, 1.0, 2.0, 3.0]));
            config.with_smoothing(Some(0.1)).init(&x.device()).forward(m.forward(x), y)
        })
    }),
    ("CrossEntropyLoss", |b| cross_entropy(b, CrossEntropyLossConfig::new())),
    ("CrossEntropyLoss, weighted", |b| {
        cross_entropy(b, CrossEntropyLossConfig::new().with_weights(Some(vec![0.5, 1., 2., 3.])))
    }),
    ("CrossEntropyLoss, smoothed", |b| {
        cross_entropy(b, CrossEntropyLossConfig::new().with_smoothing(Some(0.1)))
    }),
    ("CrossEntropyLoss with padding, a token at a time", |b| {
        b.run(linear(b), (b.floats([N, 3, 3]), b.ints([N, 3], 4)), |m, (x, y)| {
            let loss = CrossEntropyLossConfig::new().with_pad_tokens(Some(vec![0]));
            let logits = m.forward(x).reshape([-1, 4]);
            // A class that is not the padding, so that no example is all padding.
            let y = y.clone().slice_dim(1, 0..1).clamp_min(1) + y.zeros_like();
            loss.init(&logits.device()).forward(logits, y.reshape([-1]))
        })
    }),
    ("CrossEntropyLoss of probabilities", |b| {
        b.run(linear(b), (b.floats([N, 3]), b.ints([N], 4)), |m, (x, y)| {
            let loss = CrossEntropyLossConfig::new().with_logits(false).init(&x.device());
            loss.forward(softmax(m.forward(x), 1), y)
        })
    }),
    ("MseLoss", |b| pair(b, |x, y| MseLoss::new().forward(x, y, Reduction::Sum))),
    ("HuberLoss", |b| {
        pair(b, |x, y| HuberLossConfig::new(0.5).init().forward(x, y, Reduction::Mean))
    }),
    ("SmoothL1Loss", |b| {
        pair(b, |x, y| {
            let loss = SmoothL1LossConfig::new().with_beta(0.5).init();
            loss.forward_with_reduction(x, y, Reduction::Mean)
        })
    }),
    ("LpLoss with p = 1", |b| pair(b, |x, y| LpLossConfig::l1().forward(x, y, Reduction::Mean))),
    ("LpLoss with p = 2", |b| pair(b, |x, y| LpLossConfig::l2().forward(x, y, Reduction::Mean))),
    ("LpLoss with p = 3", |b| {
        pair(b, |x, y| LpLossConfig::new(3.0).init().forward(x, y, Reduction::Mean))
    }),
    ("Poisson negative log-likelihood by hand", |b| {
        pair(b, |x, y| (x.clone().exp() - y.abs() * x).mean())
    }),
    ("KLDivLoss", |b| {
        pair(b, |x, y| {
            let loss = KLDivLossConfig::new().init();
            loss.forward(log_softmax(x, 1), softmax(y, 1), Reduction::BatchMean)
        })
    }),
    ("KLDivLoss of log targets", |b| {
        pair(b, |x, y| {
            let loss = KLDivLossConfig::new().with_log_target(true).init();
            loss.forward(log_softmax(x, 1), log_softmax(y, 1), Reduction::BatchMean)
        })
    }),
    ("GaussianNLLLoss", |b| {
        pair(b, |x, y| {
            let loss = GaussianNLLLossConfig::new().with_full(true).init();
            loss.forward(x.clone(), y, x.exp(), Reduction::Mean)
        })
    }),
    ("SoftMarginLoss", |b| {
        pair(b, |x, y| SoftMarginLoss::new().forward(x, y.sign(), Reduction::Mean))
    }),
    ("HingeEmbeddingLoss", |b| {
        pair(b, |x, y| HingeEmbeddingLossConfig::new().init().forward(x, y.sign(), Reduction::Mean))
    }),
    ("MarginRankingLoss", |b| {
        pair(b, |x, y| {
            let loss = MarginRankingLossConfig::new().with_margin(0.5).init();
            loss.forward(x.clone(), x.flip([1]), y.sign(), Reduction::Mean)
        })
    }),
    ("MultiMarginLoss", |b| {
        b.run(linear(b), (b.floats([N, 3]), b.ints([N], 4)), |m, (x, y)| {
            let loss = MultiMarginLossConfig::new().with_p(2).init();
            loss.forward(m.forward(x), y, Reduction::Mean)
        })
    }),
    ("CosineEmbeddingLoss", |b| {
        let batch = (b.floats([N, 3]), b.others([N, 3]), b.ints([N], 2));
        b.run(linear(b), batch, |m, (x, other, y)| {
            let loss = CosineEmbeddingLossConfig::new().with_margin(-1.0).init();
            loss.forward(m.forward(x), m.forward(other), y * 2 - 1)
        })
    }),
    ("TripletMarginLoss", |b| {
        let batch = (b.floats([N, 3]), b.others([N, 3]), b.others([N, 3]).flip([0]));
        b.run(linear(b), batch, |m, (anchor, positive, negative)| {
            let loss = TripletMarginLossConfig::new().with_margin(3.0).init();
            let [a, p, n] = [anchor, positive, negative].map(|x| m.forward(x));
            loss.forward(a, p, n, Reduction::Mean)
        })
    }),
    ("CTCLoss", |b| {
        let lengths = (b.ints_from([N], 4, 6), b.ints_from([N], 1, 3));
        let batch = (b.floats([N, 5, 3]), b.ints_from([N, 2], 1, 4), lengths.0, lengths.1);
        b.run(linear(b), batch, |m, (x, y, input, target)| {
            let log_probs = log_softmax(m.forward(x), 2).swap_dims(0, 1);
            // The same as `CTCLoss::forward` in a build without debug assertions.
            burn::tensor::module::ctc_loss(log_probs, y, input, target, 0).mean()
        })
    }),
    ("RNNTLoss", |b| {
        let lengths = (b.ints_from([N], 2, 4), b.ints_from([N], 1, 3));
        let batch = (b.floats([N, 3, 3, 3]), b.ints_from([N, 2], 1, 4), lengths.0, lengths.1);
        b.run(linear(b), batch, |m, (x, y, frames, labels)| {
            RNNTLossConfig::new().init().forward(m.forward(x), y, frames, labels).mean()
        })
    }),
];

fn linear(b: &Bench) -> Linear {
    LinearConfig::new(3, 4).init(&b.device)
}

/// A loss of predictions and float targets of one shape.
fn pair(b: &Bench, loss: fn(Tensor<2>, Tensor<2>) -> Tensor<1>) -> Outcome {
    let batch = (b.floats([N, 3]), b.others([N, 4]));
    b.run(linear(b), batch, move |m, (x, y)| loss(m.forward(x), y))
}

fn cross_entropy(b: &Bench, config: CrossEntropyLossConfig) -> Outcome {
    let batch = (b.floats([N, 3]), b.ints([N], 4));
    b.run(linear(b), batch, move |m, (x, y): (Tensor<2>, Tensor<1, Int>)| {
        config.init(&x.device()).forward(m.forward(x), y)
    })
}
