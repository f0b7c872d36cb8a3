//! The optimizer's state sees only the noised, bounded gradient.

use burn::module::ParamGroup;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Tensor;

use crate::common::*;

fn optimizers() -> Vec<(&'static str, ModuleOptimizer)> {
    let momentum = MomentumConfig::new().with_momentum(0.9);
    let decay = WeightDecayConfig::new(0.05);
    let adam = AdamConfig::new().with_weight_decay(Some(decay));
    let by_group = ModuleOptimizer::from(adam.build()).with_group(
        ParamGroup::from_predicate("mix"),
        SgdConfig::new().with_momentum(Some(momentum.clone())).build(),
        None,
    );
    vec![
        ("momentum", SgdConfig::new().with_momentum(Some(momentum)).init()),
        ("adam", adam.init()),
        ("by group", by_group),
    ]
}

/// A run equals the bare optimizer that is fed with the run's noised sums: nothing else of the data
/// reaches a moment.
#[test]
fn noise_precedes_the_optimizers_state() {
    let device = device();
    for (name, bare) in optimizers() {
        for path in [Path::Mixed, Path::Loop] {
            let plan = plan(flat(BOUND), 1.0);
            let mut private = optimizer(plan.clone(), bare.clone(), path, 11);
            let mut observed = optimizer(plan, Reveal, path, 11);
            let mut bare = bare.clone();
            let mut model = Net::new(&device);
            let mut expected = model.clone();
            for round in 0..4 {
                let data = records(4, 500 + round);
                let mut release = expected.clone();
                step(&mut observed, 1.0, &mut release, &data, 4).expect("a step");
                expected = bare.step(0.1, expected.clone(), gradients(&release));
                step(&mut private, 0.1, &mut model, &data, 4).expect("a step");
                assert_eq!(bits(&expected), bits(&model), "{name}, {path:?}, step {round}");
            }
        }
    }
}

#[test]
fn data_without_gradient_still_moves_every_parameter_by_its_noise() {
    for (name, bare) in optimizers() {
        let silent: Vec<Record> = records(4, 510).iter().map(|r| weighted(r, 0.0)).collect();
        let mut optimizer = optimizer(plan(flat(BOUND), 1.0), bare, Path::Mixed, 12);
        let mut model = Net::new(&device());
        let before = values(&model);
        step(&mut optimizer, 0.1, &mut model, &silent, 4).expect("a step");
        for (before, after) in before.iter().flatten().zip(values(&model).iter().flatten()) {
            assert!(after.is_finite() && before != after, "{name}: {before} stayed");
        }
    }
}

/// With momentum the state itself is released. It grows with the clipped gradient, not with the raw
/// one.
#[test]
fn a_huge_gradient_leaves_bounded_moments() {
    let momentum = MomentumConfig::new().with_momentum(0.9).with_dampening(0.0);
    let sgd = SgdConfig::new().with_momentum(Some(momentum)).init();
    for path in PATHS {
        let mut optimizer = optimizer(plan(flat(BOUND), 0.0), sgd.clone(), path, 13);
        let mut model = Net::new(&device());
        let start = trainable(&model);
        let huge = weighted(&records(1, 520)[0], 1e15);
        step(&mut optimizer, 1.0, &mut model, &[huge], 1).expect("a step");
        let after_one = trainable(&model);
        let update = distance(&start, &after_one);
        assert!(update <= BOUND / DIVISOR + 1e-6, "{path:?}: {update}");
        // A step without data releases 0.9 times the first moment.
        step(&mut optimizer, 1.0, &mut model, &[], 1).expect("a step");
        let moment = distance(&after_one, &trainable(&model));
        assert!((moment / update - 0.9).abs() < 1e-3, "{path:?}: {moment} after {update}");
    }
}

/// The parameters of `release` as gradients.
fn gradients(release: &Net) -> GradientsParams {
    struct Gradients(GradientsParams);
    impl ModuleVisitor for Gradients {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.register(param.id, param.val().without_autodiff());
        }
    }
    let mut gradients = Gradients(GradientsParams::new());
    release.visit(&mut gradients);
    gradients.0
}
