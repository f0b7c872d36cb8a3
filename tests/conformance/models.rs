//! Models written by hand: everything that a user may do with parameters, besides calling burn's
//! modules.

use burn::module::{Lora, Module, Param, ParamGroup};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::*;
use burn::prelude::*;
use burn::tensor::activation::{relu, sigmoid, softmax};
use burn::tensor::ops::ConvOptions;

use crate::harness::{Case, EXAMPLES as N, score};

#[derive(Module, Debug)]
struct Nested {
    layers: Vec<Linear>,
    skip: Option<Linear>,
    absent: Option<Linear>,
    gain: Param<Tensor<1>>,
    #[module(skip)]
    depth: usize,
}

pub const CASES: &[Case] = &[
    ("Bare parameters", |b| {
        b.run((b.parameter([3, 2]), b.parameter([2])), b.floats([N, 3]), |(w, c), x| {
            score(x.matmul(w.val()) + c.val().unsqueeze())
        })
    }),
    ("A parameter of no axis but one", |b| {
        b.run(b.parameter([1]), b.floats([N, 3]), |p, x| score(x * p.val().unsqueeze()))
    }),
    ("A parameter used twice", |b| {
        b.run(b.parameter([3, 3]), b.floats([N, 2, 3]), |w, x| {
            let w = w.val().unsqueeze();
            score(x.matmul(w.clone()).tanh().matmul(w))
        })
    }),
    ("A parameter used as it is and transposed", |b| {
        b.run(b.parameter([3, 5]), b.floats([N, 2, 3]), |w, x| {
            let w = w.val().unsqueeze();
            score(relu(x.matmul(w.clone())).matmul(w.transpose()))
        })
    }),
    ("A parameter used in a product and entry by entry", |b| {
        b.run(b.parameter([3, 3]), b.floats([N, 3, 3]), |w, x| {
            score(x.clone().matmul(w.val().unsqueeze()) + x * w.val().unsqueeze())
        })
    }),
    ("Input embedding tied to the output projection", |b| {
        let model = (EmbeddingConfig::new(7, 3).init(&b.device), b.parameter([7]));
        b.run(model, (b.ints([N, 4], 7), b.ints([N, 4], 7)), |(embed, bias), (tokens, next)| {
            let hidden = embed.forward(tokens).tanh();
            let logits = hidden.matmul(embed.weight.val().transpose().unsqueeze());
            let logits = logits + bias.val().unsqueeze();
            let loss = CrossEntropyLossConfig::new().init(&logits.device());
            loss.forward(logits.reshape([-1, 7]), next.reshape([-1]))
        })
    }),
    ("An embedding of two inputs", |b| {
        let model = EmbeddingConfig::new(9, 4).init(&b.device);
        b.run(model, (b.ints([N, 2], 9), b.ints([N, 3], 4)), |m, (a, b)| {
            score(Tensor::cat(vec![m.forward(a), m.forward(b)], 1).tanh())
        })
    }),
    ("An embedding looked at through a shared projection", |b| {
        let model = (b.parameter([9, 2]), b.parameter([2, 8]));
        b.run(model, b.ints([N, 2], 9), |(low, up), tokens| {
            score(burn::tensor::module::embedding(low.val().matmul(up.val()), tokens))
        })
    }),
    ("A recurrent cell in a loop", |b| {
        let cell = LinearConfig::new(5, 3).init(&b.device);
        b.run(cell, b.floats([N, 4, 2]), |cell, x| {
            let [batch, length, _] = x.dims();
            let mut state = Tensor::<2>::zeros([batch, 3], &x.device());
            for t in 0..length {
                let now = x.clone().slice_dim(1, t..t + 1).squeeze_dim::<2>(1);
                state = cell.forward(Tensor::cat(vec![now, state], 1)).tanh();
            }
            score(state)
        })
    }),
    ("A recurrent cell of unrolled products", |b| {
        let model = (b.parameter([6, 6]), b.parameter([2, 6]));
        b.run(model, b.floats([N, 3, 2]), |(w, u), x| {
            let [batch, length, _] = x.dims();
            let mut state = Tensor::<2>::ones([batch, 6], &x.device());
            for t in 0..length {
                let now = x.clone().slice_dim(1, t..t + 1).squeeze_dim::<2>(1);
                state = sigmoid(now.matmul(u.val()) + state.matmul(w.val()));
            }
            score(state)
        })
    }),
    ("Weight normalization", |b| {
        b.run((b.parameter([3, 4]), b.parameter([4])), b.floats([N, 2, 3]), |(v, g), x| {
            let length = v.val().powi_scalar(2).sum_dim(0).sqrt();
            let weight = v.val() / length * g.val().unsqueeze();
            score(x.matmul(weight.unsqueeze()))
        })
    }),
    ("Spectral scale of a weight", |b| {
        b.run(b.parameter([3, 3]), b.floats([N, 3]), |w, x| {
            let scale = w.val().abs().sum_dim(1).max();
            score(x.matmul(w.val() / scale.unsqueeze()))
        })
    }),
    ("LoRA", |b| {
        let model =
            (LinearConfig::new(6, 5).init(&b.device), LinearConfig::new(5, 4).init(&b.device));
        b.run(model.apply_lora(Lora::new(2, 4.0)), b.floats([N, 2, 6]), |(first, second), x| {
            score(second.forward(first.forward(x).tanh()))
        })
    }),
    ("LoRA of one layer, biases trainable", |b| {
        let model =
            (LinearConfig::new(6, 5).init(&b.device), LinearConfig::new(5, 4).init(&b.device));
        let bases = ParamGroup::from_paths(vec!["1.weight"]);
        let lora = Lora::new(2, 4.0).set_param_group(bases.clone());
        let model = model.apply_lora(lora).unfreeze_group(ParamGroup::all().exclude(bases));
        b.run(model, b.floats([N, 6]), |(first, second), x| {
            score(second.forward(first.forward(x).tanh()))
        })
    }),
    ("Scores over a frozen matrix", |b| {
        let model = (b.parameter([6, 5]).set_require_grad(false), b.parameter([6, 5]));
        b.run(model, b.floats([N, 6]), |(w, scores), x| {
            score(x.matmul(w.val() * sigmoid(scores.val())))
        })
    }),
    ("Scores over a frozen matrix, at several positions", |b| {
        let model = (b.parameter([6, 5]).set_require_grad(false), b.parameter([6, 5]));
        b.run(model, b.floats([N, 3, 6]), |(w, scores), x| {
            score(x.matmul((w.val() * scores.val() * 0.5).unsqueeze()))
        })
    }),
    ("Straight-through scores over a frozen matrix", |b| {
        let model = (b.parameter([6, 5]).set_require_grad(false), b.parameter([6, 5]));
        b.run(model, b.floats([N, 3, 6]), |(w, scores), x| {
            let scores = scores.val();
            let hard = scores.clone().greater_equal_elem(0.1).float();
            let mask = scores.clone() + (hard - scores).detach();
            score(x.matmul((w.val() * mask).unsqueeze()))
        })
    }),
    ("Scores over a frozen matrix that is used as it is and transposed", |b| {
        let model = (b.parameter([3, 5]).set_require_grad(false), b.parameter([3, 5]));
        b.run(model, b.floats([N, 2, 3]), |(w, scores), x| {
            let w: Tensor<3> = (w.val() * scores.val()).unsqueeze();
            score(x.matmul(w.clone()).tanh().matmul(w.transpose()))
        })
    }),
    ("Scores over a frozen embedding", |b| {
        let model = (b.parameter([9, 4]).set_require_grad(false), b.parameter([9, 4]));
        b.run(model, b.ints([N, 3], 9), |(w, scores), tokens| {
            score(burn::tensor::module::embedding(w.val() * scores.val(), tokens).tanh())
        })
    }),
    ("Scores over a frozen convolution", |b| {
        let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let model = (b.parameter([4, 2, 3, 3]).set_require_grad(false), b.parameter([4, 2, 3, 3]));
        b.run(model, b.floats([N, 2, 4, 5]), move |(w, scores), x| {
            let w = w.val() * sigmoid(scores.val());
            score(burn::tensor::module::conv2d(x, w, None, options.clone()))
        })
    }),
    ("Scores of rows over a frozen matrix", |b| {
        let model = (b.parameter([6, 5]).set_require_grad(false), b.parameter([6, 1]));
        b.run(model, b.floats([N, 3, 6]), |(w, scores), x| {
            score(x.matmul((w.val() * scores.val()).unsqueeze()))
        })
    }),
    ("A frozen weight with a trainable bias", |b| {
        let mut model = LinearConfig::new(3, 4).init(&b.device);
        model.weight = model.weight.set_require_grad(false);
        b.run(model, b.floats([N, 2, 3]), |m, x| score(m.forward(x)))
    }),
    ("A trainable weight with a frozen bias", |b| {
        let mut model = LinearConfig::new(3, 4).init(&b.device);
        model.bias = model.bias.map(|bias| bias.set_require_grad(false));
        b.run(model, b.floats([N, 2, 3]), |m, x| score(m.forward(x)))
    }),
    ("A frozen layer between trainable ones", |b| {
        let layer = || LinearConfig::new(3, 3).init(&b.device);
        b.run((layer(), layer().freeze(), layer()), b.floats([N, 3]), |(a, b, c), x| {
            score(c.forward(b.forward(a.forward(x).tanh()).tanh()))
        })
    }),
    ("A trainable head on a frozen body", |b| {
        let layer = || LinearConfig::new(3, 3).init(&b.device);
        b.run((layer().freeze(), layer()), b.floats([N, 2, 3]), |(body, head), x| {
            score(head.forward(body.forward(x).tanh()))
        })
    }),
    ("Detached features", |b| {
        let layer = || LinearConfig::new(3, 3).init(&b.device);
        b.run((layer(), layer()), b.floats([N, 3]), |(body, head), x| {
            let features = body.forward(x);
            score(head.forward(features.clone().detach())) + score(features) * 0.1
        })
    }),
    ("A straight-through estimator of a weight", |b| {
        b.run(b.parameter([3, 4]), b.floats([N, 3]), |w, x| {
            let w = w.val() * 3.0;
            let rounded = w.clone() + (w.clone().round() - w).detach();
            score(x.matmul(rounded))
        })
    }),
    ("A straight-through estimator of an activation", |b| {
        b.run(LinearConfig::new(3, 4).init(&b.device), b.floats([N, 2, 3]), |m, x| {
            let h = m.forward(x);
            let hard = h.clone().greater_scalar(0.5).float();
            score(h.clone() * (h.clone() + (hard - h).detach()))
        })
    }),
    ("Weights scaled, negated and divided", |b| {
        let model = (b.parameter([3, 8]), b.parameter([3, 8]), b.parameter([3, 8]));
        b.run(model, b.floats([N, 2, 3]), |(v, w, u), x| {
            let scaled = x.clone().matmul((v.val() * 0.3).unsqueeze());
            let negated = x.clone().matmul((-w.val()).unsqueeze());
            score(scaled + negated + x.matmul((u.val() / 4.0).unsqueeze()))
        })
    }),
    ("A penalty on the weights", |b| {
        b.run(LinearConfig::new(3, 4).init(&b.device), b.floats([N, 3]), |m, x| {
            score(m.forward(x)) + m.weight.val().powi_scalar(2).sum() * 0.1
        })
    }),
    ("A parameter in nothing but a penalty", |b| {
        let model = (LinearConfig::new(3, 4).init(&b.device), b.parameter([2, 2]));
        b.run(model, b.floats([N, 3]), |(m, p), x| score(m.forward(x)) + p.val().abs().sum())
    }),
    ("A parameter that the loss does not use", |b| {
        let model = (LinearConfig::new(3, 4).init(&b.device), b.parameter([2, 2]));
        b.run(model, b.floats([N, 3]), |(m, _), x| score(m.forward(x)))
    }),
    ("Weights computed from the example", |b| {
        let model =
            (LinearConfig::new(3, 6).init(&b.device), LinearConfig::new(3, 2).init(&b.device));
        b.run(model, (b.floats([N, 3]), b.others([N, 4, 3])), |(hyper, low), (x, z)| {
            let [batch, ..] = x.dims();
            let weight = hyper.forward(x).reshape([batch, 2, 3]);
            score(low.forward(z).matmul(weight))
        })
    }),
    ("A convolution with a kernel computed from the example", |b| {
        let model = (LinearConfig::new(3, 12).init(&b.device), b.parameter([1, 2, 4, 4]));
        b.run(model, (b.floats([N, 3]), b.floats([N, 2, 4, 4])), |(hyper, scale), (x, image)| {
            let kernel = hyper.forward(x).mean_dim(0).reshape([3, 2, 2, 1]);
            let options = burn::tensor::ops::ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
            score(burn::tensor::module::conv2d(image * scale.val(), kernel, None, options))
        })
    }),
    ("A stack of weights, one a group", |b| {
        b.run(b.parameter([2, 3, 4]), b.floats([N, 2, 2, 3]), |w, x| {
            score(x.matmul(w.val().unsqueeze()))
        })
    }),
    ("A weight broadcast over groups", |b| {
        b.run(b.parameter([1, 3, 4]), b.floats([N, 2, 2, 3]), |w, x| {
            score(x.matmul(w.val().unsqueeze()))
        })
    }),
    ("A weight from the left", |b| {
        b.run(b.parameter([4, 3]), b.floats([N, 3, 5]), |w, x| {
            score(w.val().unsqueeze::<3>().matmul(x))
        })
    }),
    ("A product of weights alone", |b| {
        b.run((b.parameter([3, 2]), b.parameter([2, 4])), b.floats([N, 5, 3]), |(a, c), x| {
            score(x.matmul(a.val().matmul(c.val()).unsqueeze()))
        })
    }),
    ("An outer product of parameters", |b| {
        b.run((b.parameter([3]), b.parameter([4])), b.floats([N, 3]), |(a, c), x| {
            let weight = a.val().unsqueeze_dim::<2>(1) * c.val().unsqueeze();
            score(x.matmul(weight))
        })
    }),
    ("Bilinear form", |b| {
        b.run(b.parameter([3, 4]), (b.floats([N, 1, 3]), b.others([N, 4, 1])), |w, (x, y)| {
            score(x.matmul(w.val().unsqueeze()).matmul(y))
        })
    }),
    ("Mixture of experts, softly gated", |b| {
        let model = (LinearConfig::new(3, 2).init(&b.device), b.parameter([2, 3, 4]));
        b.run(model, b.floats([N, 3]), |(gate, experts), x| {
            let [batch, width] = x.dims();
            let gates = softmax(gate.forward(x.clone()), 1).reshape([batch, 2, 1, 1]);
            let x = x.reshape([batch, 1, 1, width]);
            score((x.matmul(experts.val().unsqueeze()) * gates).sum_dim(1))
        })
    }),
    ("A bidirectional network with a bool mask", |b| {
        let cell = || LinearConfig::new(5, 3).init(&b.device);
        b.run((cell(), cell()), (b.floats([N, 3, 2]), b.padding(3)), |(left, right), (x, pad)| {
            let forward = scan(left, x.clone(), pad.clone());
            let backward = scan(right, x.flip([1]), pad.flip([1]));
            score(Tensor::cat(vec![forward, backward], 1))
        })
    }),
    ("Masked mean over positions", |b| {
        let model = LinearConfig::new(2, 3).init(&b.device);
        b.run(model, (b.floats([N, 3, 2]), b.padding(3)), |m, (x, padding)| {
            let kept = padding.bool_not().float().unsqueeze_dim::<3>(2);
            let sum = (m.forward(x).tanh() * kept.clone()).sum_dim(1);
            score(sum / kept.sum_dim(1))
        })
    }),
    ("Modules in Vec and Option", |b| {
        let layer = || LinearConfig::new(3, 3).init(&b.device);
        let model = Nested {
            layers: vec![layer(), layer()],
            skip: Some(layer()),
            absent: None,
            gain: b.parameter([3]),
            depth: 2,
        };
        b.run(model, b.floats([N, 3]), |m, x| {
            let skip = m.skip.as_ref().map_or_else(|| x.clone(), |s| s.forward(x.clone()));
            let x = m.absent.as_ref().map_or_else(|| x.clone(), |l| l.forward(x.clone()));
            let deep = m.layers.iter().take(m.depth).fold(x, |x, layer| layer.forward(x).tanh());
            score((deep + skip) * m.gain.val().unsqueeze())
        })
    }),
    ("Gradient checkpointing", |b| {
        let device = b.device.clone().gradient_checkpointing();
        let layer = || LinearConfig::new(3, 3).init(&device);
        b.run((layer(), layer()), b.floats([N, 3]), |(first, second), x| {
            score(second.forward(relu(first.forward(x)).tanh()))
        })
    }),
    ("A loss whose gradient is zero for some examples", |b| {
        let model = LinearConfig::new(3, 2).init(&b.device);
        b.run(model, (b.floats([N, 3]), b.ints([N, 1], 2)), |m, (x, on)| {
            score(m.forward(x) * on.float())
        })
    }),
];

/// A recurrent pass that keeps its state at padding.
fn scan(cell: &Linear, x: Tensor<3>, padding: Tensor<2, Bool>) -> Tensor<2> {
    let [batch, length, _] = x.dims();
    let mut state = Tensor::<2>::zeros([batch, 3], &x.device());
    for t in 0..length {
        let now = x.clone().slice_dim(1, t..t + 1).squeeze_dim::<2>(1);
        let skip = padding.clone().slice_dim(1, t..t + 1).expand([batch, 3]);
        let next = cell.forward(Tensor::cat(vec![now, state.clone()], 1)).tanh();
        state = next.mask_where(skip, state);
    }
    state
}
