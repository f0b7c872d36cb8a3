//! How well a model predicts texts.

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::activation::log_softmax;

use super::texts::{NextTokens, Texts};
use crate::models::gpt2::Gpt2;

/// The exponential of the mean cross entropy over the tokens of all texts: each token counts the same, as is usual, so
/// long texts count more. `physical` texts are in memory at a time.
///
/// Perplexity on the texts that a model was trained on is exact and private. Measure on others.
///
/// # Errors
/// When there is no token to predict.
pub fn perplexity(model: &Gpt2, texts: &Texts, physical: usize) -> Result<f64> {
    let model = model.valid();
    let device = model.wte.weight.val().device();
    let count: usize = (0..texts.len()).map(|record| texts.predicted(record)).sum();
    ensure!(
        count > 0,
        "there is no text to measure perplexity on: give texts of two tokens or more"
    );
    let mut total = 0.0;
    for records in texts.chunks(physical) {
        total += surprise(&model, texts.batch(&records, &device))?;
    }
    Ok((total / count as f64).exp())
}

/// The sum of the cross entropies of a batch's tokens.
fn surprise(model: &Gpt2, batch: NextTokens) -> Result<f64> {
    let padding = batch.next.clone().lower_elem(0);
    let next = batch.next.mask_fill(padding.clone(), 0).unsqueeze_dim::<3>(2);
    let likelihood = log_softmax(model.forward(batch.tokens), 2).gather(2, next);
    let sum = likelihood.squeeze_dim::<2>(2).mask_fill(padding, 0.0).sum();
    let sum = sum.into_data().iter::<f64>().next();
    Ok(-sum.context("the loss is empty")?)
}
