//! Text that a model writes.

use std::cmp::Ordering;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};

use crate::models::gpt2::Gpt2;

/// How a model goes on with a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The most tokens to write.
    pub new_tokens: usize,
    /// How each is chosen.
    pub choice: Choice,
    /// The token that ends a text, if there is one.
    pub end: Option<i32>,
}

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Always the most likely one.
    Greedy,
    /// A random one, by the model's probabilities.
    Random {
        /// Divides the logits: below 1 favors likely tokens.
        temperature: f64,
        /// Only so many of the most likely tokens are candidates; all of them if `None`.
        top_k: Option<usize>,
        /// The same seed and model write the same text.
        seed: u64,
    },
}

/// The tokens with which `model` continues `prompt`, until the end token (which is left out) or the given length. The
/// model reads its last [`positions`](Gpt2::positions) tokens.
///
/// # Errors
/// When the prompt is empty or not of the model's vocabulary, a setting is out of range, or the model gives a logit that
/// is not finite.
pub fn generate(model: &Gpt2, prompt: &[i32], settings: &Generation) -> Result<Vec<i32>> {
    let vocabulary = model.vocabulary();
    ensure!(!prompt.is_empty(), "the prompt is empty: give at least one token");
    for id in prompt {
        let known = usize::try_from(*id).is_ok_and(|id| id < vocabulary);
        ensure!(
            known,
            "the prompt has the token {id}, but the model knows only 0 to {}",
            vocabulary - 1
        );
    }
    let mut picker = Picker::new(&settings.choice)?;
    let model = model.valid();
    let mut ids = prompt.to_vec();
    for _ in 0..settings.new_tokens {
        let window = ids.len().saturating_sub(model.positions());
        let next = picker.pick(&logits(&model, ids.iter().skip(window).copied().collect())?)?;
        if settings.end == Some(next) {
            break;
        }
        ids.push(next);
    }
    Ok(ids.split_off(prompt.len()))
}

/// The scores of the token after `window`.
fn logits(model: &Gpt2, window: Vec<i32>) -> Result<Vec<f32>> {
    let length = window.len();
    let device = model.wte.weight.val().device();
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(window, [1, length]), &device);
    // The output layer is the largest part, and only the last token needs it.
    let last = model.hidden(tokens).slice_dim(1, length - 1..length);
    let logits: Vec<f32> = model.logits(last).into_data().iter::<f32>().collect();
    ensure!(
        logits.iter().all(|logit| logit.is_finite()),
        "the model gives a score that is not finite: its training diverged; lower the learning rate"
    );
    Ok(logits)
}

/// Chooses tokens by their scores.
enum Picker {
    Greedy,
    Random { temperature: f64, top_k: usize, random: Box<ChaCha20Rng> },
}

impl Picker {
    fn new(choice: &Choice) -> Result<Self> {
        let &Choice::Random { temperature, top_k, seed } = choice else {
            return Ok(Self::Greedy);
        };
        ensure!(
            temperature > 0.0 && temperature.is_finite(),
            "temperature is {temperature}: give a number above 0, or choose greedily"
        );
        let top_k = top_k.unwrap_or(usize::MAX);
        ensure!(top_k > 0, "top-k is 0: give at least 1");
        let random = Box::new(ChaCha20Rng::seed_from_u64(seed));
        Ok(Self::Random { temperature, top_k, random })
    }

    fn pick(&mut self, logits: &[f32]) -> Result<i32> {
        let mut ranked: Vec<(usize, f64)> =
            logits.iter().map(|logit| f64::from(*logit)).enumerate().collect();
        // Likely ones first; of equal ones the lower id.
        ranked.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal));
        let (best, highest) = *ranked.first().context("the model knows no token")?;
        let id = match self {
            Self::Greedy => best,
            Self::Random { temperature, top_k, random } => {
                ranked.truncate(*top_k);
                let weight = |logit: f64| ((logit - highest) / *temperature).exp();
                let total: f64 = ranked.iter().map(|(_, logit)| weight(*logit)).sum();
                // 53 random bits, uniform in [0, 1).
                let mut left = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * total;
                let drawn = ranked.iter().find(|(_, logit)| {
                    left -= weight(*logit);
                    left < 0.0
                });
                drawn.map_or(best, |(id, _)| *id)
            }
        };
        Ok(i32::try_from(id)?)
    }
}
