//! Plans that begin from an earlier ledger, and runs that continue under another plan.

mod common;

use burn::optim::SgdConfig;
use burn_dp::error::{BatchError, CheckpointError, PlanError};
use burn_dp::optimizer::{LogicalBatch, load_weights, weights_of_checkpoint};
use burn_dp::privacy::{
    Accountant, Adjacency, Clipping, DpEvent, Epsilon, Ledger, NoiseMultiplier, PrivacyAccountant,
    PrivacyPlan, PrivacyPlanBuilder, Progress, SamplingRate, Steps,
};
use burn_dp::{Error, Result};
use common::{Net, NetOptimizer, Path, Records, collate, delta, device, records, values};
use proptest::prelude::*;

/// All settings except the noise, as plain numbers.
fn settings() -> PrivacyPlanBuilder {
    PrivacyPlan::builder()
        .sampling_rate(0.25)
        .expected_batch_size(4.0)
        .steps(3)
        .clipping(Clipping::flat(1.0))
}

fn optimizer(plan: PrivacyPlan, seed: u64) -> NetOptimizer {
    common::optimizer(plan, SgdConfig::new().init(), Path::Mixed, seed)
}

/// The batch of the next step, from 16 records.
fn batch(
    optimizer: &NetOptimizer,
) -> Result<LogicalBatch<impl Iterator<Item = Result<Records>> + use<>>> {
    let all = records(16, 3);
    optimizer.sample(all.len())?.batches(5, move |chosen| {
        let chosen: Vec<_> = chosen.iter().map(|record| all[*record].clone()).collect();
        collate(&chosen, &device())
    })
}

fn take(optimizer: &mut NetOptimizer, model: &mut Net) -> Result<()> {
    let batch = batch(optimizer)?;
    optimizer.step(0.1, model, batch)
}

fn step(rate: f64, z: f64) -> DpEvent {
    let rate = SamplingRate::new(rate).expect("a rate");
    DpEvent::poisson_sampled_gaussian(rate, NoiseMultiplier::new(z).expect("a multiplier"))
}

fn spent(rate: f64, z: f64, count: u64) -> Ledger {
    let mut ledger = Ledger::new();
    ledger.record(step(rate, z), count).expect("a count");
    ledger
}

#[test]
fn plain_numbers_are_checked_when_the_plan_is_built() {
    let plan = settings().noise_multiplier(1.5).build().expect("a plan");
    assert_eq!(plan.noise_multiplier().value(), 1.5);
    assert_eq!(plan.steps(), Steps::from(3));
    for (builder, name) in [
        (settings().noise_multiplier(-1.0), "noise_multiplier"),
        (settings().noise_multiplier(1.0).sampling_rate(1.5), "sampling_rate"),
        (settings().noise_multiplier(1.0).expected_batch_size(f64::NAN), "expected_batch_size"),
        (settings().noise_multiplier(1.0).steps(-3), "steps"),
        (settings().noise_multiplier(1.0).clipping(Clipping::flat(0.0)), "clipping_norm"),
        (settings().target(f64::NAN, 1e-5), "epsilon"),
        (settings().target(1.0, 1.0), "delta"),
    ] {
        let message = builder.build().expect_err("refused").to_string();
        assert!(message.starts_with(name), "{name}: {message}");
    }
    // The first refused setting is reported, and setting it again does not hide it.
    let twice = settings().noise_multiplier(-1.0).steps(-1).noise_multiplier(1.0).build();
    assert!(twice.expect_err("refused").to_string().starts_with("noise_multiplier"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_target_covers_what_the_plan_begins_from(
        rate in 0.01..0.5_f64, z in 1.0..5.0_f64, count in 1..20_u64, more in 0.1..3.0_f64,
    ) {
        let earlier = spent(rate, z, count);
        let before = earlier.epsilon(delta(), Adjacency::AddRemove).expect("an epsilon").value();
        let target = before + more;
        let plan = settings().after(&earlier).target(target, 1e-5).build().expect("a plan");

        let mut accountant = PrivacyAccountant::new(Adjacency::AddRemove);
        accountant.compose(&step(rate, z), count).expect("known");
        accountant.compose(&plan.step_event(), 3).expect("known");
        let together = accountant.epsilon(delta());
        prop_assert!(together.value() <= target, "{together} and {target}");
        prop_assert_eq!(plan.epsilon(delta()), together);
        let nothing = plan.epsilon_at(Steps::from(0), delta()).value();
        prop_assert_eq!(nothing, before);
        // It wastes hardly any of the budget.
        prop_assert!(together.value() >= 0.98 * target, "{together} and {target}");

        let json = serde_json::to_string(&plan).expect("a plan is written");
        prop_assert_eq!(serde_json::from_str::<PrivacyPlan>(&json).expect("and read"), plan);
    }
}

#[test]
fn no_noise_makes_room_in_a_budget_that_is_spent() {
    let spent = spent(0.25, 0.5, 10);
    let refused = settings().after(&spent).target(0.5, 1e-5).build();
    assert!(matches!(refused, Err(Error::Accounting(_))), "{refused:?}");
}

#[test]
fn the_ledger_of_a_run_is_what_its_plan_says() -> Result<()> {
    let plan = settings().noise_multiplier(1.0).after(&spent(0.1, 2.0, 5)).build()?;
    let mut optimizer = optimizer(plan.clone(), 7);
    assert_eq!(optimizer.ledger(), plan.earlier());
    let mut model = Net::new(&device());
    for taken in 1..=3 {
        take(&mut optimizer, &mut model)?;
        let progress = Progress { selected: false, steps: Steps::from(taken) };
        assert_eq!(*optimizer.ledger(), plan.events(progress)?);
        let epsilon = optimizer.epsilon(delta())?;
        assert_eq!(epsilon, plan.epsilon_at(Steps::from(taken), delta()));
    }
    assert_eq!(optimizer.epsilon(delta())?, plan.epsilon(delta()));
    Ok(())
}

#[test]
fn a_run_goes_on_under_another_plan_and_keeps_what_it_has() -> Result<()> {
    let mut optimizer = optimizer(settings().noise_multiplier(1.0).build()?, 7);
    let mut model = Net::new(&device());
    take(&mut optimizer, &mut model)?;
    let before = optimizer.ledger().clone();

    // More noise, other clipping, another rate, more steps.
    let next = PrivacyPlan::builder()
        .after(optimizer.ledger())
        .sampling_rate(0.5)
        .expected_batch_size(8.0)
        .steps(2)
        .clipping(Clipping::flat(0.5))
        .target(Epsilon::new(20.0)?, 1e-5)
        .build()?;
    // A sample for the old plan is refused under the new one.
    let stale = batch(&optimizer)?;
    optimizer.continue_with(next.clone())?;
    let refused = optimizer.step(0.1, &mut model, stale).err();
    assert!(matches!(refused, Some(Error::Batch(BatchError::OfAnotherPlan))), "{refused:?}");

    assert_eq!((optimizer.steps_taken().value(), optimizer.steps_left().value()), (0, 2));
    assert_eq!(*optimizer.ledger(), before);
    take(&mut optimizer, &mut model)?;
    take(&mut optimizer, &mut model)?;
    let mut both = before;
    both.record(next.step_event(), 2)?;
    assert_eq!(*optimizer.ledger(), both);
    assert!(optimizer.epsilon(delta())?.value() <= 20.0);
    assert!(take(&mut optimizer, &mut model).is_err(), "no steps are left");
    Ok(())
}

#[test]
fn a_plan_that_does_not_count_the_run_is_refused() -> Result<()> {
    let mut optimizer = optimizer(settings().noise_multiplier(1.0).build()?, 7);
    let mut model = Net::new(&device());
    take(&mut optimizer, &mut model)?;
    let ledger = optimizer.ledger().clone();
    for other in [Ledger::new(), spent(0.25, 1.0, 2), spent(0.25, 1.1, 1)] {
        let plan = settings().noise_multiplier(1.0).after(&other).build()?;
        let refused = optimizer.continue_with(plan).err();
        assert!(
            matches!(refused, Some(Error::Plan(PlanError::OfAnotherLedger { run: 1, .. }))),
            "{refused:?}"
        );
        assert_eq!((optimizer.ledger(), optimizer.steps_left().value()), (&ledger, 2));
    }
    Ok(())
}

#[test]
fn a_continued_run_draws_other_samples_and_other_noise() -> Result<()> {
    let mut seen = Vec::new();
    let mut optimizer = optimizer(settings().noise_multiplier(1.0).build()?, 7);
    for _ in 0..3 {
        // Without records the model moves by the noise alone.
        let mut model = Net::new(&device());
        let empty = optimizer.sample(0)?.batches(4, |_| collate(&[], &device()))?;
        optimizer.step(1.0, &mut model, empty)?;
        let sample = optimizer.sample(1000)?.indices().to_vec();
        seen.push((values(&model), sample));
        let plan = settings().noise_multiplier(1.0).after(optimizer.ledger()).build()?;
        optimizer.continue_with(plan)?;
    }
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        assert_ne!(seen[one].0, seen[other].0, "noise is never used twice");
        assert_ne!(seen[one].1, seen[other].1);
    }
    Ok(())
}

#[test]
fn a_continued_run_is_saved_and_resumed_to_the_same_bits() -> Result<()> {
    let run = |resume: bool| -> Result<Vec<Vec<f32>>> {
        let mut optimizer = optimizer(settings().noise_multiplier(1.0).build()?, 7);
        let mut model = Net::new(&device());
        take(&mut optimizer, &mut model)?;
        let plan = settings().noise_multiplier(2.0).after(optimizer.ledger()).build()?;
        optimizer.continue_with(plan.clone())?;
        take(&mut optimizer, &mut model)?;
        if resume {
            let bytes = optimizer.to_checkpoint(&model)?;
            optimizer = self::optimizer(plan, 8);
            model = optimizer.resume(Net::new(&device()), &bytes)?;
        }
        take(&mut optimizer, &mut model)?;
        Ok(values(&model))
    };
    assert_eq!(run(true)?, run(false)?);
    Ok(())
}

#[test]
fn weights_are_read_without_their_plan() -> Result<()> {
    let mut optimizer = optimizer(settings().noise_multiplier(1.0).build()?, 7);
    let mut model = Net::new(&device());
    take(&mut optimizer, &mut model)?;
    let bytes = optimizer.to_checkpoint(&model)?;
    assert_eq!(values(&weights_of_checkpoint(Net::new(&device()), &bytes)?), values(&model));

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("run.bin");
    optimizer.save(&model, &file)?;
    assert_eq!(values(&load_weights(Net::new(&device()), &file)?), values(&model));

    let other = burn::nn::LinearConfig::new(3, 1).init(&device());
    let refused = weights_of_checkpoint(other, &bytes).err();
    assert!(
        matches!(refused, Some(Error::Checkpoint(CheckpointError::OfAnotherModel))),
        "{refused:?}"
    );
    assert!(weights_of_checkpoint(Net::new(&device()), &bytes[..bytes.len() / 2]).is_err());
    Ok(())
}
