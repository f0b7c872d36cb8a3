//! The data loader yields the run's own Poisson samples, one logical batch a step.

mod common;

use burn::data::dataloader::DataLoader;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::{Dataset, DatasetError, InMemDataset};
use burn::tensor::Device;
use burn_dp::Error;
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
    optimizer(plan, burn::optim::SgdConfig::new().init(), Path::Smaller, seed)
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
    assert!(matches!(refused, Err(Error::BatchOfAnotherStep { step: 1, due: 0 })), "{refused:?}");
    let part = loader.slice(0, 1);
    assert_eq!(part.num_items(), 1);
    let first = part.iter().next().expect("a step").expect("a batch");
    optimizer.step(0.1, &mut model, first).expect("the batch of step 0");
    // The same step again, from the same loader: its sample was used.
    let again = loader.iter().next().expect("a step").expect("a batch");
    let refused = optimizer.step(0.1, &mut model, again);
    assert!(matches!(refused, Err(Error::BatchOfAnotherStep { step: 0, due: 1 })), "{refused:?}");
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
    let Err(Error::Dataset { reason }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("the disk is gone"), "{reason}");
    assert_eq!((before, 0), (bits(&model), optimizer.steps_taken().value()));
}

#[test]
fn a_physical_batch_size_of_zero_is_refused() {
    let optimizer = run(0.5, 8);
    let dataset = InMemDataset::new(records(3, 820));
    let refused = PoissonDataLoader::new(&optimizer, dataset, Collate, 0, device()).err();
    assert!(matches!(refused, Some(Error::InvalidSetting { name: "physical batch size", .. })));
    let sample = optimizer.sample(3).expect("a sample");
    let refused = sample.batches(0, |_| collate(&[], &device())).err();
    assert!(matches!(refused, Some(Error::InvalidSetting { name: "physical batch size", .. })));
}
