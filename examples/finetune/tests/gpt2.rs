//! GPT-2 against transformers: `reference/gpt2.py` makes what is expected here.

mod common;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use burn::tensor::{Device, Int, Tensor, TensorData};
use common::{assert_has, fixture, note, refused};
use finetune::language::{Choice, Generation, Texts, generate, loss};
use finetune::models::gpt2::{Activation, Gpt2, Tokenizer};
use serde::Deserialize;

/// What transformers answers for some texts.
#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    length: usize,
    prompt: String,
    records: Vec<Vec<i32>>,
    gelu_new: Vec<Answer>,
    gelu: Vec<Answer>,
    /// By its own `generate`.
    greedy: Vec<i32>,
    /// Past the positions that the model has, reading the last ones.
    windowed: Vec<i32>,
}

#[derive(Deserialize)]
struct Answer {
    /// The first eight logits of every token.
    logits: Vec<f64>,
    /// The log of the sum of all logits' exponentials, of every token.
    total: Vec<f64>,
    /// The mean cross entropy over the record's tokens.
    loss: f64,
}

impl Expected {
    fn read() -> Result<Self> {
        let text = fs::read_to_string(tiny().join("expected.json"))?;
        Ok(serde_json::from_str(&text)?)
    }

    fn texts(&self) -> Vec<&str> {
        self.texts.iter().map(String::as_str).collect()
    }
}

// What the model answers.

#[test]
fn tokens_are_those_of_transformers() -> Result<()> {
    let expected = Expected::read()?;
    let tokenizer = Tokenizer::load(&tiny())?;
    assert_eq!(tokenizer.encode(&expected.texts(), expected.length)?, expected.records);
    Ok(())
}

#[test]
fn logits_agree_with_transformers() -> Result<()> {
    let (device, expected) = (Device::default(), Expected::read()?);
    let mut model = Gpt2::load(&tiny(), &device)?;
    let new = agreement(&model, &expected.records, &expected.gelu_new)?;
    for block in &mut model.h {
        block.mlp.activation = Activation::Gelu;
    }
    let exact = agreement(&model, &expected.records, &expected.gelu)?;
    note(&format!("GPT-2, largest errors: {new:e} with gelu_new, {exact:e} with gelu"))?;
    // The logits are of the order of one.
    ensure!(new < 1e-5 && exact < 1e-5, "{new} {exact}");
    Ok(())
}

/// The largest error over all records, each by itself and all in one padded batch.
fn agreement(model: &Gpt2, records: &[Vec<i32>], answers: &[Answer]) -> Result<f64> {
    let mut worst: f64 = 0.0;
    let whole = model.forward(padded(records, 32, 0));
    for (i, (ids, answer)) in records.iter().zip(answers).enumerate() {
        let length = ids.len();
        let alone = model.forward(padded(std::slice::from_ref(ids), length, 0));
        let batched = whole.clone().slice([i..i + 1, 0..length]);
        for logits in [alone, batched] {
            let total = logits.clone().exp().sum_dim(2).log();
            worst = worst.max(largest_error(total, &answer.total)?);
            let shown = logits.slice([0..1, 0..length, 0..8]);
            worst = worst.max(largest_error(shown, &answer.logits)?);
        }
    }
    Ok(worst)
}

#[test]
fn loss_of_a_record_is_that_of_transformers_and_a_batch_is_their_mean() -> Result<()> {
    let (device, expected) = (Device::default(), Expected::read()?);
    let model = Gpt2::load(&tiny(), &device)?;
    let texts = Texts::new(expected.records.clone());
    let of = |records: &[usize]| first(loss(&model, texts.batch(records, &device)));
    let losses: Vec<f64> = expected.gelu_new.iter().map(|answer| answer.loss).collect();
    for (record, want) in losses.iter().enumerate() {
        let got = of(&[record])?;
        ensure!((got - want).abs() < 1e-5, "record {record}: {got} instead of {want}");
    }
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    let got = of(&[0, 1, 2, 3])?;
    ensure!((got - mean).abs() < 1e-5, "{got} instead of {mean}");
    Ok(())
}

#[test]
fn later_tokens_change_no_earlier_logits() -> Result<()> {
    let (device, expected) = (Device::default(), Expected::read()?);
    let model = Gpt2::load(&tiny(), &device)?;
    let ids = expected.records.first().context("no record")?;
    let before = values(model.forward(padded(std::slice::from_ref(ids), ids.len(), 0)));
    for position in 1..ids.len() {
        let mut changed = ids.clone();
        changed[position] = (changed[position] + 1) % 300;
        let after = values(model.forward(padded(&[changed], ids.len(), 0)));
        let own = position * model.vocabulary();
        assert_eq!(before[..own], after[..own], "token {position}");
        assert_ne!(before[own..], after[own..], "token {position}");
    }
    Ok(())
}

#[test]
fn padding_changes_nothing() -> Result<()> {
    let (device, expected) = (Device::default(), Expected::read()?);
    let model = Gpt2::load(&tiny(), &device)?;
    let ids = &expected.records[1..2];
    let length = ids[0].len();
    let alone = values(model.forward(padded(ids, length, 0)));
    for (total, filler) in [(length + 1, 0), (32, 0), (32, 299)] {
        let logits = model.forward(padded(ids, total, filler));
        let error = largest_error(logits.slice([0..1, 0..length]), &alone)?;
        ensure!(error < 1e-5, "{total} tokens of {filler}: {error}");
    }
    // Nor does a record of nothing else break anything: it has no loss and no gradient.
    let empty = Texts::new(vec![vec![0], vec![]]);
    assert_eq!(first(loss(&model, empty.batch(&[0, 1, 2], &device)))?, 0.0);
    Ok(())
}

#[test]
fn greedy_continuation_is_that_of_transformers() -> Result<()> {
    let expected = Expected::read()?;
    let (model, tokenizer) = (Gpt2::load(&tiny(), &Device::default())?, Tokenizer::load(&tiny())?);
    let prompt = tokenizer.prompt(&expected.prompt)?;
    let greedy = |new_tokens| {
        generate(
            &model,
            &prompt,
            &Generation { new_tokens, choice: Choice::Greedy, end: tokenizer.end() },
        )
    };
    assert_eq!(greedy(expected.greedy.len())?, expected.greedy);
    // Longer than the 32 positions of the model.
    assert_eq!(greedy(expected.windowed.len())?, expected.windowed);
    Ok(())
}

#[test]
fn random_continuations_follow_their_settings() -> Result<()> {
    let model = Gpt2::load(&tiny(), &Device::default())?;
    let write = |temperature, top_k, seed, end| {
        let choice = Choice::Random { temperature, top_k, seed };
        generate(&model, &[0, 5], &Generation { new_tokens: 12, choice, end })
    };
    let greedy = Generation { new_tokens: 12, choice: Choice::Greedy, end: None };
    let greedy = generate(&model, &[0, 5], &greedy)?;
    assert_eq!(write(1.0, Some(1), 7, None)?, greedy);
    assert_eq!(write(1e-3, None, 7, None)?, greedy);
    let free = write(1.5, None, 7, None)?;
    assert_eq!(free, write(1.5, None, 7, None)?);
    assert_ne!(free, write(1.5, None, 8, None)?);
    assert!(free.len() == 12 && free != greedy);
    // The end token ends a text and is no part of it.
    assert_eq!(write(1.5, None, 7, free.get(3).copied())?, free[..3]);
    // Every token is among the likeliest three where only those are candidates.
    let narrow = write(5.0, Some(3), 9, None)?;
    let ids: Vec<i32> = [0, 5].iter().chain(&narrow).copied().collect();
    let logits = values(model.forward(padded(std::slice::from_ref(&ids), ids.len(), 0)));
    for (row, id) in logits.chunks(300).skip(1).zip(&narrow) {
        let own = row[*id as usize];
        assert!(row.iter().filter(|other| **other > own + 1e-4).count() < 3, "{id}");
    }
    for (temperature, top_k, word) in
        [(0.0, None, "temperature"), (f64::NAN, None, "temperature"), (1.0, Some(0), "top-k")]
    {
        assert_has(&refused(write(temperature, top_k, 1, None)), &[word]);
    }
    let any = Generation { new_tokens: 1, choice: Choice::Greedy, end: None };
    assert_has(&refused(generate(&model, &[], &any)), &["prompt is empty"]);
    assert_has(&refused(generate(&model, &[300], &any)), &["token 300", "0 to 299"]);
    Ok(())
}

#[test]
fn random_tokens_come_with_the_probabilities_of_the_model() -> Result<()> {
    let model = Gpt2::load(&tiny(), &Device::default())?;
    let (prompt, temperature, draws) = (vec![0, 5], 0.8, 2_000);
    let logits = values(model.forward(padded(std::slice::from_ref(&prompt), 2, 0)));
    let mut ranked: Vec<(usize, f64)> = logits.into_iter().skip(300).enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(5);
    let weights: Vec<f64> = ranked.iter().map(|(_, logit)| (logit / temperature).exp()).collect();
    let mut counts = vec![0.0; 5];
    for seed in 0..draws {
        let choice = Choice::Random { temperature, top_k: Some(5), seed };
        let settings = Generation { new_tokens: 1, choice, end: None };
        let drawn = generate(&model, &prompt, &settings)?;
        let place = ranked.iter().position(|(id, _)| drawn == [*id as i32]);
        counts[place.context("a token that is not among the likeliest five")?] += 1.0;
    }
    for (count, weight) in counts.iter().zip(&weights) {
        let share = weight / weights.iter().sum::<f64>();
        let spread = (draws as f64 * share * (1.0 - share)).sqrt();
        ensure!((count - draws as f64 * share).abs() < 5.0 * spread, "{counts:?} {weights:?}");
    }
    Ok(())
}

#[test]
fn text_survives_the_tokenizer() -> Result<()> {
    let tokenizer = Tokenizer::load(&tiny())?;
    for text in ["Noise is added once.", "Caf\u{e9} \u{4e2d} \u{20ac}", ""] {
        assert_eq!(tokenizer.decode(&tokenizer.encode(&[text], 32)?.concat())?, text);
    }
    for length in [0, 1, 33] {
        assert_has(&refused(tokenizer.encode(&["a"], length)), &["give 2 to 32"]);
    }
    assert_has(&refused(tokenizer.decode(&[-1])), &["-1"]);
    Ok(())
}

fn padded(records: &[Vec<i32>], length: usize, filler: i32) -> Tensor<2, Int> {
    let row = |ids: &Vec<i32>| {
        ids.iter().copied().chain(std::iter::repeat(filler)).take(length).collect()
    };
    let ids: Vec<Vec<i32>> = records.iter().map(row).collect();
    Tensor::from_data(TensorData::new(ids.concat(), [records.len(), length]), &Device::default())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

fn first(tensor: Tensor<1>) -> Result<f64> {
    values(tensor).first().copied().context("no number")
}

fn largest_error<const D: usize>(tensor: Tensor<D>, expected: &[f64]) -> Result<f64> {
    let values = values(tensor);
    ensure!(values.len() == expected.len(), "{} {}", values.len(), expected.len());
    ensure!(values.iter().all(|v| v.is_finite()), "{values:?}");
    Ok(values.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
}

fn tiny() -> PathBuf {
    fixture("gpt2_tiny")
}
