//! A whole run, from flags to files, of every method.

mod toy;

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::store::{ModuleSnapshot, SafetensorsStore};
use burn::tensor::Device;
use clap::ValueEnum;
use finetune::run::Method;
use finetune::run::task::{Classifier, Part, Task};
use safetensors::SafeTensors;
use tempfile::tempdir;
use toy::{Net, Toy, timeless_metrics, train};

/// What must not depend on how a run was cut into pieces.
fn outcome(out: &Path) -> Result<(Vec<Vec<u8>>, Vec<String>)> {
    let bytes = fs::read(out.join("model.safetensors"))?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let mut tensors: Vec<_> = tensors.tensors().into_iter().collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    let weights = tensors.into_iter().map(|(_, tensor)| tensor.data().to_vec()).collect();
    Ok((weights, timeless_metrics(out)?))
}

#[test]
fn every_method_trains_and_leaves_its_results() -> Result<()> {
    for method in Method::value_variants() {
        let (name, out) = (method.name(), tempdir()?);
        let summary =
            train(&Toy::new(), &format!("--method {name} --seed 1 --epsilon 8"), out.path())?;
        let (total, head) = (6 * 16 + 16 + 16 * 2 + 2, 16 * 2 + 2);
        let attached = match method {
            Method::Lora => 8 * (6 + 16),
            // Under privacy a mask has one multiplier for each output.
            Method::Supermask => 16,
            _ => 0,
        };
        assert_eq!(summary.parameters - attached, total);
        match method {
            Method::None | Method::Full => assert_eq!(summary.trained, total),
            Method::Head => assert_eq!(summary.trained, head),
            Method::Bitfit => assert_eq!(summary.trained, head + 16),
            Method::Lora | Method::Supermask => assert_eq!(summary.trained, head + attached),
            // Its second phase has all of a net this small.
            Method::TwoPhase => assert_eq!(summary.trained, total),
            Method::Topgrad => assert!((head..=total).contains(&summary.trained)),
        }
        match summary.epsilon {
            None => assert_eq!(*method, Method::None),
            Some(epsilon) => assert!(epsilon <= 8.0 && epsilon > 7.0, "{name}: {epsilon}"),
        }
        assert!(summary.accuracy > 0.8, "{name}: {}", summary.accuracy);
        let text = |file: &str| fs::read_to_string(out.path().join(file));
        let page = text("report.html")?;
        assert!(page.contains("What is promised") && page.matches("<svg").count() == 2);
        for plot in ["accuracy.svg", "loss.svg"] {
            assert!(text(plot)?.starts_with("<svg"), "{name}: {plot}");
        }
        assert_eq!(text("metrics.jsonl")?.lines().count(), 5);
        assert_eq!(text("privacy.txt")?.contains("differential privacy"), *method != Method::None);
        assert!(out.path().join("model.bpk").exists());
        // Multipliers are numbers: only masks of bits are exported.
        assert!(!out.path().join("mask.bin").exists());
    }
    Ok(())
}

#[test]
fn saved_weights_are_those_that_were_tested() -> Result<()> {
    for method in ["full", "lora", "supermask --mask stochastic"] {
        let (task, out, device) = (Toy::new(), tempdir()?, Device::default());
        let summary = train(&task, &format!("--method {method} --seed 2"), out.path())?;
        let mut safe: Net = task.model(&device)?;
        safe.load_from(&mut SafetensorsStore::from_file(out.path().join("model.safetensors")))
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        let pack = task.model(&device)?.load_file(out.path().join("model.bpk"));
        for model in [safe, pack] {
            let truth = task.targets(Part::Test).labels();
            let all: Vec<usize> = (0..truth.len()).collect();
            let logits = model.classify(model.features(task.inputs(Part::Test, &all, &device)));
            let best: Vec<i64> = logits.argmax(1).into_data().iter().collect();
            let right = best.iter().zip(truth).filter(|(a, b)| **a == i64::from(**b)).count();
            assert_eq!(right as f64 / truth.len() as f64, summary.accuracy);
        }
    }
    Ok(())
}

#[test]
fn a_run_in_two_pieces_is_the_run_in_one() -> Result<()> {
    for method in Method::value_variants() {
        let flags = format!("--method {} --seed 3 --eval-every 3 --average 0.5", method.name());
        let (whole, pieces) = (tempdir()?, tempdir()?);
        train(&Toy::new(), &flags, whole.path())?;
        // The last checkpoint is that of step 8; what came after it is done again.
        train(&Toy::new(), &format!("{flags} --checkpoint-every 4"), pieces.path())?;
        train(&Toy::new(), &format!("{flags} --resume"), pieces.path())?;
        let (a, b) = (outcome(whole.path())?, outcome(pieces.path())?);
        ensure!(a.1 == b.1, "{}: {:?} and {:?}", method.name(), a.1, b.1);
        ensure!(a.0 == b.0, "{}: other weights", method.name());
    }
    Ok(())
}

#[test]
fn one_seed_gives_one_run() -> Result<()> {
    let outcomes = ["--seed 4", "--seed 4", "--seed 5", "--seed 4 --physical 7"].map(|flags| {
        let out = tempdir()?;
        train(&Toy::new(), &format!("--method bitfit {flags}"), out.path())?;
        outcome(out.path())
    });
    let [a, b, c, d] = outcomes;
    let (a, b, c, d) = (a?, b?, c?, d?);
    assert!(a == b && a.0 != c.0);
    // Physical batches are a matter of memory; sums of floats in another order differ in the last digits.
    assert_eq!(a.1.len(), d.1.len());
    Ok(())
}

#[test]
fn what_cannot_work_is_refused_before_any_training() -> Result<()> {
    let cases = [
        ("--limit 0", "--limit"),
        ("--steps 0", "--steps"),
        ("--batch 0", "--batch"),
        ("--batch 201", "--batch"),
        ("--batch 60 --limit 50", "--batch"),
        ("--epsilon=-1", "epsilon"),
        ("--epsilon NaN", "epsilon"),
        ("--delta 1.5", "delta"),
        ("--clipping-norm 0", "clipping_norm"),
        ("--physical 0", "physical"),
        ("--lr NaN", "learning rate"),
        ("--method best", "best"),
        ("--resume", "nothing to resume"),
    ];
    for (flags, told) in cases {
        let (task, out) = (Toy::new(), tempdir()?);
        let method = if flags.contains("--method") { "" } else { "--method full" };
        let Err(error) = train(&task, &format!("{method} --seed 1 {flags}"), out.path()) else {
            anyhow::bail!("{flags} was accepted");
        };
        assert!(format!("{error:#}").contains(told), "{flags}: {error:#}");
    }
    Ok(())
}

#[test]
fn another_run_or_a_damaged_one_does_not_resume() -> Result<()> {
    let out = tempdir()?;
    let flags = "--method full --seed 1 --checkpoint-every 4";
    train(&Toy::new(), flags, out.path())?;
    let metrics = fs::read(out.path().join("metrics.jsonl"))?;
    let refused = |flags: &str| match train(&Toy::new(), &format!("{flags} --resume"), out.path()) {
        Ok(_) => Err(anyhow::anyhow!("{flags} was resumed")),
        Err(error) => Ok(format!("{error:#}")),
    };
    assert!(refused("--method full --seed 1 --epsilon 1")?.contains("epsilon"));
    assert!(refused("--method head --seed 1")?.contains("method"));
    assert!(refused("--method full --seed 2")?.contains("seed"));
    // A run that is refused leaves the results alone.
    assert_eq!(fs::read(out.path().join("metrics.jsonl"))?, metrics);
    for file in ["checkpoint.bin", "state.json"] {
        let whole = fs::read(out.path().join(file))?;
        fs::write(out.path().join(file), &whole[..whole.len() / 2])?;
        refused(flags)?;
        fs::write(out.path().join(file), whole)?;
    }
    train(&Toy::new(), &format!("{flags} --resume"), out.path())?;
    Ok(())
}
