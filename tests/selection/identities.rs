//! A parameter is identified by its id: exactly the intended parameters are trained, and frozen
//! ones keep their bits.

use std::collections::HashSet;

use burn::lr_scheduler::constant::ConstantLr;
use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Flag, Module, ModuleVisitor, Param, ParamId};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig, LinearLayout};
use burn::optim::SgdConfig;
use burn::tensor::{Int, Tensor};
use burn_dp::error::ModelError;
use burn_dp::mask::{MaskKind, SuperMaskConfig};
use burn_dp::per_example::{Engine, Loop, Traced, verify};
use burn_dp::privacy::{ClippingNorm, NoiseMultiplier, PrivateSelection, SamplingRate, Steps};
use burn_dp::seed::Seed;
use burn_dp::selection::{
    Groups, LowRank, ParamSelector, PublicData, TopGradientNorm, TopSelection, copy_with_own_ids,
};
use burn_dp::{DpOptimizer, Error};

use crate::common::*;
use crate::models::{Cnn, numbers};

/// The teacher comes first, so that an optimizer that goes by ids would update it first.
#[derive(Module, Debug)]
struct Pair<T: Module, S: Module> {
    teacher: T,
    student: S,
}

type Linears = Pair<Linear, Linear>;

/// A student that is initialized, and the same at every call.
fn student() -> Linear {
    fill(LinearConfig::new(4, 3).init(&device()))
}

fn loss(model: &Linears, x: Tensor<2>) -> Tensor<1> {
    let aim = model.teacher.forward(x.clone()).mul_scalar(2.0);
    (model.student.forward(x) - aim).powi_scalar(2).mean()
}

fn x() -> Tensor<2> {
    numbers([5, 4])
}

fn distillation() -> Linears {
    let student = student();
    Pair { teacher: copy_with_own_ids(&student).freeze(), student }
}

/// The id of every parameter and flag.
fn ids<M: Module>(model: &M) -> Vec<ParamId> {
    #[derive(Default)]
    struct Ids(Vec<ParamId>);
    impl ModuleVisitor for Ids {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.id);
        }
        fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
            self.0.push(param.id);
        }
        fn visit_flag(&mut self, flag: &Param<Flag>) {
            self.0.push(flag.id);
        }
    }
    let mut ids = Ids::default();
    model.visit(&mut ids);
    ids.0
}

fn run<F>(
    loss: F,
    noise: f64,
    optimizer: impl Into<burn::optim::ModuleOptimizer>,
) -> DpOptimizer<Traced<F>> {
    let plan = plan(flat(1e6), noise);
    DpOptimizer::with_seed(plan, optimizer, Traced::new(loss), Seed::reproducible(3))
}

#[test]
fn a_frozen_teacher_keeps_its_bits_and_its_student_is_trained_by_the_exact_gradient() {
    let mut model = distillation();
    verify(&model, x(), loss, 1e-5).unwrap();
    let before = bits(&model.teacher);
    let expected = Loop::new(loss).per_example(&model, x()).unwrap();
    let expected = expected.weighted_sum(Tensor::ones([5], &device())).unwrap();
    let expected = expected.into_gradients(&model);
    let weight: Tensor<2> = expected.get(model.student.weight.id).unwrap();
    let expected: Vec<f64> = weight.into_data().iter::<f64>().collect();
    assert!(norm(&expected) > 0.1, "there is something to train");

    let mut optimizer = run(loss, 0.0, Reveal);
    let batch = optimizer.vouch_for_poisson([x()]);
    optimizer.step(1.0, &mut model, batch).unwrap();
    let released = model.student.weight.val().without_autodiff().into_data();
    let released: Vec<f64> = released.iter::<f64>().map(|g| g * DIVISOR).collect();
    assert!(distance(&released, &expected) < 1e-4 * norm(&expected));

    let mut optimizer = run(loss, 1.0, SgdConfig::new().init());
    let after_one = bits(&model.student);
    for _ in 0..10 {
        let batch = optimizer.vouch_for_poisson([x()]);
        optimizer.step(0.1, &mut model, batch).unwrap();
    }
    assert_eq!(bits(&model.teacher), before);
    assert_ne!(bits(&model.student), after_one);
}

/// Checks that engines, steps and checkpoints refuse the model, and that nothing has changed.
#[track_caller]
fn refused<M: Module>(
    mut model: M,
    loss: impl Fn(&M, Tensor<2>) -> Tensor<1> + Copy,
    places: [&str; 2],
) {
    let before = bits(&model);
    let mut optimizer = run(loss, 1.0, SgdConfig::new().init());
    let batch = optimizer.vouch_for_poisson([x()]);
    let errors = [
        optimizer.step(0.1, &mut model, batch).err(),
        Traced::new(loss).per_example(&model, x()).err(),
        Loop::new(loss).per_example(&model, x()).err(),
        optimizer.to_checkpoint(&model).err(),
    ];
    for error in errors {
        let error = error.expect("a refusal");
        let Error::Model(ModelError::SharedParameter { first, second }) = &error else {
            panic!("{error}")
        };
        assert_eq!([first.as_str(), second.as_str()], places);
        assert!(error.to_string().contains("copy_with_own_ids"), "{error}");
    }
    assert_eq!(bits(&model), before);
    assert!(optimizer.ledger().entries().is_empty());
}

#[test]
fn a_trained_id_stands_in_no_other_field_frozen_or_not_whatever_the_order() {
    let weights = ["teacher.weight", "student.weight"];
    let student_first = |model: &Pair<Linear, Linear>, x: Tensor<2>| {
        loss(&Pair { teacher: model.student.clone(), student: model.teacher.clone() }, x)
    };
    let original = student();
    refused(Pair { teacher: original.clone().freeze(), student: original.clone() }, loss, weights);
    let frozen = original.clone().freeze();
    refused(Pair { teacher: original.clone(), student: frozen }, student_first, weights);
    refused(Pair { teacher: original.clone(), student: original.clone() }, loss, weights);

    // Two models that were loaded from one file.
    let record = || original.clone().into_record();
    let load = || LinearConfig::new(4, 3).init(&device()).load_record(record());
    refused(Pair { teacher: load().freeze(), student: load() }, loss, weights);
    let copied = Pair { teacher: copy_with_own_ids(&load()).freeze(), student: load() };
    assert!(verify(&copied, x(), loss, 1e-4).is_ok());

    // This is frozen before burn has initialized it. It freezes the original's tensors too.
    let lazy = LinearConfig::new(4, 3).init(&device());
    let teacher = lazy.clone().freeze();
    refused(Pair { teacher, student: lazy }, loss, weights);
}

#[test]
fn an_id_is_one_fields_of_any_kind() {
    #[derive(Module, Debug)]
    struct Counted {
        count: Param<Tensor<1, Int>>,
        linear: Linear,
    }
    let linear = student();
    let count = Tensor::<1, Int>::zeros([1], &device().without_autodiff());
    let model = Counted { count: Param::initialized(linear.weight.id, count), linear };
    let loss = |m: &Counted, x| m.linear.forward(x).sum();
    refused(model, loss, ["count", "linear.weight"]);
}

#[test]
fn adapters_and_scores_are_parameters_like_others() {
    let adapted = LowRank::new(2, 2.0).unwrap().apply(student()).unwrap();
    let pair = Pair { teacher: adapted.clone().freeze(), student: adapted.clone() };
    refused(pair, loss, ["teacher.weight.lora.a", "student.weight.lora.a"]);
    let pair = Pair { teacher: copy_with_own_ids(&adapted).freeze(), student: adapted };
    assert!(verify(&pair, x(), loss, 1e-4).is_ok());

    let config = SuperMaskConfig::new(MaskKind::Multiplier).unwrap();
    let masked = config.apply(student()).unwrap();
    let pair = Pair { teacher: masked.clone().freeze(), student: masked.clone() };
    refused(pair, loss, ["teacher.weight.mask.scores", "student.weight.mask.scores"]);
    let pair = Pair { teacher: copy_with_own_ids(&masked).freeze(), student: masked };
    assert!(verify(&pair, x(), loss, 1e-4).is_ok());
}

/// Checks that ten private steps change neither the teacher's bits nor the student's frozen weight.
fn trains_beside(mut model: Linears) {
    verify(&model, x(), loss, 1e-4).unwrap();
    let (teacher, all) = (bits(&model.teacher), bits(&model));
    let base = model.student.weight.base().without_autodiff().into_data();
    let mut optimizer = run(loss, 1.0, SgdConfig::new().init());
    for _ in 0..10 {
        let batch = optimizer.vouch_for_poisson([x()]);
        optimizer.step(0.1, &mut model, batch).unwrap();
    }
    assert_eq!(bits(&model.teacher), teacher);
    assert_ne!(bits(&model), all, "something is trained");
    assert_eq!(model.student.weight.base().without_autodiff().into_data(), base);
}

#[test]
fn a_frozen_base_under_a_mask_an_adapter_or_rows_may_stand_in_two_fields() {
    let original = student();
    let teacher = original.clone().freeze();
    let config = SuperMaskConfig::new(MaskKind::Multiplier).unwrap();
    trains_beside(Pair {
        student: config.apply(teacher.clone()).unwrap(),
        teacher: teacher.clone(),
    });
    let adapted = LowRank::new(2, 2.0).unwrap().apply(teacher.clone()).unwrap();
    trains_beside(Pair { student: adapted, teacher: teacher.clone() });
    let student = rows_of(&original).apply(original).unwrap();
    trains_beside(Pair { student, teacher });
}

#[test]
fn frozen_fields_of_one_id_are_each_their_own_value() {
    let base = student().freeze();
    let mut other = base.clone();
    other.weight = other.weight.map(|weight| weight.mul_scalar(-3.0));
    let model = Pair { teacher: base, student: Pair { teacher: other, student: student() } };
    let loss = |model: &Pair<Linear, Pair<Linear, Linear>>, x: Tensor<2>| {
        let aim = model.teacher.forward(x.clone()) - model.student.teacher.forward(x.clone());
        (model.student.student.forward(x) - aim).powi_scalar(2).mean()
    };
    verify(&model, x(), loss, 1e-5).unwrap();
}

fn rows_of(model: &Linear) -> TopSelection {
    let rule = TopGradientNorm::count(2).unwrap().by(Groups::Rows);
    let mut engine = Traced::new(|m: &Linear, x| m.forward(x).powi_scalar(2).mean());
    rule.on_public(&mut engine, model, PublicData::vouch([x()])).unwrap()
}

#[test]
fn what_was_selected_in_one_model_is_not_two_fields_of_another() {
    let original = student();
    let pair = Pair { teacher: original.clone().freeze(), student: original.clone() };
    let shared = |outcome: Result<Linears, Error>| {
        assert!(
            matches!(outcome, Err(Error::Model(ModelError::SharedParameter { .. }))),
            "{outcome:?}"
        );
    };
    let selection = ParamSelector::path("weight").select(&original).unwrap();
    shared(selection.apply(pair.clone()));
    shared(selection.undo(pair.clone()));
    shared(rows_of(&original).apply(pair.clone()));
    shared(LowRank::new(2, 2.0).unwrap().on(&selection).apply(pair.clone()));
    let inside = ParamSelector::path("student").select(&pair);
    assert!(matches!(inside, Err(Error::Model(ModelError::SharedParameter { .. }))), "{inside:?}");

    // A private selection of such parameters is refused before it is paid for, even on an empty
    // sample.
    let selection = PrivateSelection {
        sampling_rate: SamplingRate::new(1.0).unwrap(),
        noise_multiplier: NoiseMultiplier::new(1.0).unwrap(),
        clipping_norm: ClippingNorm::new(1.0).unwrap(),
    };
    let plan = builder(flat(1.0), 1.0).selection(selection).build().unwrap();
    let engine = Traced::new(loss);
    let mut optimizer = DpOptimizer::with_seed(plan, Reveal, engine, Seed::reproducible(1));
    let batch = optimizer.sample_for_selection(0).unwrap().batches(1, |_| x()).unwrap();
    let chosen = optimizer.select_top(&TopGradientNorm::count(1).unwrap(), &pair, batch);
    assert!(matches!(chosen, Err(Error::Model(ModelError::SharedParameter { .. }))), "{chosen:?}");
    assert!(optimizer.ledger().entries().is_empty());
}

#[test]
fn a_copy_has_ids_of_its_own_and_everything_else() {
    let model = Cnn::new();
    let copy = copy_with_own_ids(&model);
    assert_eq!(bits(&copy), bits(&model));
    let trained = |model: &Cnn| model.frozen.gamma.is_require_grad();
    assert!(!trained(&model) && !trained(&copy));
    assert_eq!(trainable(&copy).len(), trainable(&model).len());
    // All ids except those of running statistics, which burn cannot rename.
    let (of_model, of_copy): (HashSet<_>, HashSet<_>) =
        (ids(&model).into_iter().collect(), ids(&copy).into_iter().collect());
    assert_eq!(of_model.intersection(&of_copy).count(), 2);
    assert_eq!(of_copy.len(), ids(&copy).len());

    // Flags, and layouts that burn transposes in records.
    #[derive(Module, Debug)]
    struct Flagged {
        off: Dropout,
        on: Dropout,
        linear: Linear,
    }
    let dropout = || DropoutConfig::new(0.5).init();
    let linear = LinearConfig::new(4, 4).with_layout(LinearLayout::Col).init(&device());
    let model = Flagged { off: dropout().freeze(), on: dropout(), linear };
    let copy = copy_with_own_ids(&model);
    assert!(copy.on.training.is_enabled() && !copy.off.training.is_enabled());
    assert!(ids(&copy).iter().all(|id| !ids(&model).contains(id)));
    assert_eq!(bits(&copy), bits(&model), "drawn once, when it was copied");
    let loaded = copy.clone().load_record(copy.clone().into_record());
    assert_eq!(bits(&loaded), bits(&model));
    assert!(copy.linear.weight.is_require_grad());
    // The trained state survives validation.
    assert!(copy.valid().train().linear.weight.is_require_grad());
    let frozen = copy_with_own_ids(&model.linear.freeze());
    assert!(!frozen.valid().train().weight.is_require_grad());
}

#[test]
fn a_teacher_and_its_student_resume_as_they_were() {
    let steps = |model: &mut Linears, optimizer: &mut DpOptimizer<_>, count| {
        for _ in 0..count {
            let batch = optimizer.vouch_for_poisson([x()]);
            optimizer.step(0.1, model, batch).unwrap();
        }
    };
    let new = || {
        run(
            loss as fn(&Linears, Tensor<2>) -> Tensor<1>,
            1.0,
            burn::optim::AdamConfig::new().init(),
        )
    };
    let (mut model, mut optimizer) = (distillation(), new());
    let teacher = bits(&model.teacher);
    steps(&mut model, &mut optimizer, 2);
    let bytes = optimizer.to_checkpoint(&model).unwrap();
    steps(&mut model, &mut optimizer, 2);

    let mut resumed = new();
    let other = Pair { teacher: fill(student()).freeze(), student: copy_with_own_ids(&student()) };
    let mut again = resumed.resume(other, &bytes).unwrap();
    assert_eq!(ids(&again), ids(&model), "a record brings its ids, by path");
    steps(&mut again, &mut resumed, 2);
    assert_eq!(bits(&again), bits(&model));
    assert_eq!(bits(&again.teacher), teacher);
}

#[test]
fn a_learning_rate_for_the_student_is_not_the_teachers() {
    let rate = |model: &Linears, name: &str| {
        let group = ParamSelector::path(name).select(model).unwrap().group();
        ModuleLrScheduler::new(ConstantLr::from(0.0))
            .with_group(group, ConstantLr::from(0.5))
            .step()
    };
    let mut optimizer = run(loss, 1.0, SgdConfig::new().init());
    let mut model = distillation();
    let before = bits(&model);
    let batch = optimizer.vouch_for_poisson([x()]);
    optimizer.step(rate(&model, "teacher"), &mut model, batch).unwrap();
    assert_eq!(bits(&model), before);
    let batch = optimizer.vouch_for_poisson([x()]);
    optimizer.step(rate(&model, "student"), &mut model, batch).unwrap();
    assert_eq!(bits(&model.teacher), before[..2]);
    assert_ne!(bits(&model.student), before[2..]);
    assert_eq!(optimizer.plan().steps(), Steps::from(50));
}
