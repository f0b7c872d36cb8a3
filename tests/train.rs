//! Training through burn's `Learner` equals training by a loop of steps.

mod common;

use std::path::Path as FilePath;
use std::sync::{Arc, Mutex};

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataloader::{DataLoader, DataLoaderBuilder};
use burn::data::dataset::InMemDataset;
use burn::optim::{AdamConfig, ModuleOptimizer, SgdConfig};
use burn::tensor::{Device, Tensor};
use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
use burn::train::metric::{Adaptor, LossInput, LossMetric, MetricDefinition};
use burn::train::renderer::{
    EvaluationName, MetricState, MetricsRenderer, MetricsRendererEvaluation,
    MetricsRendererTraining,
};
use burn::train::{
    ExecutionStrategy, InferenceStep, ItemLazy, LearningResult, MultiDeviceOptim,
    SupervisedTraining,
};
use burn_dp::Error;
use burn_dp::error::BatchError;
use burn_dp::loader::PhysicalBatches;
use burn_dp::optimizer::LogicalBatch;
use burn_dp::privacy::{Ledger, PrivacyPlan, SamplingRate, Steps};
use burn_dp::train::{EpsilonMetric, PrivateModel, PrivateTrainer, Run};
use common::*;

const STEPS: u64 = 7;
const EPOCH: u64 = 3;
const RATE: f64 = 0.1;

type Loss = fn(&Net, Records) -> Tensor<1>;
type Engine = AnyEngine<Loss>;
type Trainer = PrivateTrainer<Engine>;
type Trained = PrivateModel<Net, Run<Engine, Record, Records>>;
type Loader = Arc<dyn DataLoader<LogicalBatch<PhysicalBatches<Record, Records>>>>;

#[derive(Clone)]
struct Collate;

impl Batcher<Record, Records> for Collate {
    fn batch(&self, items: Vec<Record>, device: &Device) -> Records {
        collate(&items, device)
    }
}

/// A validation loss.
pub struct ValidLoss(Tensor<1>);

impl ItemLazy for ValidLoss {
    fn sync(self) -> Result<Self, burn::tensor::ExecutionError> {
        Ok(self)
    }
}

impl Adaptor<LossInput> for ValidLoss {
    fn adapt(&self) -> LossInput {
        LossInput::new(self.0.clone())
    }
}

impl InferenceStep for Net {
    type Input = Records;
    type Output = ValidLoss;

    fn step(&self, batch: Records) -> ValidLoss {
        ValidLoss(self.loss(batch))
    }
}

fn planned(rate: f64) -> PrivacyPlan {
    let rate = SamplingRate::new(rate).expect("a rate");
    builder(flat(BOUND), 1.0).sampling_rate(rate).steps(Steps::from(STEPS)).build().expect("valid")
}

fn optimizers() -> Vec<ModuleOptimizer> {
    vec![SgdConfig::new().init(), AdamConfig::new().init()]
}

fn trainer(inner: ModuleOptimizer) -> Trainer {
    PrivateTrainer::new(optimizer(planned(0.4), inner, Path::Mixed, 1), delta())
}

fn loader(trainer: &Trainer) -> Loader {
    let data = InMemDataset::new(records(12, 800));
    trainer.loader(data, Collate, 4, &device(), EPOCH).expect("a loader")
}

fn held_out() -> Arc<dyn DataLoader<Records>> {
    DataLoaderBuilder::new(Collate).batch_size(4).build(InMemDataset::new(records(8, 3)))
}

/// The ε values that the dashboard is shown.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<f64>>>);

impl MetricsRendererTraining for Shown {
    fn update_train(&mut self, state: MetricState) {
        if let MetricState::Numeric(_, Some(value), ..) = state {
            self.0.lock().expect("no panic").push(value.current());
        }
    }
    fn update_valid(&mut self, _: MetricState) {}
}
impl MetricsRendererEvaluation for Shown {
    fn update_test(&mut self, _: EvaluationName, _: MetricState) {}
}
impl TrainingProgressLogger for Shown {
    fn start(&mut self, _: usize, _: usize, _: Option<usize>, _: Option<&str>) {}
    fn update_epoch(&mut self, _: usize) {}
    fn start_split(&mut self, _: &str, _: usize) {}
    fn update_split(&mut self, _: usize) {}
    fn end_split(&mut self) {}
    fn end(&mut self) {}
    fn log_event_training(&mut self, _: String) {}
}
impl EvaluationProgressLogger for Shown {
    fn start_global_progress(&mut self, _: usize) {}
    fn start_test(&mut self, _: &str, _: usize) {}
    fn update_test_progress(&mut self, _: usize) {}
    fn end_test(&mut self) {}
    fn end_global_progress(&mut self) {}
    fn log_event_evaluation(&mut self, _: String) {}
}
impl MetricsRenderer for Shown {
    fn manual_close(&mut self) {}
    fn register_metric(&mut self, _: MetricDefinition) {}
}

fn train(trainer: &Trainer, train: Loader, folder: &FilePath) -> (LearningResult<Trained>, Shown) {
    let shown = Shown::default();
    let training = SupervisedTraining::new(folder, train, held_out())
        .metric_train_numeric(EpsilonMetric::new())
        .metric_valid_numeric(LossMetric::new())
        .with_application_logger(None)
        .renderer(Box::new(shown.clone()))
        .num_epochs(STEPS.div_ceil(EPOCH) as usize);
    trainer.stop_through(training.interrupter());
    (training.launch(trainer.learner(Net::new(&device()), RATE)), shown)
}

#[test]
fn the_learner_trains_what_a_loop_of_steps_trains() {
    for inner in optimizers() {
        let folder = tempfile::tempdir().expect("a folder");
        let trainer = trainer(inner.clone());
        let (result, _) = train(&trainer, loader(&trainer), folder.path());
        trainer.outcome().expect("no step fails");

        let mut by_hand = optimizer(planned(0.4), inner, Path::Mixed, 1);
        let mut model = Net::new(&device());
        let data = records(12, 800);
        while by_hand.steps_left().value() > 0 {
            let load = |indices: &[usize]| {
                let chosen: Vec<Record> = indices.iter().map(|i| data[*i].clone()).collect();
                collate(&chosen, &device())
            };
            let batch = by_hand.sample(data.len()).expect("left").batches(4, load).expect("valid");
            by_hand.step(RATE, &mut model, batch).expect("a step");
        }
        assert_eq!(bits(&result.model.into_inner()), bits(&model));
        assert_eq!(trainer.look(|run| run.ledger().clone()), *by_hand.ledger());
        assert_eq!(trainer.look(|run| run.steps_left().value()), 0);
    }
}

#[test]
fn the_dashboard_never_shows_less_than_what_is_spent() {
    let folder = tempfile::tempdir().expect("a folder");
    let trainer = trainer(SgdConfig::new().init());
    let (_, shown) = train(&trainer, loader(&trainer), folder.path());
    let shown = shown.0.lock().expect("no panic").clone();
    let plan = planned(0.4);
    // One update after each step, and one at the end of each epoch.
    let mut ledger = Ledger::new();
    let mut spent = vec![];
    for _ in 0..STEPS {
        ledger.record(plan.step_event(), 1).expect("an event");
        spent.push(ledger.epsilon(delta(), plan.adjacency()).expect("known").value());
    }
    let mut distinct = shown.clone();
    distinct.dedup();
    // With fewer than a hundred steps every ε is exact.
    assert_eq!(distinct, spent);
}

#[test]
fn between_two_computations_the_later_epsilon_is_shown() {
    let steps = 250;
    let plan = builder(flat(BOUND), 4.0)
        .sampling_rate(SamplingRate::new(1e-3).expect("a rate"))
        .steps(Steps::from(steps))
        .build()
        .expect("valid");
    let run = optimizer(plan.clone(), SgdConfig::new().init(), Path::Mixed, 1);
    let trainer = PrivateTrainer::new(run, delta());
    let data = InMemDataset::new(records(12, 800));
    let train = trainer.loader(data, Collate, 4, &device(), steps).expect("a loader");
    let folder = tempfile::tempdir().expect("a folder");
    let shown = Shown::default();
    let training = SupervisedTraining::new(folder.path(), train, held_out())
        .metric_train_numeric(EpsilonMetric::new())
        .with_application_logger(None)
        .renderer(Box::new(shown.clone()));
    training.launch(trainer.learner(Net::new(&device()), RATE));
    trainer.outcome().expect("no step fails");

    let shown = shown.0.lock().expect("no panic").clone();
    let spent = |steps: u64| {
        let mut ledger = Ledger::new();
        ledger.record(plan.step_event(), steps).expect("an event");
        ledger.epsilon(delta(), plan.adjacency()).expect("known").value()
    };
    assert!(shown.len() as u64 >= steps);
    for (taken, shown) in (1..=steps).zip(&shown) {
        // A hundredth of 250 steps is three steps, rounded up.
        assert_eq!(*shown, spent(taken.next_multiple_of(3).min(steps)), "after step {taken}");
    }
}

#[test]
fn a_step_that_fails_ends_the_run_and_is_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let trainer = trainer(SgdConfig::new().init());
    // The samples of another run.
    let other = PrivateTrainer::new(
        optimizer(planned(0.5), SgdConfig::new().init(), Path::Mixed, 1),
        delta(),
    );
    let (result, _) = train(&trainer, loader(&other), folder.path());
    assert!(result.interrupted.is_some(), "training went on");
    assert!(matches!(trainer.outcome(), Err(Error::Batch(BatchError::OfAnotherPlan))));
    assert!(trainer.outcome().is_ok());
    assert_eq!(trainer.look(|run| run.steps_taken().value()), 0);
    assert_eq!(bits(&result.model.into_inner()), bits(&Net::new(&device())));
}

#[test]
fn a_closure_that_fails_to_load_ends_the_run_with_its_own_error_and_another_trains_as_a_batcher_does()
 {
    let folder = tempfile::tempdir().expect("a folder");
    let data = || InMemDataset::new(records(12, 800));
    let failing = trainer(SgdConfig::new().init());
    let load = |_: Vec<Record>, _: &Device| Err::<Records, _>("no such file");
    let loads = failing.try_loader(data(), load, 4, &device(), EPOCH).expect("a loader");
    let (result, _) = train(&failing, loads, folder.path());
    assert!(result.interrupted.is_some(), "training went on");
    let error = failing.outcome().expect_err("no file");
    assert!(matches!(error, Error::Batch(BatchError::Loading { .. })), "{error:?}");
    assert!(error.to_string().contains("no such file"), "{error}");
    assert_eq!(failing.look(|run| run.steps_taken().value()), 0);

    let (first, second) = (trainer(SgdConfig::new().init()), trainer(SgdConfig::new().init()));
    let load = |items: Vec<Record>, device: &Device| Ok::<_, Error>(collate(&items, device));
    let loads = first.try_loader(data(), load, 4, &device(), EPOCH).expect("a loader");
    let (result, _) = train(&first, loads, folder.path());
    first.outcome().expect("no step fails");
    let (other, _) = train(&second, loader(&second), folder.path());
    assert_eq!(bits(&result.model.into_inner()), bits(&other.model.into_inner()));
}

#[test]
fn an_impossible_learning_rate_changes_no_weight() {
    let folder = tempfile::tempdir().expect("a folder");
    let trainer = trainer(SgdConfig::new().init());
    let training = SupervisedTraining::new(folder.path(), loader(&trainer), held_out())
        .with_application_logger(None)
        .renderer(Box::new(Shown::default()));
    let result = training.launch(trainer.learner(Net::new(&device()), f64::NAN));
    assert!(matches!(trainer.outcome(), Err(Error::Setting(_))));
    // The gradient was drawn and is paid for, although it was not used.
    assert_eq!(trainer.look(|run| run.steps_taken().value()), 1);
    assert_eq!(bits(&result.model.into_inner()), bits(&Net::new(&device())));
}

#[test]
fn a_run_goes_on_from_its_checkpoint() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.bin");
    let whole = trainer(AdamConfig::new().init());
    let (expected, _) = train(&whole, loader(&whole), folder.path());

    let first = trainer(AdamConfig::new().init());
    first.save_every(Steps::from(2), &file).expect("valid");
    train(&first, loader(&first), folder.path());
    first.outcome().expect("no step fails");

    // The last checkpoint is that of step six of seven.
    let mut resumed = optimizer(planned(0.4), AdamConfig::new().init(), Path::Mixed, 1);
    let model = resumed.load(Net::new(&device()), &file).expect("the file");
    assert_eq!(resumed.steps_taken().value(), 6);
    let second = PrivateTrainer::new(resumed, delta());
    let training = SupervisedTraining::new(folder.path(), loader(&second), held_out())
        .with_application_logger(None)
        .renderer(Box::new(Shown::default()));
    let result = training.launch(second.learner(model, RATE));
    second.outcome().expect("no step fails");
    assert_eq!(bits(&result.model.into_inner()), bits(&expected.model.into_inner()));
}

#[test]
fn a_second_device_is_refused() {
    let trainer = trainer(SgdConfig::new().init());
    let folder = tempfile::tempdir().expect("a folder");
    let training = SupervisedTraining::new(folder.path(), loader(&trainer), held_out())
        .with_application_logger(None)
        .renderer(Box::new(Shown::default()))
        .with_training_strategy(
            ExecutionStrategy::MultiDevice(
                vec![device(), device()],
                MultiDeviceOptim::OptimSharded,
            )
            .into(),
        );
    trainer.stop_through(training.interrupter());
    training.launch(trainer.learner(Net::new(&device()), RATE));
    assert!(trainer.outcome().is_err());
}

#[test]
fn zero_is_refused() {
    let trainer = trainer(SgdConfig::new().init());
    let data = || InMemDataset::new(records(2, 1));
    assert!(trainer.loader(data(), Collate, 0, &device(), 1).is_err());
    assert!(trainer.loader(data(), Collate, 1, &device(), 0).is_err());
    assert!(trainer.save_every(Steps::from(0), "x").is_err());
}
