//! Gradients of a GPT-2's records: both engines, and the table that is used twice.

mod common;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use burn_dp::per_example::{Engine, ParameterPlan, PlannedMethod, Traced, verify};
use common::{fixture, note};
use finetune::language::{NextTokens, Texts, loss};
use finetune::models::gpt2::{Gpt2, Gpt2Config, Tokenizer};

/// The tiny model with gradients, and a batch of texts of different lengths.
fn training() -> Result<(Gpt2, NextTokens)> {
    let device = Device::default().autodiff();
    let model = Gpt2::load(&tiny(), &device)?;
    let texts =
        ["Noise is added once per step.", "privacy", "", "a sampling rate and a clipping norm"];
    let texts = Texts::new(Tokenizer::load(&tiny())?.encode(&texts, 32)?);
    let batch = texts.batch(&[0, 1, 2, 3], &device);
    Ok((model, batch))
}

#[test]
fn engines_agree_on_per_example_gradients() -> Result<()> {
    let (model, batch) = training()?;
    let agreement = verify(&model, batch, loss, 1e-3)?;
    note(&format!("GPT-2, the engines' worst difference: {agreement:?}"))?;
    ensure!(agreement.worst < 1e-3, "{agreement:?}");
    Ok(())
}

#[test]
fn tied_table_gets_the_gradients_of_both_uses() -> Result<()> {
    let (model, batch) = training()?;
    let id = model.wte.weight.id;
    let engine = Traced::new(loss).per_example(&model, batch.clone())?;
    let whole = engine.gradient::<3>(id)?;
    let mut frozen = model.clone();
    frozen.wte.weight = frozen.wte.weight.set_require_grad(false);
    for record in 0..4 {
        let [tokens, next] =
            [&batch.tokens, &batch.next].map(|t| t.clone().slice_dim(0, record..record + 1));
        let of = |logits: Tensor<3>| -> Result<Tensor<2>> {
            let loss = burn_dp::loss::cross_entropy(logits, next.clone());
            let gradients = GradientsParams::from_grads(loss.backward(), &model);
            gradients.get::<2>(id).context("the table has no gradient")
        };
        let read = of(frozen.logits(model.hidden(tokens.clone())))?;
        let written = of(model.logits(frozen.hidden(tokens)))?;
        for part in [&read, &written] {
            ensure!(first(part.clone().abs().max())? > 1e-3, "a use has no gradient");
        }
        let own = whole.clone().slice_dim(0, record..record + 1).squeeze_dim::<2>(0).inner();
        let error = largest_error(own, &values(read + written))?;
        ensure!(error < 1e-5, "record {record}: {error}");
    }
    Ok(())
}

#[test]
fn tied_table_is_never_materialized_for_an_example() -> Result<()> {
    let device = Device::default().autodiff();
    // As many tokens as GPT-2 has.
    let config =
        Gpt2Config { n_layer: 1, n_embd: 96, n_head: 2, n_positions: 64, ..Gpt2Config::small() };
    let model = config.init(&device)?;
    let batch = Texts::new(vec![(0..33).collect(); 2]).batch(&[0, 1], &device);
    let explanation = Traced::new(loss).explain(&model, &batch)?;
    let plan = |path: &str| {
        let found = explanation.parameters.iter().find(|plan| plan.path == path);
        found.with_context(|| format!("no {path}:\n{explanation}"))
    };
    let ParameterPlan { shape, method, .. } = plan("wte.weight")?;
    assert_eq!(shape, &[50_257, 96]);
    // 32 tokens that are read and as many that are predicted.
    assert_eq!(*method, PlannedMethod::Ghost { positions: 64, uses: 2 });
    // Gradients of logits, and two sides of the table's width, beside one gradient of the whole table.
    let (factors, table) = (4 * 32 * (50_257 + 2 * 96), 4 * 50_257 * 96);
    note(&format!(
        "GPT-2's tied table: {factors} bytes of factors an example instead of {table}\n{explanation}"
    ))?;
    ensure!(factors < table);
    // Of the positions, only those that a text has.
    let PlannedMethod::Ghost { positions: 32, .. } = plan("wpe.weight")?.method else {
        anyhow::bail!("{explanation}");
    };
    Ok(())
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
