//! Private fine-tuning of a small GPT-2 that `reference/gpt2.py` trained on one part of the documents, on the others.

mod common;

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use burn::tensor::{Device, TensorData};
use burn_dp::privacy::{ClippingNorm, Delta, Epsilon, ExpectedBatchSize};
use common::{assert_has, fixture, note, refused};
use finetune::language::{
    Choice, FineTuning, Generation, Privacy, Texts, Trained, fine_tune, generate, perplexity,
};
use finetune::models::gpt2::{Gpt2, Tokenizer};

#[test]
fn private_fine_tuning_lowers_perplexity_on_held_out_texts() -> Result<()> {
    let (model, train, held_out) = pretrained()?;
    let before = perplexity(&model, &held_out, 32)?;
    let mut steps = Vec::new();
    let settings = settings(Some(8.0))?;
    let (tuned, report) = fine_tune(model, &train, &settings, |step| steps.push(step.value()))?;
    let after = perplexity(&tuned, &held_out, 32)?;
    note(&format!(
        "held-out perplexity {before:.2} before, {after:.2} after\n{}",
        report.statement
    ))?;
    assert_eq!(steps, (1..=12).collect::<Vec<u64>>());
    assert_eq!((report.steps.value(), report.trained), (12, report.parameters));
    ensure!(after < 0.85 * before, "{before} {after}");
    let epsilon = report.epsilon.map_or(f64::NAN, Epsilon::value);
    ensure!(epsilon <= 8.0 && epsilon > 7.5, "{epsilon}");
    assert_has(&report.statement, &["Randomness"]);

    // It still writes.
    let tokenizer = Tokenizer::load(&folder())?;
    let prompt = tokenizer.prompt("The clipping norm")?;
    let choice = Choice::Random { temperature: 0.7, top_k: Some(20), seed: 1 };
    let generation = Generation { new_tokens: 80, choice, end: tokenizer.end() };
    let text = tokenizer.decode(&generate(&tuned, &prompt, &generation)?)?;
    note(&format!("The clipping norm{text}"))?;
    assert!(!text.is_empty());
    Ok(())
}

#[test]
fn biases_and_adapters_leave_the_table_alone() -> Result<()> {
    let (model, train, held_out) = pretrained()?;
    let before = perplexity(&model, &held_out, 32)?;
    let table = model.wte.weight.val().into_data();
    // Biases: two dense maps of an attention, two of the other half, two norms, in two blocks; and the last norm.
    let bias = 2 * (192 + 64 + 256 + 64 + 64 + 64) + 64;
    let lora = 2 * 4 * ((64 + 192) + (64 + 64) + (64 + 256) + (256 + 64));
    for (trained, count) in [(Trained::BitFit, bias), (Trained::Lora { rank: 4, alpha: 8.0 }, lora)]
    {
        let (steps, batch) = (2.into(), ExpectedBatchSize::new(32.0)?);
        let settings = FineTuning { trained, steps, batch, ..settings(Some(8.0))? };
        let (tuned, report) = fine_tune(model.clone(), &train, &settings, |_| ())?;
        assert_eq!(report.trained, count);
        let moved = (perplexity(&tuned, &held_out, 32)? - before).abs();
        ensure!(moved > 1e-3, "{trained:?} changed nothing: {moved}");
        assert_eq!(tuned.wte.weight.val().into_data(), table);
    }
    Ok(())
}

#[test]
fn one_seed_gives_one_model() -> Result<()> {
    let (model, train, _) = pretrained()?;
    let run = |seed, privacy: bool| -> Result<TensorData> {
        let (steps, batch) = (2.into(), ExpectedBatchSize::new(16.0)?);
        let settings = settings(privacy.then_some(8.0))?;
        let settings = FineTuning { seed: Some(seed), steps, batch, ..settings };
        let (tuned, report) = fine_tune(model.clone(), &train, &settings, |_| ())?;
        assert_eq!(report.epsilon.is_some(), privacy);
        assert_has(&report.statement, &[if privacy { "Randomness" } else { "none" }]);
        Ok(tuned.wte.weight.val().into_data())
    };
    for privacy in [true, false] {
        assert_eq!(run(1, privacy)?, run(1, privacy)?);
        assert_ne!(run(1, privacy)?, run(2, privacy)?);
    }
    Ok(())
}

#[test]
fn perplexity_counts_tokens_and_knows_no_batches() -> Result<()> {
    let (model, _, held_out) = pretrained()?;
    let records: Vec<Vec<i32>> = held_out.records().take(7).map(<[i32]>::to_vec).collect();
    let of = |records: &[Vec<i32>]| perplexity(&model, &Texts::new(records.to_vec()), 3);
    let (mut sum, mut count) = (0.0, 0.0);
    for record in &records {
        let tokens = (record.len() - 1) as f64;
        sum += tokens * of(std::slice::from_ref(record))?.ln();
        count += tokens;
    }
    let (whole, parts) = (of(&records)?, (sum / count).exp());
    ensure!((whole - parts).abs() < 1e-4 * whole, "{whole} {parts}");
    assert_has(&refused(of(&[])), &["no text"]);
    assert_has(&refused(of(&[vec![1]])), &["no text"]);
    Ok(())
}

#[test]
fn settings_that_make_no_sense_are_refused() -> Result<()> {
    let (model, train, _) = pretrained()?;
    let good = settings(Some(8.0))?;
    let run = |texts: &Texts, settings: &FineTuning| {
        refused(fine_tune(model.clone(), texts, settings, |_| ()))
    };
    let too_many = ExpectedBatchSize::new(1e6)?;
    let cases = [
        (FineTuning { steps: 0.into(), ..good.clone() }, "0 steps"),
        (FineTuning { physical: 0, ..good.clone() }, "in memory"),
        (FineTuning { batch: too_many, ..good.clone() }, "more than the 1040 texts"),
        (FineTuning { learning_rate: f64::NAN, ..good.clone() }, "learning rate"),
        (FineTuning { learning_rate: 0.0, ..good.clone() }, "learning rate"),
        (FineTuning { weight_decay: -1.0, ..good.clone() }, "weight decay"),
        (FineTuning { trained: Trained::Lora { rank: 0, alpha: 1.0 }, ..good.clone() }, "rank"),
    ];
    for (settings, words) in &cases {
        assert_has(&run(&train, settings), &[words]);
    }
    assert_has(&run(&Texts::new(Vec::new()), &good), &["no text"]);
    let many = |id: i32, length| Texts::new(vec![vec![id; length]; 2000]);
    assert_has(&run(&many(1, 66), &good), &["65 tokens", "reads 64"]);
    for unknown in [512, -1] {
        assert_has(&run(&many(unknown, 8), &good), &["512", "own tokenizer"]);
    }
    let plain = Gpt2::load(&folder(), &Device::default())?;
    assert_has(&refused(fine_tune(plain, &train, &good, |_| ())), &["autodiff"]);
    Ok(())
}

fn settings(epsilon: Option<f64>) -> Result<FineTuning> {
    let privacy = epsilon.map(|epsilon| -> Result<Privacy> {
        let clipping_norm = ClippingNorm::new(1.0)?;
        Ok(Privacy { epsilon: Epsilon::new(epsilon)?, delta: Delta::new(1e-5)?, clipping_norm })
    });
    Ok(FineTuning {
        trained: Trained::Full,
        privacy: privacy.transpose()?,
        batch: ExpectedBatchSize::new(256.0)?,
        steps: 12.into(),
        physical: 64,
        learning_rate: 4e-3,
        weight_decay: 0.01,
        seed: Some(1),
    })
}

/// The model, the texts to train it on, and those to measure on.
fn pretrained() -> Result<(Gpt2, Texts, Texts)> {
    let tokenizer = Tokenizer::load(&folder())?;
    let read = |file: &str| -> Result<Texts> {
        let text = fs::read_to_string(folder().join(file))?;
        Ok(Texts::new(tokenizer.encode(&text.lines().collect::<Vec<_>>(), 64)?))
    };
    let model = Gpt2::load(&folder(), &Device::default().autodiff())?;
    Ok((model, read("train.txt")?, read("held_out.txt")?))
}

fn folder() -> PathBuf {
    fixture("gpt2_tiny_guide")
}
