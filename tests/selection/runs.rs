//! Selections in the engine and in a run.

use burn::module::Module;
use burn::tensor::Tensor;
use burn_dp::batch::Batch;
use burn_dp::error::SelectionError;
use burn_dp::per_example::{Traced, verify};
use burn_dp::privacy::Steps;
use burn_dp::seed::Seed;
use burn_dp::selection::{ParamSelector, Schedule};
use burn_dp::{DpOptimizer, Error};

use crate::common::{builder, delta, flat};
use crate::models::*;

/// Checks that the traced engine agrees with the loop on exactly the selected parameters, and
/// computes nothing else.
fn engine_pays<M: Module, X: Batch>(
    model: M,
    selector: ParamSelector,
    batch: X,
    loss: impl Fn(&M, X) -> Tensor<1> + Copy,
) {
    let selection = selector.select(&model).unwrap();
    let mut engine = Traced::new(loss);
    let all = ParamSelector::all().select(&model).unwrap().apply(model).unwrap();
    let everything = engine.explain(&all, &batch).unwrap();
    let model = selection.apply(all).unwrap();
    let plan = engine.explain(&model, &batch).unwrap();
    let planned: Vec<&str> = plan.parameters.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(planned, selection.paths().collect::<Vec<_>>());
    assert!(plan.operations < everything.operations, "{selector} saves nothing");
    verify(&model, batch, loss, 2e-3).unwrap();
}

#[test]
fn frozen_parameters_cost_nothing_and_the_rest_is_exact() {
    let head = ParamSelector::head;
    let bias = ParamSelector::bias;
    engine_pays(Transformer::new(), head(), tokens(4, 6, 11), Transformer::loss);
    engine_pays(Transformer::new(), bias(), tokens(4, 6, 11), Transformer::loss);
    engine_pays(Cnn::new(), head(), numbers([4, 2, 8, 8]), Cnn::loss);
    engine_pays(Cnn::new(), bias(), numbers([4, 2, 8, 8]), Cnn::loss);
    engine_pays(Nested::new(), head(), numbers([4, 4]), Nested::loss);
    engine_pays(Tied::new(false), bias(), tokens(4, 3, 9), Tied::loss);
    engine_pays(adapted(), ParamSelector::lora(), numbers([4, 2, 8, 8]), Cnn::loss);
    let adapters_and_head = ParamSelector::lora().union(head());
    engine_pays(adapted(), adapters_and_head, numbers([4, 2, 8, 8]), Cnn::loss);
}

#[test]
fn adapters_of_convolutions_keep_their_factors() {
    let model = adapted();
    let model = ParamSelector::lora().select(&model).unwrap().apply(model).unwrap();
    let plan = Traced::new(Cnn::loss)
        .with_norm_method(burn_dp::per_example::NormMethod::Ghost)
        .explain(&model, &numbers([4, 2, 8, 8]))
        .unwrap();
    let text = plan.to_string();
    assert!(!text.contains("materialized"), "{text}");
}

fn optimizer<F>(loss: F, steps: u64) -> DpOptimizer<Traced<F>> {
    let plan = builder(flat(0.5), 1.0).steps(Steps::from(steps)).build().unwrap();
    let sgd = burn::optim::SgdConfig::new().init();
    DpOptimizer::with_seed(plan, sgd, Traced::new(loss), Seed::reproducible(3))
}

fn weights<M: Module>(model: &M, selector: ParamSelector) -> Vec<f32> {
    struct Values(burn::module::ParamGroup, Vec<f32>);
    impl burn::module::ModuleVisitor for Values {
        fn visit_float<const D: usize>(
            &mut self,
            param: &burn::module::Param<burn::tensor::Tensor<D>>,
        ) {
            if self.0.matches(&param.id, None) {
                self.1.extend(param.base().to_data().iter::<f32>());
            }
        }
    }
    let mut values = Values(selector.select(model).unwrap().group(), Vec::new());
    model.visit(&mut values);
    values.1
}

#[test]
fn two_phases_are_one_run_in_one_ledger() {
    let schedule = Schedule::new(ParamSelector::head()).then(3.into(), ParamSelector::all());
    let mut optimizer = optimizer(Transformer::loss, 6);
    let mut model = Transformer::new();
    let trunk = || ParamSelector::all().minus(ParamSelector::head());
    let before = weights(&model, trunk());
    let mut phases = Vec::new();
    for _ in 0..6 {
        let (next, selection) = optimizer.follow(&schedule, model).unwrap();
        model = next;
        phases.push(selection.map(|selection| selection.trained()));
        let batch = optimizer.vouch_for_poisson([tokens(4, 6, 11)]);
        optimizer.step(0.1, &mut model, batch).unwrap();
        if optimizer.steps_taken().value() == 3 {
            assert_eq!(weights(&model, trunk()), before, "the trunk is frozen in the first phase");
        }
    }
    let all = ParamSelector::all().select(&model).unwrap().total();
    assert_eq!(phases, [Some(27), None, None, Some(all), None, None]);
    assert_ne!(weights(&model, trunk()), before);
    assert_eq!(optimizer.ledger().entries().len(), 1);
    assert_eq!(optimizer.epsilon(delta()).unwrap(), optimizer.plan().epsilon(delta()));
}

#[test]
fn a_changed_selection_has_to_be_announced() {
    let mut optimizer = optimizer(Transformer::loss, 6);
    let model = Transformer::new();
    let head = ParamSelector::head().select(&model).unwrap();
    let mut model = head.apply(model).unwrap();
    let batch = || tokens(4, 6, 11);
    let logical = optimizer.vouch_for_poisson([batch()]);
    optimizer.step(0.1, &mut model, logical).unwrap();

    let bias = ParamSelector::bias().select(&model).unwrap();
    let mut model = bias.apply(model).unwrap();
    let logical = optimizer.vouch_for_poisson([batch()]);
    let error = optimizer.step(0.1, &mut model, logical).unwrap_err();
    assert!(
        matches!(error, Error::Selection(SelectionError::Changed { before: 2, .. })),
        "{error}"
    );
    assert_eq!(optimizer.steps_taken().value(), 1);

    let mut model = optimizer.select(&bias, model).unwrap();
    let logical = optimizer.vouch_for_poisson([batch()]);
    optimizer.step(0.1, &mut model, logical).unwrap();
}

#[test]
fn a_resumed_run_goes_on_in_its_phase() {
    let schedule = Schedule::new(ParamSelector::head()).then(2.into(), ParamSelector::bias());
    let run = |interrupted: bool| {
        let mut optimizer = optimizer(Transformer::loss, 4);
        let mut model = fixed();
        for step in 0..4 {
            if interrupted && step == 3 {
                let bytes = optimizer.to_checkpoint(&model).unwrap();
                optimizer = self::optimizer(Transformer::loss, 4);
                model = optimizer.resume(fixed(), &bytes).unwrap();
            }
            model = optimizer.follow(&schedule, model).unwrap().0;
            let batch = optimizer.vouch_for_poisson([tokens(4, 6, 11)]);
            optimizer.step(0.1, &mut model, batch).unwrap();
        }
        weights(&model, ParamSelector::all())
    };
    assert_eq!(run(false), run(true));
}

/// A model with the same weights at every call.
fn fixed() -> Transformer {
    crate::common::fill(Transformer::new())
}
