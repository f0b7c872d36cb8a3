//! One record moves the sum by at most what the plan says, on every path.

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Int, Tensor};
use burn_dp::DpOptimizer;
use burn_dp::privacy::{Adjacency, Clipping, ClippingNorm};
use burn_dp::seed::Seed;

use crate::common::*;

/// Rounding of a sum of a dozen clipped gradients in single precision.
const ROUNDING: f64 = 1e-5;

#[test]
fn adding_or_removing_any_record_moves_the_sum_by_at_most_the_sensitivity() {
    let weights = [1e-3, 1.0, 1e3, 1e6, 1e12];
    for (name, clipping) in clippings() {
        let plan = plan(clipping, 0.0);
        let sensitivity = plan.sensitivity(&plan.clipping().initial_state());
        for path in PATHS {
            for (case, weight) in weights.into_iter().enumerate() {
                let mut data = records(6, 10 + case as u64);
                data[2].weight = 1e4;
                data[4].weight = weight;
                let all = release(&plan, path, &data, 4);
                data.remove(4);
                let moved = distance(&all, &release(&plan, path, &data, 4));
                assert!(moved <= sensitivity + ROUNDING, "{name}, {path:?}, {weight:e}: {moved}");
            }
        }
    }
}

#[test]
fn replacing_any_record_moves_the_sum_by_at_most_the_sensitivity() {
    for (name, clipping) in clippings() {
        let plan = builder(clipping, 0.0).adjacency(Adjacency::ReplaceOne).build().expect("a plan");
        let sensitivity = plan.sensitivity(&plan.clipping().initial_state());
        assert_eq!(
            sensitivity,
            2.0 * plan.clipping().sensitivity(&plan.clipping().initial_state())
        );
        for path in PATHS {
            for case in 0..3 {
                let mut data = records(5, 30 + case);
                data[0].weight = 1e5;
                let before = release(&plan, path, &data, 5);
                data[0] = weighted(&data[0], -1e5);
                let moved = distance(&before, &release(&plan, path, &data, 5));
                assert!(moved <= sensitivity + ROUNDING, "{name}, {path:?}: {moved}");
                // The opposite gradient is the worst replacement, so the bound is not slack.
                assert!(moved >= 0.98 * sensitivity, "{name}, {path:?}: {moved}");
            }
        }
    }
}

#[test]
fn a_gradient_a_million_times_larger_still_has_norm_at_most_c_on_every_path() {
    for (name, clipping) in clippings() {
        let plan = plan(clipping, 0.0);
        for path in PATHS {
            for (case, weight) in [1e6, -1e6, 1e12, 1e15].into_iter().enumerate() {
                let record = weighted(&records(1, 50 + case as u64)[0], weight);
                let norm = norm(&release(&plan, path, &[record], 1));
                assert!(norm <= BOUND * (1.0 + 1e-6), "{name}, {path:?}, {weight:e}: {norm}");
                // The gradient is clipped over all parameters together, not once for every tensor,
                // and not too much.
                assert!(norm >= 0.99 * BOUND, "{name}, {path:?}, {weight:e}: {norm}");
            }
        }
    }
}

/// The gradient of a record is one large number and a million small ones. The small ones are 6 % of
/// the whole. A backend that adds their squares one by one loses them.
#[test]
fn a_norm_of_a_million_entries_is_not_too_low_on_any_path() {
    #[derive(Module, Debug)]
    struct Long {
        weights: Param<Tensor<1>>,
    }
    impl Long {
        fn loss(&self, x: Tensor<2>) -> Tensor<1> {
            (x * self.weights.val().unsqueeze()).sum()
        }
    }
    const LENGTH: usize = 1_000_003;
    let device = device();
    let record: Vec<f32> = (0..LENGTH).map(|i| if i == 0 { 4100.0 } else { 1.0 }).collect();
    let x = Tensor::<1>::from_data(record.as_slice(), &device).unsqueeze::<2>();
    for path in PATHS {
        let weights = Tensor::zeros([LENGTH], &device).require_grad();
        let mut model = Long { weights: Param::initialized(0.into(), weights) };
        let plan = plan(flat(1.0), 0.0);
        let engine = path.engine(Long::loss);
        let mut optimizer =
            DpOptimizer::with_seed(plan.clone(), Reveal, engine, Seed::reproducible(1));
        let logical = optimizer.vouch_for_poisson([x.clone()]);
        optimizer.step(1.0, &mut model, logical).expect("a step");
        let norm = norm(&trainable(&model)) * plan.divisor();
        assert!(norm <= 1.0 + 1e-6, "{path:?}: {norm}");
        assert!(norm >= 0.999, "{path:?}: {norm}");
    }
}

#[test]
fn a_gradient_below_the_clipping_norm_is_not_changed() {
    let device = device();
    let record = records(1, 60).remove(0);
    let model = Net::new(&device);
    let expected = autodiff(&model, &record);
    assert!(norm(&expected) < 100.0);
    for path in PATHS {
        let released = release(&plan(flat(100.0), 0.0), path, std::slice::from_ref(&record), 1);
        let error = distance(&released, &expected) / norm(&expected);
        assert!(error < 1e-5, "{path:?}: {error}");
    }
}

/// [`Net`] uses one layer twice at each of several positions, and one token may occur more than once.
#[test]
fn a_layer_that_is_used_again_has_the_gradient_of_a_batch_of_one() {
    let device = device();
    let mut repeated = records(1, 70).remove(0);
    repeated.tokens = vec![5; LENGTH];
    let expected = autodiff(&Net::new(&device), &repeated);
    let clipped: Vec<f64> = expected.iter().map(|x| x * 0.01 / norm(&expected)).collect();
    for path in PATHS {
        let released = release(&plan(flat(0.01), 0.0), path, std::slice::from_ref(&repeated), 1);
        assert!(distance(&released, &clipped) < 1e-2 * 1e-4, "{path:?}");
    }
}

/// One parameter that is both the input and, transposed, the output layer.
#[derive(Module, Debug)]
struct Tied {
    embedding: Embedding,
}

impl Tied {
    fn loss(&self, tokens: Tensor<2, Int>) -> Tensor<1> {
        let x = self.embedding.forward(tokens);
        let logits = x.matmul(self.embedding.weight.val().transpose().unsqueeze());
        logits.powi_scalar(2).mean() * 50.0
    }
}

#[test]
fn a_tied_weight_is_one_parameter_with_one_norm() {
    let device = device();
    let model = fill(Tied { embedding: EmbeddingConfig::new(5, 3).init(&device) });
    let tokens = Tensor::<2, Int>::from_data([[1, 4, 4, 0]], &device);
    let gradients =
        GradientsParams::from_grads(model.clone().loss(tokens.clone()).backward(), &model);
    let gradient = gradients.get::<2>(model.embedding.weight.id).expect("a gradient");
    let gradient: Vec<f64> = gradient.into_data().iter().collect();
    assert!(norm(&gradient) > BOUND);
    for path in PATHS {
        let engine = path.engine(Tied::loss);
        let plan = plan(flat(BOUND), 0.0);
        let mut optimizer = DpOptimizer::with_seed(plan, Reveal, engine, Seed::reproducible(1));
        let mut stepped = model.clone();
        let batch = optimizer.vouch_for_poisson([tokens.clone()]);
        optimizer.step(1.0, &mut stepped, batch).expect("a step");
        let released: Vec<f64> = trainable(&stepped).iter().map(|x| x * DIVISOR).collect();
        let expected: Vec<f64> = gradient.iter().map(|x| x * BOUND / norm(&gradient)).collect();
        assert!(distance(&released, &expected) < 1e-4, "{path:?}");
        assert!(norm(&released) <= BOUND * (1.0 + 1e-6), "{path:?}");
    }
}

#[test]
fn the_divisor_is_the_expected_batch_size_whatever_the_number_of_records() {
    let record = records(1, 80).remove(0);
    for path in PATHS {
        let plan = plan(flat(BOUND), 0.0);
        let once = release(&plan, path, std::slice::from_ref(&record), 8);
        for copies in [2, 5, 8] {
            let many = release(&plan, path, &vec![record.clone(); copies], 8);
            let expected: Vec<f64> = once.iter().map(|x| x * copies as f64).collect();
            assert!(distance(&many, &expected) < 1e-4 * BOUND, "{path:?}, {copies} copies");
        }
    }
}

#[test]
fn one_record_more_moves_the_update_by_at_most_c_over_the_divisor() {
    let device = device();
    let update = |records: &[Record]| {
        let mut model = Net::new(&device);
        let before = trainable(&model);
        let plan = plan(flat(BOUND), 0.0);
        let mut optimizer = optimizer(plan, SgdConfig::new().init(), Path::Mixed, 3);
        step(&mut optimizer, 1.0, &mut model, records, 4).expect("a step");
        let after = trainable(&model);
        before.iter().zip(after).map(|(before, after)| before - after).collect::<Vec<f64>>()
    };
    let mut data = records(7, 90);
    data[6].weight = 1e5;
    let (with, without) = (update(&data), update(&data[..6]));
    let moved = distance(&with, &without);
    assert!(moved <= BOUND / DIVISOR + 1e-6, "{moved}");
    assert!(moved >= 0.99 * BOUND / DIVISOR, "{moved}");
    // The release that the other tests read equals what plain gradient descent does.
    let released = release(&plan(flat(BOUND), 0.0), Path::Mixed, &data, 4);
    let descent: Vec<f64> = with.iter().map(|x| x * DIVISOR).collect();
    assert!(distance(&released, &descent) < 1e-5);
}

#[test]
fn the_result_does_not_depend_on_the_physical_batch_size() {
    for (name, clipping) in clippings() {
        let plan = plan(clipping, 1.0);
        let mut data = records(7, 100);
        data[3].weight = 1e6;
        for path in PATHS {
            let whole = release(&plan, path, &data, 7);
            for physical in [1, 2, 3, 100] {
                let split = release(&plan, path, &data, physical);
                let error = distance(&whole, &split);
                assert!(error < ROUNDING, "{name}, {path:?}, {physical}: {error}");
            }
        }
    }
}

/// A parameter whose gradient is the record.
#[derive(Module, Debug)]
struct Direct {
    weight: Param<Tensor<1>>,
}

#[test]
fn a_norm_whose_square_underflows_is_not_taken_for_zero() {
    let device = device();
    let x = Tensor::<2>::full([1, 256], 1e-23, &device);
    let clipping_norm = |c: f64| ClippingNorm::new(c).expect("a positive norm");
    let tiny_stability = Clipping::automatic(clipping_norm(1.0), 1e-30).expect("valid");
    for (clipping, bound) in [(flat(1e-23), 1e-23), (tiny_stability, 1.0)] {
        for path in PATHS {
            let engine = path
                .engine(|model: &Direct, x: Tensor<2>| (x * model.weight.val().unsqueeze()).sum());
            let weight = Tensor::<1>::zeros([256], &device).require_grad();
            let mut model = Direct { weight: Param::initialized(1.into(), weight) };
            let plan = plan(clipping.clone(), 0.0);
            let mut optimizer = DpOptimizer::with_seed(plan, Reveal, engine, Seed::reproducible(1));
            let batch = optimizer.vouch_for_poisson([x.clone()]);
            optimizer.step(1.0, &mut model, batch).expect("a step");
            let released = norm(&trainable(&model)) * DIVISOR;
            assert!(released <= bound * (1.0 + 1e-5), "{path:?}: {released:e} for {bound:e}");
        }
    }
}

/// Inputs whose squares are zero in single precision, times an output gradient that makes up for
/// it.
#[test]
fn a_factor_whose_square_underflows_does_not_hide_the_other() {
    let device = device();
    let clipping_norm = 1e-3;
    for path in PATHS {
        for positions in [1, 2] {
            let x = Tensor::<3>::full([1, positions, 4096], 2e-23, &device);
            let engine = path
                .engine(|model: &Linear, x: Tensor<3>| model.forward(x).sum().mul_scalar(1.8e19));
            let mut model = fill(LinearConfig::new(4096, 1).with_bias(false).init(&device));
            let plan = plan(flat(clipping_norm), 0.0);
            let mut optimizer = DpOptimizer::with_seed(plan, Reveal, engine, Seed::reproducible(1));
            let batch = optimizer.vouch_for_poisson([x]);
            optimizer.step(1.0, &mut model, batch).expect("a step");
            let released = norm(&trainable(&model)) * DIVISOR;
            assert!(
                released <= clipping_norm * (1.0 + 1e-5),
                "{path:?}, {positions}: {released:e}"
            );
        }
    }
}

/// The gradient of one record by burn's own autodiff.
fn autodiff(model: &Net, record: &Record) -> Vec<f64> {
    let device = device();
    let loss = model.loss(collate(std::slice::from_ref(record), &device));
    let gradients = GradientsParams::from_grads(loss.backward(), model);
    let mut revealed = burn::optim::ModuleOptimizer::from(Reveal);
    trainable(&revealed.step(1.0, model.clone(), gradients))
}
