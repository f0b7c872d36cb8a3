//! Models whose gradients are reached by very many paths, or by very long ones. There a planner
//! could take forever, or run out of stack, although each value exists only once.

use std::time::{Duration, Instant};

use burn::module::{Module, Param};
use burn::nn::*;
use burn::prelude::*;
use burn_dp::batch::Batch;
use burn_dp::per_example::PlannedMethod::{Ghost, Materialized};
use burn_dp::per_example::{Engine, Explanation, NormMethod, Traced};

use crate::harness::{Bench, Case, EXAMPLES as N, Law, device, score};

type Matrix = Param<Tensor<2>>;

pub const CASES: &[Case] = &[
    ("A recurrence of a product and a decay", |b| {
        b.run(recurrent(b, 3), b.floats([N, 6, 3]), |m, x| score(recurrence(m, x)))
    }),
    ("The same recurrence under a loss that is linear", |b| {
        b.run(recurrent(b, 3), b.floats([N, 6, 3]), |m, x| recurrence(m, x).sum())
    }),
    ("A leaky recurrent network", |b| {
        let model = (b.parameter([3, 3]), b.parameter([2, 3]));
        b.run(model, b.floats([N, 6, 2]), leaky)
    }),
    ("A weight after a step of Björck's iteration", |b| {
        b.run(b.parameter([3, 3]), b.floats([N, 2, 3]), |w, x| used(bjorck(w.val(), 1), x))
    }),
    ("A weight after three steps of Björck's iteration", |b| {
        b.run(b.parameter([3, 3]), b.floats([N, 1, 3]), |w, x| used(bjorck(w.val(), 3), x))
    }),
    ("A weight after Newton and Schulz's iteration", |b| {
        b.run(b.parameter([3, 3]), b.floats([N, 2, 3]), |w, x| {
            used(newton_schulz(w.val() * 0.5, 2), x)
        })
    }),
    ("A weight to the eighth power", |b| {
        b.run(b.parameter([3, 3]), b.floats([N, 2, 3]), |w, x| used(squared(w.val(), 3), x))
    }),
    ("A weight that is scaled and turned again and again", |b| {
        b.run(b.parameter([4, 4]), b.floats([N, 2, 4]), |w, x| {
            used(scaled(w.val(), 9) + turned(w.val(), 8) * 0.5 + turned(w.val(), 9), x)
        })
    }),
    ("A weight that is shaped and turned by turns", |b| {
        b.run(b.parameter([4, 4]), b.floats([N, 2, 4]), |w, x| used(shaped(w.val(), 20), x))
    }),
    ("A weight added to its transpose and to itself", |b| {
        b.run(b.parameter([3, 3]), b.floats([N, 2, 3]), |w, x| {
            let w = w.val();
            used(w.clone() * 0.3 + w.clone().transpose() + w, x)
        })
    }),
    ("Residual products without an activation", |b| {
        let model: Vec<Matrix> = (0..4).map(|_| b.parameter([3, 3])).collect();
        b.run((model, b.parameter([1, 3])), b.floats([N, 3]), |(layers, shift), x| {
            let start = x + shift.val();
            let h = layers.iter().fold(start, |h, a| h.clone() + h.matmul(a.val()) * 0.3);
            score(h)
        })
    }),
    ("Token by token", |b| {
        let model = (EmbeddingConfig::new(7, 3).init(&b.device), b.parameter([3, 3]));
        b.run(model, b.ints([N, 4], 7), tokens)
    }),
];

/// A recurrent matrix, an input matrix, a shift and a head.
fn recurrent(b: &Bench, width: usize) -> (Matrix, Matrix, Matrix, Matrix) {
    let square = || b.parameter([width, width]);
    (square(), square(), b.parameter([1, width]), b.parameter([width, 2]))
}

fn recurrence((a, u, c, v): &(Matrix, Matrix, Matrix, Matrix), x: Tensor<3>) -> Tensor<2> {
    let [batch, length, width] = x.dims();
    let mut h = Tensor::<2>::zeros([batch, width], &x.device());
    for t in 0..length {
        let now = at(&x, t).matmul(u.val()) + c.val().expand([batch, width]);
        h = h.clone() * 0.9 + h.matmul(a.val()) * 0.1 + now;
    }
    h.matmul(v.val())
}

fn leaky((w, u): &(Matrix, Matrix), x: Tensor<3>) -> Tensor<1> {
    let [batch, length, _] = x.dims();
    let mut h = Tensor::<2>::zeros([batch, w.val().dims()[0]], &x.device());
    for t in 0..length {
        h = h.clone() * 0.9 + (h.matmul(w.val()) + at(&x, t).matmul(u.val())).tanh() * 0.1;
    }
    score(h)
}

fn at(x: &Tensor<3>, t: usize) -> Tensor<2> {
    x.clone().slice_dim(1, t..t + 1).squeeze_dim(1)
}

fn tokens((embedding, w): &(Embedding, Matrix), x: Tensor<2, Int>) -> Tensor<1> {
    let [batch, length] = x.dims();
    let mut h = Tensor::<2>::zeros([batch, w.val().dims()[0]], &x.device());
    for t in 0..length {
        let now = embedding.forward(x.clone().slice_dim(1, t..t + 1)).squeeze_dim::<2>(1);
        h = (h.matmul(w.val()) + now).tanh();
    }
    score(h)
}

/// W <- 1.5 W - 0.5 W Wᵀ W (Björck and Bowie 1971).
fn bjorck(w: Tensor<2>, steps: usize) -> Tensor<2> {
    (0..steps).fold(w, |w, _| {
        let cubed = w.clone().matmul(w.clone().transpose()).matmul(w.clone());
        w * 1.5 - cubed * 0.5
    })
}

/// W <- a W + (b S + c S²) W with S = W Wᵀ.
fn newton_schulz(w: Tensor<2>, steps: usize) -> Tensor<2> {
    (0..steps).fold(w, |w, _| {
        let s = w.clone().matmul(w.clone().transpose());
        let polynomial = s.clone() * -0.6 + s.clone().matmul(s) * 0.2;
        w.clone() * 1.4 + polynomial.matmul(w)
    })
}

fn squared(w: Tensor<2>, times: usize) -> Tensor<2> {
    (0..times).fold(w, |w, _| w.clone().matmul(w))
}

fn scaled(w: Tensor<2>, times: usize) -> Tensor<2> {
    (0..times).fold(w, |w, _| w * 0.9999)
}

fn turned(w: Tensor<2>, times: usize) -> Tensor<2> {
    (0..times).fold(w, |w, _| w.transpose())
}

/// A chain that cannot be folded: each step permutes other axes.
fn shaped(w: Tensor<2>, times: usize) -> Tensor<2> {
    let dims = w.dims();
    (0..times).fold(w, |w, _| w.reshape([8, 2]).transpose().reshape(dims))
}

fn used(w: Tensor<2>, x: Tensor<3>) -> Tensor<1> {
    score(x.matmul(w.unsqueeze()))
}

/// Plans by each method and returns the explanations. A minute is a thousand times what each takes.
fn planned<M, X, F>(model: &M, batch: X, loss: F) -> [Explanation; 3]
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1> + Copy,
{
    [NormMethod::Mixed, NormMethod::Ghost, NormMethod::Materialized].map(|method| {
        let start = Instant::now();
        let mut engine = Traced::new(loss).with_norm_method(method);
        let explained = engine.explain(model, &batch).expect("the model traces");
        let took = start.elapsed();
        assert!(took < Duration::from_secs(60), "{took:?} to plan by {method:?}");
        explained
    })
}

fn bench() -> Bench {
    Bench::new(device().autodiff(), Law::Equality)
}

#[test]
fn a_long_recurrence_is_planned_value_by_value() {
    let b = bench();
    let plans = planned(&recurrent(&b, 4), b.floats([N, 512, 4]), |m, x| score(recurrence(m, x)));
    let methods = |plan: &Explanation| plan.parameters.iter().map(|p| p.method).collect::<Vec<_>>();
    let [smaller, ghost, _] = plans.each_ref().map(methods);
    let head = Ghost { positions: 1, uses: 1 };
    assert_eq!(smaller, [Materialized, Materialized, Materialized, head]);
    // The first state is zero, whatever the recurrent matrix is. The shift's gradient is reached by
    // every path.
    let one_a_step = Ghost { positions: 512, uses: 512 };
    assert_eq!(ghost[1..], [one_a_step, Materialized, head]);
}

#[test]
fn a_long_leaky_network_is_planned() {
    let b = bench();
    let model = (b.parameter([4, 4]), b.parameter([2, 4]));
    planned(&model, b.floats([N, 4096, 2]), leaky);
}

#[test]
fn a_deep_lstm_is_planned() {
    let b = bench();
    let layers: Vec<Lstm> = (0..4).map(|_| LstmConfig::new(4, 4, true).init(&b.device)).collect();
    planned(&layers, b.floats([N, 128, 4]), |layers: &Vec<Lstm>, x: Tensor<3>| {
        score(layers.iter().fold(x, |x, lstm| lstm.forward(x, None).0))
    });
}

#[test]
fn iterations_over_a_weight_are_planned() {
    let b = bench();
    for width in [6, 16, 64] {
        let x = || b.floats([N, 2, width]);
        let w: Matrix = b.parameter([width, width]);
        planned(&w, x(), |w: &Matrix, x| used(bjorck(w.val(), 15), x));
        planned(&w, x(), |w: &Matrix, x| used(newton_schulz(w.val(), 15), x));
        planned(&w, x(), |w: &Matrix, x| used(squared(w.val(), 30), x));
    }
}

#[test]
fn token_by_token_takes_a_product_a_pair_of_sums_not_of_tokens() {
    let b = bench();
    let model = (EmbeddingConfig::new(4096, 256).init(&b.device), b.parameter([256, 256]));
    let mut engine = Traced::new(tokens);
    let batch = b.ints([2, 512], 4096);
    let explained = engine.explain(&model, &batch).expect("the model traces");
    assert_eq!(explained.parameters[0].method, Ghost { positions: 512, uses: 512 });
    let start = Instant::now();
    engine
        .per_example(&model, batch)
        .expect("the model traces")
        .estimated_squared_norms()
        .into_data();
    let took = start.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?} for the norms of 512 tokens");
}

/// A thread has 2 MB of stack unless it requests more.
fn on_a_small_stack(what: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(what).expect("a thread");
    thread.join().expect("the thread ends");
}

#[test]
fn a_chain_of_thousands_of_steps_needs_no_stack() {
    on_a_small_stack(|| {
        let b = bench();
        let w: Matrix = b.parameter([4, 4]);
        let x = || b.floats([N, 2, 4]);
        let [smaller, ..] = planned(&w, x(), |w: &Matrix, x| used(scaled(w.val(), 5000), x));
        // Scales and transpositions are folded, not replayed.
        assert_eq!(smaller.parameters[0].method, Ghost { positions: 2, uses: 1 });
        let [smaller, ..] = planned(&w, x(), |w: &Matrix, x| used(turned(w.val(), 5001), x));
        assert_eq!(smaller.parameters[0].method, Ghost { positions: 2, uses: 1 });
        planned(&w, x(), |w: &Matrix, x| used(shaped(w.val(), 2000), x));
        planned(&w, x(), |w: &Matrix, x| used(squared(w.val() * 0.1, 500), x));
        let masks: Matrix = b.parameter([4, 4]).set_require_grad(false);
        planned(&(w, masks), x(), |(w, mask): &(Matrix, Matrix), x| {
            used((0..2000).fold(w.val(), |w, _| w * mask.val()), x)
        });
    });
}
