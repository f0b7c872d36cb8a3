//! Labeled sentences of a made-up language, in place of private records.
//!
//! A sentence has one of four topics, which is its label. A word's topic is its number modulo 4. Six words in ten are of
//! their sentence's topic, the others are any words. `reference/export.py` has shown the encoder such
//! sentences without labels, with words to fill in.

use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::classifier::Tokens;
use crate::{LENGTH, TOPICS};

const WORDS: std::ops::Range<i64> = 4..256;

/// Sentences of 6 to 16 words.
#[derive(Debug)]
pub struct Sentences(Vec<Sentence>);

#[derive(Debug)]
struct Sentence {
    words: Vec<i64>,
    topic: i64,
}

impl Sentences {
    /// The same sentences for the same seed.
    pub fn draw(count: usize, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        Self((0..count).map(|_| sentence(&mut random)).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Some of the sentences, padded with zeros, and their labels.
    pub fn batch(&self, records: &[usize], device: &Device) -> (Tokens, Tensor<1, Int>) {
        let chosen: Vec<&Sentence> = records.iter().filter_map(|&r| self.0.get(r)).collect();
        let padded = |of: fn(i64) -> i64| -> Vec<i64> {
            let row = |s: &&Sentence| {
                let words: Vec<i64> = s.words.iter().copied().map(of).collect();
                words.into_iter().chain(std::iter::repeat(0)).take(LENGTH)
            };
            chosen.iter().flat_map(row).collect()
        };
        let shape = [chosen.len(), LENGTH];
        let tokens = integers(padded(|word| word), shape, device);
        let mask = integers(padded(|_| 1), shape, device);
        let labels: Vec<i64> = chosen.iter().map(|s| s.topic).collect();
        ((tokens, mask), integers(labels, [chosen.len()], device))
    }
}

fn sentence(random: &mut StdRng) -> Sentence {
    let topics = TOPICS as i64;
    let topic = random.random_range(0..topics);
    let length = random.random_range(6..=LENGTH);
    let word = |_| {
        let word = random.random_range(WORDS);
        if random.random_bool(0.6) { word - word % topics + topic } else { word }
    };
    Sentence { words: (0..length).map(word).collect(), topic }
}

/// The generated code computes with ONNX's 64-bit integers, whatever the device's default is.
pub fn integers<const D: usize>(
    values: Vec<i64>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::I64))
}
