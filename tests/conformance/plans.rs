//! Which gradients stay in factors. A planner that did not keep them would still be correct, only
//! slow, so the law of equality does not test it.

use burn::module::{Lora, Module, Param};
use burn::nn::attention::{MhaInput, MultiHeadAttention, MultiHeadAttentionConfig};
use burn::nn::conv::Conv2dConfig;
use burn::nn::*;
use burn::prelude::*;
use burn_dp::batch::Batch;
use burn_dp::per_example::PlannedMethod::{self, Ghost, Materialized, Unused};
use burn_dp::per_example::{Engine, NormMethod, Traced, verify};

use crate::harness::{Bench, EXAMPLES as N, Fill, Law, device, score};

fn bench() -> Bench {
    Bench::new(device().autodiff(), Law::Equality)
}

fn methods<M, X, F>(method: NormMethod, model: &M, batch: X, loss: F) -> Vec<PlannedMethod>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1>,
{
    let explained = Traced::new(loss).with_norm_method(method).explain(model, &batch).unwrap();
    explained.parameters.into_iter().map(|parameter| parameter.method).collect()
}

#[test]
fn a_linear_weight_has_one_position_for_every_row() {
    let b = bench();
    let model = LinearConfig::new(3, 4).init(&b.device);
    let loss = |m: &Linear, x: Tensor<3>| score(m.forward(x));
    let x = || b.floats([N, 2, 3]);
    let ghost = methods(NormMethod::Ghost, &model, x(), loss);
    assert_eq!(ghost[0], Ghost { positions: 2, uses: 1 });
    let smaller = methods(NormMethod::Mixed, &model, x(), loss);
    assert_eq!(smaller[0], Ghost { positions: 2, uses: 1 }, "2 T² = 8 is no more than 12");
    let smaller = methods(NormMethod::Mixed, &model, b.floats([N, 3, 3]), loss);
    assert_eq!(smaller[0], Materialized, "2 T² = 18 is more than 12");
    assert_eq!(methods(NormMethod::Materialized, &model, x(), loss), [Materialized; 2]);
}

#[test]
fn an_embedding_has_one_position_for_every_token() {
    let b = bench();
    let model = EmbeddingConfig::new(9, 4).init(&b.device);
    let loss = |m: &Embedding, x: Tensor<2, Int>| score(m.forward(x));
    let ghost = methods(NormMethod::Ghost, &model, b.ints([N, 3], 9), loss);
    assert_eq!(ghost, [Ghost { positions: 3, uses: 1 }]);
}

#[test]
fn variable_length_text_costs_one_trace_a_length() {
    let b = bench();
    let model = EmbeddingConfig::new(9, 4).init(&b.device);
    let mut engine = Traced::new(|m: &Embedding, x: Tensor<2, Int>| score(m.forward(x)));
    for (examples, length) in [(7, 3), (2, 3), (7, 5), (1, 5), (3, 3)] {
        engine.per_example(&model, b.ints([examples, length], 9)).unwrap();
    }
    assert_eq!(engine.traces(), 2);
}

#[test]
fn a_convolution_has_one_position_for_every_output_pixel() {
    let b = bench();
    for groups in [1, 2] {
        let config = Conv2dConfig::new([2, 4], [3, 3]).with_groups(groups);
        let model = config.init(&b.device);
        let loss = |m: &conv::Conv2d, x: Tensor<4>| score(m.forward(x));
        let ghost = methods(NormMethod::Ghost, &model, b.floats([N, 2, 4, 5]), loss);
        assert_eq!(ghost[0], Ghost { positions: 6, uses: 1 });
    }
}

#[test]
fn tied_weights_join_their_uses() {
    let b = bench();
    let model = EmbeddingConfig::new(9, 4).init(&b.device);
    let loss = |m: &Embedding, x: Tensor<2, Int>| {
        let hidden = m.forward(x).tanh();
        score(hidden.matmul(m.weight.val().transpose().unsqueeze()))
    };
    let ghost = methods(NormMethod::Ghost, &model, b.ints([N, 3], 9), loss);
    assert_eq!(ghost, [Ghost { positions: 6, uses: 2 }]);
}

#[test]
fn a_recurrent_cell_has_one_use_a_step() {
    let b = bench();
    let model = RnnConfig::new(2, 3, false).init(&b.device);
    let loss = |m: &Rnn, x: Tensor<3>| score(m.forward(x, None).0);
    let ghost = methods(NormMethod::Ghost, &model, b.floats([N, 4, 2]), loss);
    assert!(ghost.iter().all(|m| matches!(m, Ghost { positions, .. } if *positions >= 3)));
}

#[test]
fn lora_factors_are_looked_through() {
    let b = bench();
    let model = LinearConfig::new(6, 5).init(&b.device).apply_lora(Lora::new(2, 4.0));
    let loss = |m: &Linear, x: Tensor<3>| score(m.forward(x));
    let ghost = methods(NormMethod::Ghost, &model, b.floats([N, 3, 6]), loss);
    assert_eq!(ghost, [Ghost { positions: 3, uses: 1 }; 2]);
}

#[test]
fn scores_over_a_frozen_weight_stay_in_factors() {
    let b = bench();
    let frozen = |shape: [usize; 2]| b.parameter(shape).set_require_grad(false);
    let model = (frozen([6, 5]), b.parameter([6, 5]), frozen([9, 4]), b.parameter([9, 4]));
    type Masked = (Param<Tensor<2>>, Param<Tensor<2>>, Param<Tensor<2>>, Param<Tensor<2>>);
    let loss = |m: &Masked, (x, tokens): (Tensor<3>, Tensor<2, Int>)| {
        let dense = x.matmul((m.0.val() * m.1.val() * 0.5).unsqueeze());
        let rows = burn::tensor::module::embedding(m.2.val() * m.3.val(), tokens);
        score(dense) + score(rows)
    };
    let batch = || (b.floats([N, 3, 6]), b.ints([N, 2], 9));
    let ghost = methods(NormMethod::Ghost, &model, batch(), loss);
    assert_eq!(ghost, [Ghost { positions: 3, uses: 1 }, Ghost { positions: 2, uses: 1 }]);
    // Three positions of 6 + 5 numbers are more than the 30 of the gradient; two of 9 + 4 are less than 36.
    let smaller = methods(NormMethod::Mixed, &model, batch(), loss);
    assert_eq!(smaller, [Materialized, Ghost { positions: 2, uses: 1 }]);
}

#[test]
fn attention_keeps_all_projections_in_factors() {
    let b = bench();
    let model = MultiHeadAttentionConfig::new(4, 2).with_dropout(0.0).init(&b.device);
    let loss = |m: &MultiHeadAttention, x| score(m.forward(MhaInput::self_attn(x)).context);
    let ghost = methods(NormMethod::Ghost, &model, b.floats([N, 3, 4]), loss);
    let weights = ghost.iter().step_by(2);
    assert!(weights.clone().all(|m| *m == Ghost { positions: 3, uses: 1 }), "{ghost:?}");
}

#[test]
fn an_unused_parameter_is_known_to_be_unused() {
    let b = bench();
    let model = (LinearConfig::new(3, 4).with_bias(false).init(&b.device), b.parameter([2]));
    let loss = |(linear, _): &(Linear, Param<Tensor<1>>), x: Tensor<2>| score(linear.forward(x));
    let ghost = methods(NormMethod::Ghost, &model, b.floats([N, 3]), loss);
    assert_eq!(ghost, [Ghost { positions: 1, uses: 1 }, Unused]);
}

#[test]
fn threads_share_a_batch_without_changing_it() {
    let b = bench();
    let model = (
        EmbeddingConfig::new(9, 4).init(&b.device),
        LinearConfig::new(4, 5).init(&b.device),
        b.parameter([5]),
    );
    // burn draws initial values in an order that depends on the tests running beside this one. A sum
    // that happens to cancel would not have the digits that are compared below.
    let model = model.map(&mut Fill::default());
    type Model = (Embedding, Linear, Param<Tensor<1>>);
    let loss = |(embedding, linear, scale): &Model, tokens: Tensor<2, Int>| {
        let hidden = linear.forward(embedding.forward(tokens)).tanh();
        score(hidden * scale.val().unsqueeze())
    };
    let batch = b.ints([11, 3], 9);
    let sums = [1, 2, 3, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| {
            verify(&model, batch.clone(), loss, 1e-4).expect("exact");
            for method in [NormMethod::Ghost, NormMethod::Materialized] {
                let mut engine = Traced::new(loss).with_norm_method(method);
                let gradients = engine.per_example(&model, batch.clone()).expect("traced");
                assert_eq!(gradients.estimated_squared_norms().dims(), [11]);
            }
            let gradients = Traced::new(loss).per_example(&model, batch.clone()).expect("traced");
            let weights =
                Tensor::from_data([0.1f32, 1., 0., 2., 3., 4., 5., 6., 7., 8., 9.], &b.device);
            let sum =
                gradients.weighted_sum(weights).expect("a weight each").into_gradients(&model);
            let sum: Tensor<2> = sum.get(model.1.weight.id).expect("trained");
            sum.into_data()
        })
    });
    for sum in &sums {
        sum.assert_approx_eq::<f32>(&sums[0], burn::tensor::Tolerance::relative(1e-5));
    }
}
