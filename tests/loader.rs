//! The data loader yields the run's own Poisson samples, one logical batch per step.

mod common;

use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::{Dataset, DatasetError, InMemDataset};
use burn::tensor::Device;
use burn_dp::Error;
use burn_dp::error::{BatchError, SettingError};
use burn_dp::loader::PoissonDataLoader;
use burn_dp::privacy::{SamplingRate, Steps};
use common::*;

/// Collates [`Record`]s.
struct Collate;

impl Batcher<Record, Records> for Collate {
    fn batch(&self, items: Vec<Record>, device: &Device) -> Records {
        collate(&items, device)
    }
}

const STEPS: u64 = 6;

fn run(rate: f64, seed: u64) -> NetOptimizer {
    let rate = SamplingRate::new(rate).expect("a rate");
    let steps = Steps::from(STEPS);
    let plan = builder(flat(BOUND), 1.0).sampling_rate(rate).steps(steps).build().expect("a plan");
    optimizer(plan, burn::optim::SgdConfig::new().init(), Path::Mixed, seed)
}

fn loader(optimizer: &NetOptimizer, physical: usize) -> PoissonDataLoader<Record, Records> {
    let dataset = InMemDataset::new(records(12, 800));
    PoissonDataLoader::new(optimizer, dataset, Collate, physical, device()).expect("a loader")
}

#[test]
fn training_with_the_loader_equals_training_with_samples() {
    let data = records(12, 800);
    let (mut by_loader, mut by_sample) = (run(0.4, 1), run(0.4, 1));
    let (mut first, mut second) = (Net::new(&device()), Net::new(&device()));
    let loader = loader(&by_loader, 4);
    assert_eq!(loader.num_items(), STEPS as usize);
    let mut batches = loader.iter();
    let mut taken = 0;
    while let Some(batch) = batches.next() {
        by_loader.step(0.1, &mut first, batch.expect("records in memory")).expect("a step");
        taken += 1;
        assert_eq!(batches.progress().items_processed, taken);
        assert_eq!(batches.progress().is_completed(), taken == STEPS as usize);

        let sample = by_sample.sample(data.len()).expect("steps are left");
        let load = |indices: &[usize]| {
            let chosen: Vec<Record> = indices.iter().map(|i| data[*i].clone()).collect();
            collate(&chosen, &device())
        };
        let batch = sample.batches(4, load).expect("a batch");
        by_sample.step(0.1, &mut second, batch).expect("a step");
        assert_eq!(bits(&first), bits(&second));
    }
    assert_eq!(by_loader.steps_left().value(), 0);
}

#[test]
fn every_step_left_has_one_batch_also_the_empty_ones() {
    let mut optimizer = run(0.0, 2);
    let mut model = Net::new(&device());
    let batches: Vec<_> = loader(&optimizer, 4).iter().map(|b| b.expect("a batch")).collect();
    assert_eq!(batches.len(), STEPS as usize);
    for batch in batches {
        optimizer.step(0.1, &mut model, batch).expect("a step");
    }
    assert_eq!(optimizer.steps_taken().value(), STEPS);
}

#[test]
fn a_loader_of_a_run_under_way_starts_at_the_step_that_is_due() {
    let mut optimizer = run(0.5, 3);
    let mut model = Net::new(&device());
    for _ in 0..2 {
        step(&mut optimizer, 0.1, &mut model, &[], 1).expect("a step");
    }
    let loader = loader(&optimizer, 4);
    assert_eq!(loader.num_items(), STEPS as usize - 2);
    let batch = loader.iter().next().expect("steps are left").expect("a batch");
    optimizer.step(0.1, &mut model, batch).expect("the batch of step 2");
}

#[test]
fn a_batch_out_of_turn_is_refused() {
    let mut optimizer = run(0.5, 4);
    let loader = loader(&optimizer, 4);
    let mut model = Net::new(&device());
    let second = loader.iter().nth(1).expect("two steps").expect("a batch");
    let refused = optimizer.step(0.1, &mut model, second);
    assert!(
        matches!(refused, Err(Error::Batch(BatchError::OfAnotherStep { step: 1, due: 0 }))),
        "{refused:?}"
    );
    let part = loader.slice(0, 1);
    assert_eq!(part.num_items(), 1);
    let first = part.iter().next().expect("a step").expect("a batch");
    optimizer.step(0.1, &mut model, first).expect("the batch of step 0");
    // The same step again, from the same loader. Its sample was already used.
    let again = loader.iter().next().expect("a step").expect("a batch");
    let refused = optimizer.step(0.1, &mut model, again);
    assert!(
        matches!(refused, Err(Error::Batch(BatchError::OfAnotherStep { step: 0, due: 1 }))),
        "{refused:?}"
    );
}

#[test]
fn slices_are_of_steps_and_cover_the_run_once() {
    let optimizer = run(0.5, 5);
    let loader = loader(&optimizer, 4);
    let sizes = [loader.slice(0, 2), loader.slice(2, 5), loader.slice(5, 100), loader.slice(9, 3)]
        .map(|part| (part.num_items(), part.iter().count()));
    assert_eq!(sizes, [(2, 2), (3, 3), (1, 1), (0, 0)]);
    assert_eq!(loader.to_device(&device()).num_items(), STEPS as usize);
}

/// A data set whose last record cannot be read.
struct Failing(Vec<Record>);

impl Dataset<Record> for Failing {
    fn get(&self, index: usize) -> Result<Record, DatasetError> {
        let gone = || DatasetError::new(std::io::Error::other("the disk is gone"));
        self.0.get(index).cloned().ok_or_else(gone)
    }

    fn len(&self) -> usize {
        self.0.len() + 1
    }
}

#[test]
fn a_record_that_cannot_be_read_is_an_error_and_the_step_is_not_taken() {
    let mut optimizer = run(1.0, 7);
    let mut model = Net::new(&device());
    let before = bits(&model);
    let loader = PoissonDataLoader::new(&optimizer, Failing(records(5, 810)), Collate, 2, device())
        .expect("a loader");
    let batch = loader.iter().next().expect("a step").expect("a batch");
    let refused = optimizer.step(0.1, &mut model, batch);
    let Err(Error::Batch(BatchError::Dataset { reason })) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("the disk is gone"), "{reason}");
    assert_eq!((before, 0), (bits(&model), optimizer.steps_taken().value()));
}

/// The error of a user's closure.
#[derive(Debug, PartialEq)]
struct Gone(usize);

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "file {} is gone", self.0)
    }
}

impl std::error::Error for Gone {}

/// Checks that the error is the closure's own, and that nothing else happened: the same sample is
/// due again.
#[track_caller]
fn refused(result: burn_dp::Result<()>, gone: usize) {
    let error = result.expect_err("the file is gone");
    let message = error.to_string();
    assert!(message.contains(&format!("file {gone} is gone")), "{message}");
    assert!(
        message.contains("nothing is spent") && message.contains("`sample` again"),
        "{message}"
    );
    let source = std::error::Error::source(&error).expect("a source");
    assert_eq!(source.downcast_ref::<Gone>(), Some(&Gone(gone)));
    assert!(matches!(error, Error::Batch(BatchError::Loading { .. })), "{error:?}");
}

#[test]
fn a_closure_that_fails_to_load_ends_the_step_with_its_own_error_and_nothing_is_spent() {
    let data = records(6, 830);
    let load = |indices: &[usize]| {
        let chosen: Vec<Record> = indices.iter().map(|i| data[*i].clone()).collect();
        collate(&chosen, &device())
    };
    let (mut run, mut twin) = (run(1.0, 9), run(1.0, 9));
    let (mut model, mut other) = (Net::new(&device()), Net::new(&device()));
    let before = bits(&model);
    let failing = |indices: &[usize]| match indices.first() {
        Some(4) => Err(Gone(4)),
        _ => Ok(load(indices)),
    };
    let batch = run.sample(6).expect("a sample").try_batches(2, failing).expect("a batch");
    refused(run.step(0.1, &mut model, batch), 4);
    assert_eq!((before, 0), (bits(&model), run.steps_taken().value()));
    assert_eq!(run.ledger(), twin.ledger());
    // Once the cause is gone, the run equals one that never failed.
    let whole = |indices: &[usize]| Ok::<_, Gone>(load(indices));
    let batch = run.sample(6).expect("a sample").try_batches(2, whole).expect("a batch");
    run.step(0.1, &mut model, batch).expect("a step");
    let batch = twin.sample(6).expect("a sample").batches(2, load).expect("a batch");
    twin.step(0.1, &mut other, batch).expect("a step");
    assert_eq!(bits(&model), bits(&other));
    // A message alone is an error too.
    let text = |_: &[usize]| Err::<Records, _>("no such file");
    let batch = run.sample(6).expect("a sample").try_batches(2, text).expect("a batch");
    let message = run.step(0.1, &mut model, batch).expect_err("no file").to_string();
    assert!(message.contains("no such file"), "{message}");
    let zero = run.sample(6).expect("a sample").try_batches(0, whole).err();
    assert!(matches!(zero, Some(Error::Setting(_))), "{zero:?}");
}

#[test]
fn a_loader_whose_closure_fails_tells_its_error_and_a_new_loader_goes_on() {
    let mut run = run(1.0, 10);
    let mut model = Net::new(&device());
    let broken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let loader = |optimizer: &NetOptimizer| {
        let broken = broken.clone();
        let load = move |items: Vec<Record>, device: &Device| {
            let broken = broken.load(std::sync::atomic::Ordering::Relaxed);
            if broken { Err(Gone(1)) } else { Ok(collate(&items, device)) }
        };
        let dataset = InMemDataset::new(records(5, 840));
        PoissonDataLoader::try_new(optimizer, dataset, load, 2, device()).expect("a loader")
    };
    let first = loader(&run);
    let mut batches = first.iter();
    let batch = batches.next().expect("a step").expect("a batch");
    refused(run.step(0.1, &mut model, batch), 1);
    broken.store(false, std::sync::atomic::Ordering::Relaxed);
    // The loader has advanced, the run has not.
    let next = batches.next().expect("a step").expect("a batch");
    let message = run.step(0.1, &mut model, next).expect_err("out of turn").to_string();
    assert!(message.contains("step 1, but step 0 is due"), "{message}");
    assert!(message.contains("make a new one from the optimizer"), "{message}");
    for batch in loader(&run).iter() {
        run.step(0.1, &mut model, batch.expect("a batch")).expect("a step");
    }
    assert_eq!(run.steps_left().value(), 0);
}

#[test]
fn a_second_pass_over_a_loader_says_that_there_are_no_epochs() {
    let mut run = run(0.5, 11);
    let mut model = Net::new(&device());
    let loader = loader(&run, 4);
    for batch in loader.iter().take(2) {
        run.step(0.1, &mut model, batch.expect("a batch")).expect("a step");
    }
    let again = loader.iter().next().expect("a step").expect("a batch");
    let message = run.step(0.1, &mut model, again).expect_err("used").to_string();
    assert!(message.contains("step 0, but step 2 is due"), "{message}");
    assert!(message.contains("PoissonDataLoader") && message.contains("new one"), "{message}");
    for batch in loader.iter().skip(2) {
        run.step(0.1, &mut model, batch.expect("a batch")).expect("a step");
    }
    let again = loader.iter().next().expect("a step").expect("a batch");
    let message = run.step(0.1, &mut model, again).expect_err("over").to_string();
    assert!(message.contains("no epochs"), "{message}");
}

#[test]
fn a_physical_batch_size_of_zero_is_refused() {
    let optimizer = run(0.5, 8);
    let dataset = InMemDataset::new(records(3, 820));
    let refused = PoissonDataLoader::new(&optimizer, dataset, Collate, 0, device()).err();
    assert!(matches!(
        refused,
        Some(Error::Setting(SettingError::Invalid { name: "physical batch size", .. }))
    ));
    let sample = optimizer.sample(3).expect("a sample");
    let refused = sample.batches(0, |_| collate(&[], &device())).err();
    assert!(matches!(
        refused,
        Some(Error::Setting(SettingError::Invalid { name: "physical batch size", .. }))
    ));
}
