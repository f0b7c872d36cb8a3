//! What a learner is, and a client's turn.

use anyhow::Result;
use burn::tensor::{Int, Tensor};
use burn_dp::federated::{Manifest, Trained, Training};
use burn_dp::seed::Seed;
use chacha20::ChaCha20Rng;
use rand::SeedableRng;
use rand::seq::SliceRandom;

use crate::settings::Settings;

/// Data, a model, and what is trained of it: weights, mask bits or predictions, flat, in the manifest's order.
pub trait Learner: Send + Sync {
    /// What is trained, and on top of what.
    fn manifest(&self) -> &Manifest;

    /// The numbers that a run begins from.
    ///
    /// # Errors
    /// When the model cannot be read.
    fn start(&self) -> Result<Vec<f32>>;

    /// New numbers, by a client's own records.
    ///
    /// # Errors
    /// When the model does not take the numbers.
    fn train(&self, turn: &Turn<'_>, training: &Training) -> Result<Trained>;

    /// The share of held-out records that these numbers get right. These records count as public.
    ///
    /// # Errors
    /// When the model does not take the numbers.
    fn accuracy(&self, numbers: &[f32]) -> Result<f64>;

    /// The class of every record that clients have, by which records are divided among them.
    fn labels(&self) -> &[u32];
}

/// A client's turn in a round.
#[derive(Clone, Debug)]
pub struct Turn<'a> {
    pub settings: &'a Settings,
    /// The client's records.
    pub share: &'a [usize],
    /// Where the client stands in the population.
    pub client: usize,
}

impl Turn<'_> {
    /// The records of each local step: pass after pass over the client's own, in a new order each time.
    pub fn batches(&self, round: u64) -> Vec<Vec<usize>> {
        let mut rng = self.rng(round);
        let size = self.settings.batch.max(1);
        let mut batches = Vec::new();
        while batches.len() < self.settings.local_steps && !self.share.is_empty() {
            let mut records = self.share.to_vec();
            records.shuffle(&mut rng);
            let wanted = self.settings.local_steps - batches.len();
            batches.extend(records.chunks(size).take(wanted).map(<[usize]>::to_vec));
        }
        batches
    }

    /// For choices that need not be secret: the order of records, the draws of masks.
    pub(super) fn rng(&self, round: u64) -> ChaCha20Rng {
        let mut rng = ChaCha20Rng::seed_from_u64(self.settings.seed.unwrap_or_default());
        rng.set_stream(self.number(round));
        rng
    }

    /// For samples and noise of the client's own.
    pub(super) fn secret(&self, round: u64) -> Result<Seed> {
        Ok(match self.settings.seed {
            Some(seed) => Seed::reproducible(seed).child(self.number(round)),
            None => Seed::from_os()?,
        })
    }

    /// Another one for each client and round.
    fn number(&self, round: u64) -> u64 {
        ((self.client as u64) << 32) | round
    }
}

/// The number of right guesses among `[records, classes]` scores.
pub(super) fn hits(scores: Tensor<2>, labels: Tensor<1, Int>) -> f64 {
    let right = scores.argmax(1).flatten::<1>(0, 1).equal(labels);
    right.int().sum().into_data().iter::<f64>().sum()
}
