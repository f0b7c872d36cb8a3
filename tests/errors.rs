//! Bad input is a typed error that says what to do, for every public entry point. Nothing panics.
//!
//! Three errors are not tested here, because no public input leads to them on one healthy device:
//! `Device` (a failing backend), `RandomnessUnavailable` (the operating system), `BrokenTrace` (a
//! recording that burn does not make). Checkpoints are in `tests/checkpoint.rs`, batch statistics
//! in `tests/step`.

mod common;

use burn::module::{Module, ParamGroup};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};
use burn_dp::batch;
use burn_dp::error::{BatchError, GradientError, LossError, ModelError, SettingError, TraceError};
use burn_dp::per_example::{Engine, Loop, PerExample, Traced, verify};
use burn_dp::privacy::{
    Accountant, AdaptiveClipping, Adjacency, Clipping, ClippingNorm, Delta, DpEvent, Epsilon,
    ExpectedBatchSize, NoiseMultiplier, PrivacyPlan, RdpAccountant, SamplingRate,
};
use burn_dp::{DpOptimizer, Error, Result};
use common::*;

/// The error of `result`, after checking that its message has all of `parts`.
#[track_caller]
fn refused<T, E: Into<Error>>(result: Result<T, E>, parts: &[&str]) -> Error {
    let error = result.err().expect("an error").into();
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    error
}

macro_rules! refused {
    ($result:expr, $pattern:pat, $($part:literal),+ $(,)?) => {{
        let error = refused($result, &[$($part),+]);
        assert!(matches!(error, $pattern), "{error:?}");
    }};
}

fn linear() -> Linear {
    fill(LinearConfig::new(3, 1).init(&device()))
}

fn x(examples: usize) -> Tensor<2> {
    Tensor::ones([examples, 3], &device())
}

/// Both engines on two examples.
fn engines<F>(loss: F) -> [Result<PerExample>; 2]
where
    F: Fn(&Linear, Tensor<2>) -> Tensor<1>,
{
    [Traced::new(&loss).per_example(&linear(), x(2)), Loop::new(&loss).per_example(&linear(), x(2))]
}

#[test]
fn quantities_outside_their_domain_are_named() {
    refused!(SamplingRate::new(1.1), Error::Setting(_), "sampling_rate is 1.1", "between");
    refused!(SamplingRate::new(-0.1), Error::Setting(_), "sampling_rate");
    refused!(SamplingRate::new(f64::NAN), Error::Setting(_), "sampling_rate is NaN");
    refused!(Delta::new(0.0), Error::Setting(_), "delta is 0", "greater than 0");
    refused!(Epsilon::new(-1.0), Error::Setting(_), "epsilon is -1");
    refused!(NoiseMultiplier::new(f64::INFINITY), Error::Setting(_), "noise_multiplier");
    refused!(ClippingNorm::new(0.0), Error::Setting(_), "clipping_norm is 0");
    refused!(ExpectedBatchSize::from_records(0), Error::Setting(_), "expected_batch_size");
    let norm = ClippingNorm::new(1.0).expect("a norm");
    refused!(Clipping::automatic(norm, 0.0), Error::Setting(_), "stability is 0");
    refused!(
        Clipping::per_group(Vec::<(String, f64)>::new()),
        Error::Setting(_),
        "at least one group"
    );
    let twice = vec![("a".to_owned(), norm), ("a".to_owned(), norm)];
    refused!(Clipping::per_group(twice), Error::Setting(_), "occurs once");
    refused!(AdaptiveClipping::new(norm, 1.0, 0.2, 1.0), Error::Setting(_), "quantile");
    refused!(AdaptiveClipping::new(norm, 0.5, 0.2, f64::NAN), Error::Setting(_), "count");
}

#[test]
fn a_plan_that_is_incomplete_contradictory_or_out_of_reach_says_so() {
    let missing = PrivacyPlan::builder().build();
    refused!(
        missing,
        Error::Setting(SettingError::Missing { .. }),
        "sampling_rate is missing",
        "set it"
    );
    let target = (Epsilon::new(1.0).expect("valid"), delta());
    let both = builder(flat(1.0), 1.0).target(target.0, target.1).build();
    refused!(
        both,
        Error::Setting(SettingError::Conflicting { .. }),
        "noise_multiplier and target",
        "exactly one"
    );
    let no_budget = builder(adaptive(1.0, 0.4), 1.0).build();
    refused!(no_budget, Error::Setting(_), "count_noise_std is 0.4", "half the noise");
    let unreachable = PrivacyPlan::builder()
        .sampling_rate(SamplingRate::new(1.0).expect("a rate"))
        .expected_batch_size(ExpectedBatchSize::new(1.0).expect("a size"))
        .steps(u64::MAX)
        .clipping(flat(1.0))
        .target(Epsilon::new(1e-9).expect("valid"), Delta::new(1e-12).expect("valid"))
        .build();
    refused!(
        unreachable,
        Error::Accounting(burn_dp::accounting::Error::UnreachableTarget { .. }),
        "raise epsilon",
        "number of steps"
    );
}

#[test]
fn an_event_without_a_proven_bound_is_refused_by_the_accountant() {
    let half = SamplingRate::new(0.5).expect("a rate");
    let event = DpEvent::poisson_sampled_gaussian(half, NoiseMultiplier::new(1.0).expect("valid"));
    let outcome = RdpAccountant::new(Adjacency::ReplaceOne).compose(&event, 1);
    // Supported or refused, but never free of cost.
    if outcome.is_err() {
        refused!(
            outcome,
            Error::Accounting(burn_dp::accounting::Error::UnsupportedEvent { .. }),
            "use another accountant"
        );
    }
}

#[test]
fn a_batch_whose_tensors_differ_in_length_is_refused() {
    let loss = |model: &Linear, (x, y): (Tensor<2>, Tensor<1>)| {
        (model.forward(x).flatten::<1>(0, 1) - y).powi_scalar(2).mean()
    };
    let batch = (x(3), Tensor::<1>::ones([2], &device()));
    let traced = Traced::new(loss).per_example(&linear(), batch.clone());
    refused!(traced, Error::Batch(BatchError::LengthsDiffer { .. }), "[3, 2]", "axis 0");
    let looped = Loop::new(loss).per_example(&linear(), batch);
    refused!(looped, Error::Batch(BatchError::LengthsDiffer { .. }), "[3, 2]", "axis 0");
}

#[test]
fn a_batch_without_tensors_is_refused() {
    let nothing: Vec<Tensor<2>> = Vec::new();
    refused!(
        batch::len(&nothing),
        Error::Batch(BatchError::WithoutExamples { .. }),
        "at least one tensor"
    );
    let loss = |model: &Linear, _: Vec<Tensor<2>>| model.weight.val().sum();
    let outcome = Traced::new(loss).per_example(&linear(), nothing.clone());
    refused!(outcome, Error::Batch(BatchError::WithoutExamples { .. }), "at least one tensor");
    let outcome = Loop::new(loss).per_example(&linear(), nothing);
    refused!(outcome, Error::Batch(BatchError::WithoutExamples { .. }), "at least one tensor");
}

#[test]
fn examples_of_different_shapes_do_not_concatenate() {
    let device = device();
    let parts = [Tensor::<2>::ones([2, 3], &device), Tensor::ones([1, 4], &device)];
    refused!(
        batch::concat(&parts),
        Error::Batch(BatchError::ExampleShapesDiffer { .. }),
        "[[2, 3]]",
        "[[1, 4]]",
        "pad"
    );
    let none: [Tensor<2>; 0] = [];
    refused!(batch::concat(&none), Error::Setting(_), "at least 1");
    let optional = [Some(x(1)), None];
    refused!(
        batch::concat(&optional),
        Error::Batch(BatchError::WithoutExamples { .. }),
        "at least one tensor"
    );
    refused!(batch::slice(&x(2), 1..3), Error::Setting(_), "1..3", "inside the batch");
    #[allow(clippy::reversed_empty_ranges)] // As a mistaken caller would.
    let backwards = batch::slice(&x(2), 2..1);
    refused!(backwards, Error::Setting(_), "2..1");
}

#[test]
fn a_loss_that_is_not_one_number_is_refused() {
    for outcome in engines(|model, x| model.forward(x).flatten::<1>(0, 1).repeat_dim(0, 2)) {
        refused!(outcome, Error::Loss(LossError::NotScalar { .. }), "[2]", "mean()");
    }
}

#[test]
fn a_loss_that_depends_on_no_parameter_is_refused() {
    let [traced, looped] = engines(|_, x| x.sum());
    refused!(traced, Error::Loss(LossError::WithoutParameters), "frozen or detached");
    refused!(looped, Error::Loss(LossError::WithoutParameters), "frozen or detached");
    let [traced, looped] = engines(|model, x| model.forward(x).detach().mean());
    refused!(traced, Error::Loss(LossError::WithoutParameters), "frozen or detached");
    refused!(looped, Error::Loss(LossError::WithoutParameters), "frozen or detached");
}

#[test]
fn a_model_without_trainable_parameters_is_refused() {
    for model in [linear().freeze(), linear().valid()] {
        let loss = |model: &Linear, x: Tensor<2>| model.forward(x).mean();
        let outcome = Traced::new(loss).per_example(&model, x(2));
        refused!(outcome, Error::Model(ModelError::NoTrainableParameter), "unfrozen");
        let outcome = Loop::new(loss).per_example(&model, x(2));
        refused!(outcome, Error::Model(ModelError::NoTrainableParameter), "unfrozen");
        let mut optimizer = net_like(loss);
        let batch = optimizer.vouch_for_poisson([x(2)]);
        let outcome = optimizer.step(0.1, &mut model.clone(), batch);
        refused!(outcome, Error::Model(ModelError::NoTrainableParameter), "unfrozen");
    }
}

fn net_like<F>(loss: F) -> DpOptimizer<Traced<F>> {
    let seed = burn_dp::seed::Seed::reproducible(1);
    DpOptimizer::with_seed(plan(flat(1.0), 1.0), Reveal, Traced::new(loss), seed)
}

#[test]
fn a_value_that_is_read_while_tracing_is_refused_and_the_loop_takes_it() {
    let [traced, looped] = engines(|model, x| {
        let y = model.forward(x).mean();
        let value = y.clone().into_data().iter::<f32>().sum::<f32>();
        if value > 0.0 { y } else { y * 2.0 }
    });
    refused!(traced, Error::Trace(TraceError::ValueRead { .. }), "while it is traced", "Loop");
    assert!(looped.is_ok());
}

#[test]
fn a_loss_that_panics_while_tracing_is_an_error() {
    let loss = |model: &Linear, x: Tensor<2>| {
        assert!(x.dims()[1] == 4, "four features are wanted");
        model.forward(x).mean()
    };
    let outcome = Traced::new(loss).per_example(&linear(), x(2));
    refused!(outcome, Error::Trace(TraceError::Failed { .. }), "four features are wanted", "Loop");
}

/// A constant that is on another device than the trace.
#[test]
fn a_tensor_of_another_device_in_the_loss_is_an_error() {
    let constant = Tensor::<2>::ones([1, 3], &Device::default());
    let loss = move |model: &Linear, x: Tensor<2>| model.forward(x.mul(constant.clone())).mean();
    let outcome = Traced::new(loss).per_example(&linear(), x(2));
    refused!(outcome, Error::Trace(TraceError::TensorFromOutside { .. }), "x.device()", "Loop");
}

#[test]
fn gradients_are_asked_for_by_known_parameters_and_their_rank() {
    let model = linear();
    let other = linear();
    let loss = |model: &Linear, x: Tensor<2>| model.forward(x).mean();
    let gradients = Traced::new(loss).per_example(&model, x(2)).expect("gradients");
    let stranger = gradients.gradient::<3>(other.weight.id);
    refused!(
        stranger,
        Error::Gradient(GradientError::UnknownParameter { .. }),
        "`parameters()` lists"
    );
    refused!(
        gradients.estimated_squared_norms_of(other.weight.id),
        Error::Gradient(GradientError::UnknownParameter { .. }),
        "parameters()"
    );
    let rank = gradients.gradient::<2>(model.weight.id);
    refused!(rank, Error::Gradient(GradientError::WrongRank { .. }), "`weight`", "rank 3, not 2");
    let weights = gradients.weighted_sum(Tensor::ones([3], &device()));
    refused!(weights, Error::Setting(_), "number of weights is 3");
}

#[test]
fn engines_that_disagree_are_told_by_parameter() {
    // Each call of the loss computes another function, as with dropout.
    let calls = std::cell::Cell::new(0.0);
    let loss = |model: &Linear, x: Tensor<2>| {
        calls.set(calls.get() + 1.0);
        model.forward(x).mean() * calls.get()
    };
    let outcome = verify(&linear(), x(2), loss, 1e-3);
    refused!(
        outcome,
        Error::Gradient(GradientError::EnginesDisagree { .. }),
        "`weight`",
        "dropout"
    );
    let outcome = verify(&linear(), x(2), |model, x| model.forward(x).mean(), f64::NAN);
    assert!(outcome.is_err(), "a tolerance of NaN accepts nothing");
}

#[test]
fn a_parameter_outside_every_clipping_group_is_named() {
    let norm = ClippingNorm::new(1.0).expect("a norm");
    let clipping = Clipping::per_group(vec![("head".to_owned(), norm)]).expect("a group");
    let mut optimizer = optimizer(plan(clipping, 1.0), Reveal, Path::Mixed, 1);
    let mut model = Net::new(&device());
    let outcome = step(&mut optimizer, 0.1, &mut model, &records(2, 1), 2);
    refused!(outcome, Error::Setting(_), "embedding.weight", "empty prefix");
    // A frozen parameter needs no group.
    let rest = ParamGroup::from_predicate("head");
    let mut model = model.freeze_group(ParamGroup::all().exclude(rest));
    step(&mut optimizer, 0.1, &mut model, &records(2, 1), 2).expect("the head has a group");
}

#[test]
fn a_learning_rate_that_is_no_rate_is_refused() {
    let mut optimizer = optimizer(plan(flat(1.0), 1.0), Reveal, Path::Mixed, 1);
    let mut model = Net::new(&device());
    for rate in [f64::NAN, -1.0, f64::INFINITY] {
        let outcome = step(&mut optimizer, rate, &mut model, &records(2, 1), 2);
        refused!(outcome, Error::Setting(_), "learning rate", "finite and at least 0");
    }
    let unset = burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate::default();
    let batch = optimizer.vouch_for_poisson([collate(&records(2, 1), &device())]);
    let outcome = optimizer.step(unset, &mut model, batch);
    refused!(outcome, Error::Setting(_), "learning rate", "finite and at least 0");
}

#[test]
fn a_batch_of_another_plan_or_step_is_refused() {
    let (mut first, mut other) = (
        optimizer(plan(flat(1.0), 1.0), Reveal, Path::Mixed, 1),
        optimizer(plan(flat(2.0), 1.0), Reveal, Path::Mixed, 1),
    );
    let mut model = Net::new(&device());
    let batch = other.vouch_for_poisson([collate(&records(2, 1), &device())]);
    let outcome = first.step(0.1, &mut model, batch);
    refused!(outcome, Error::Batch(BatchError::OfAnotherPlan), "another plan", "`sample`");
    let stale = other.vouch_for_poisson([collate(&records(2, 1), &device())]);
    step(&mut other, 0.1, &mut model, &[], 1).expect("a step");
    let outcome = other.step(0.1, &mut model, stale);
    refused!(
        outcome,
        Error::Batch(BatchError::OfAnotherStep { step: 0, due: 1 }),
        "step 0",
        "step 1 is due"
    );
}

#[test]
fn a_population_that_cannot_be_counted_is_refused() {
    let optimizer = optimizer(plan(flat(1.0), 1.0), Reveal, Path::Mixed, 1);
    refused!(optimizer.sample(usize::MAX), Error::Setting(_), "population", "2^48");
}

/// An engine that differentiates its own model instead of the given one.
struct Stubborn(Linear, Traced<fn(&Linear, Tensor<2>) -> Tensor<1>>);

impl Engine<Linear, Tensor<2>> for Stubborn {
    fn per_example(&mut self, _: &Linear, batch: Tensor<2>) -> Result<PerExample> {
        self.1.per_example(&self.0, batch)
    }
}

#[test]
fn an_engine_of_another_model_is_refused() {
    let loss: fn(&Linear, Tensor<2>) -> Tensor<1> = |model, x| model.forward(x).mean();
    let engine = Stubborn(linear(), Traced::new(loss));
    let seed = burn_dp::seed::Seed::reproducible(1);
    let mut optimizer = DpOptimizer::with_seed(plan(flat(1.0), 1.0), Reveal, engine, seed);
    let batch = optimizer.vouch_for_poisson([x(2)]);
    let outcome = optimizer.step(0.1, &mut linear(), batch);
    refused!(outcome, Error::Gradient(GradientError::OfAnotherModel), "the model it is given");
}

#[test]
fn an_index_outside_an_embedding_is_an_error_or_a_panic_of_the_backend_before_anything_changed() {
    // burn's backends panic on it, as they do without privacy. This test checks the state
    // afterwards.
    let mut optimizer = optimizer(plan(flat(1.0), 1.0), Reveal, Path::Mixed, 1);
    let mut model = Net::new(&device());
    let before = bits(&model);
    let mut data = collate(&records(2, 1), &device());
    data.tokens = Tensor::<2, Int>::full([2, LENGTH], TOKENS as i64 + 5, &device());
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let batch = optimizer.vouch_for_poisson([data]);
        optimizer.step(0.1, &mut model, batch)
    }));
    assert!(!matches!(outcome, Ok(Ok(()))));
    assert_eq!((before, 0), (bits(&model), optimizer.steps_taken().value()));
}
