//! A step happens completely or not at all.

use burn::optim::AdamConfig;
use burn::tensor::Tensor;
use burn_dp::error::PlanError;
use burn_dp::privacy::Steps;
use burn_dp::{Error, Result};

use crate::common::*;

#[test]
fn a_step_past_the_plan_is_an_error_and_changes_nothing() {
    let plan = builder(flat(BOUND), 1.0).steps(Steps::from(2)).build().expect("a plan");
    let mut optimizer = optimizer(plan.clone(), AdamConfig::new().init(), Path::Mixed, 1);
    let mut model = Net::new(&device());
    let data = records(3, 600);
    for _ in 0..2 {
        step(&mut optimizer, 0.1, &mut model, &data, 3).expect("a planned step");
    }
    assert_eq!(optimizer.steps_left().value(), 0);
    let (before, ledger) = (bits(&model), optimizer.ledger().clone());
    for _ in 0..2 {
        let refused = step(&mut optimizer, 0.1, &mut model, &data, 3);
        assert!(
            matches!(refused, Err(Error::Plan(PlanError::Exhausted { steps: 2 }))),
            "{refused:?}"
        );
        assert!(matches!(
            optimizer.sample(5).err(),
            Some(Error::Plan(PlanError::Exhausted { steps: 2 }))
        ));
    }
    assert_eq!((before, ledger), (bits(&model), optimizer.ledger().clone()));
    let spent = optimizer.epsilon(delta()).expect("a known event");
    assert_eq!(spent, plan.epsilon(delta()));
}

/// After each refusal the run continues exactly like a twin that was never refused: model,
/// optimizer state, noise, ledger and clipping norm are unchanged.
#[test]
fn a_refused_step_leaves_no_trace() {
    for (name, clipping) in clippings() {
        for path in PATHS {
            let start = || {
                let adam = AdamConfig::new().init();
                let optimizer = optimizer(plan(clipping.clone(), 1.0), adam, path, 3);
                (optimizer, Net::new(&device()))
            };
            let ((mut refused, mut model), (mut twin, mut twin_model)) = (start(), start());
            for round in 0..2 {
                let data = records(5, 610 + round);
                for (failure, fail) in FAILURES.iter().enumerate() {
                    let before = (bits(&model), refused.ledger().clone(), refused.steps_taken());
                    let state = *refused.clipping_state();
                    let outcome = fail(&mut refused, &mut model, &data);
                    assert!(outcome.is_err(), "{name}, {path:?}: failure {failure}");
                    let after = (bits(&model), refused.ledger().clone(), refused.steps_taken());
                    assert_eq!(before, after, "{name}, {path:?}: failure {failure}");
                    assert_eq!(state, *refused.clipping_state());
                }
                step(&mut refused, 0.1, &mut model, &data, 2).expect("a step");
                step(&mut twin, 0.1, &mut twin_model, &data, 2).expect("a step");
                assert_eq!(bits(&model), bits(&twin_model), "{name}, {path:?}, step {round}");
            }
            assert_eq!(refused.ledger(), twin.ledger());
            assert_eq!(refused.clipping_state(), twin.clipping_state());
        }
    }
}

type Failure = fn(&mut NetOptimizer, &mut Net, &[Record]) -> Result<()>;

const FAILURES: [Failure; 5] = [
    // The second physical batch has tensors of different lengths.
    |optimizer, model, data| {
        let device = device();
        let mut broken = collate(&data[2..], &device);
        broken.weights = Tensor::ones([1], &device);
        let batch = optimizer.vouch_for_poisson([collate(&data[..2], &device), broken]);
        optimizer.step(0.1, model, batch)
    },
    |optimizer, model, data| step(optimizer, f64::NAN, model, data, 2),
    |optimizer, model, data| step(optimizer, -0.1, model, data, 2),
    // A batch of another plan.
    |optimizer, model, data| {
        let other = crate::common::optimizer(plan(flat(3.0), 1.0), Reveal, Path::Loop, 3);
        let batch = other.vouch_for_poisson([collate(data, &device())]);
        optimizer.step(0.1, model, batch)
    },
    // A batch of another step of this plan.
    |optimizer, model, data| {
        let plan = optimizer.plan().clone();
        let mut other = crate::common::optimizer(plan, Reveal, Path::Loop, 3);
        for _ in 0..optimizer.steps_taken().value() + 1 {
            step(&mut other, 0.1, &mut Net::new(&device()), &[], 1)?;
        }
        let batch = other.vouch_for_poisson([collate(data, &device())]);
        optimizer.step(0.1, model, batch)
    },
];

#[test]
fn the_sample_of_a_step_is_the_same_until_the_step_is_taken() {
    let rate = burn_dp::privacy::SamplingRate::new(0.3).expect("a rate");
    let plan = builder(flat(BOUND), 1.0).sampling_rate(rate).build().expect("a plan");
    let mut optimizer = optimizer(plan, Reveal, Path::Mixed, 5);
    let indices =
        |optimizer: &NetOptimizer| optimizer.sample(200).expect("a sample").indices().to_vec();
    let first = indices(&optimizer);
    let refused = step(&mut optimizer, f64::NAN, &mut Net::new(&device()), &[], 1);
    assert!(refused.is_err());
    assert_eq!(first, indices(&optimizer));
    step(&mut optimizer, 0.1, &mut Net::new(&device()), &[], 1).expect("a step");
    assert_ne!(first, indices(&optimizer));
}

#[test]
fn spent_epsilon_is_that_of_the_plan_and_is_shown_rounded_up() {
    let plan = plan(flat(BOUND), 1.1);
    let mut optimizer = optimizer(plan.clone(), Reveal, Path::Mixed, 5);
    assert_eq!(optimizer.epsilon(delta()).expect("known").value(), 0.0);
    let mut before = 0.0;
    for taken in 1..6 {
        step(&mut optimizer, 0.1, &mut Net::new(&device()), &[], 1).expect("a step");
        let spent = optimizer.epsilon(delta()).expect("known");
        assert_eq!(spent, plan.epsilon_at(Steps::from(taken), delta()));
        let shown: f64 = format!("{spent:.2}").parse().expect("a number");
        assert!(shown >= spent.value() && shown - spent.value() < 0.011 && spent.value() > before);
        before = spent.value();
    }
    assert!(before < plan.epsilon(delta()).value());
    assert_eq!(optimizer.statement(delta()).epsilon(), plan.epsilon(delta()));
    assert!(optimizer.statement(delta()).to_string().contains("NOT private"));
}
