//! How a client trains, and how weights are tested.

mod directions;
mod features;
mod head;
mod masks;
mod network;
mod predictions;
mod records;
mod trained;

use anyhow::{Result, ensure};
use burn::tensor::{Int, Tensor};
use burn_dp::federated::{Manifest, Trained, Training};
use burn_dp::seed::Seed;
use chacha20::ChaCha20Rng;
use finetune::data;
use finetune::run::task::{ImageArgs, Task, TextArgs, cifar10, sentiment};
use rand::SeedableRng;
use rand::seq::SliceRandom;

use self::features::FeatureSets;
use self::head::Head;
use self::masks::Masks;
use self::network::Network;
use self::predictions::Predictions;
use crate::settings::{Sent, Settings, TaskName, Train};

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
    fn labels(&self) -> &[u8];
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
    fn rng(&self, round: u64) -> ChaCha20Rng {
        let mut rng = ChaCha20Rng::seed_from_u64(self.settings.seed.unwrap_or_default());
        rng.set_stream(self.number(round));
        rng
    }

    /// For samples and noise of the client's own.
    fn secret(&self, round: u64) -> Result<Seed> {
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

/// The learner that the settings name.
///
/// # Errors
/// When data or pretrained weights are missing, or the model has nothing of what is to be trained.
pub fn learner(settings: &Settings) -> Result<Box<dyn Learner>> {
    let folder = data::folder()?;
    match settings.task {
        TaskName::Cifar10 => {
            let args = ImageArgs { backbone: "efficientnet-lite0".into(), pixels: None };
            of_task(cifar10(&folder, &args)?, settings, &folder)
        }
        TaskName::Sentiment => {
            of_task(sentiment(&folder, &TextArgs { length: settings.length })?, settings, &folder)
        }
    }
}

/// The learner of any task; features are kept in `folder`.
///
/// # Errors
/// As [`learner`].
pub fn of_task<T>(
    task: T,
    settings: &Settings,
    folder: &std::path::Path,
) -> Result<Box<dyn Learner>>
where
    T: Task<Model: Sync> + Send + Sync + 'static,
{
    let features = || FeatureSets::new(&task, settings, folder);
    let head = (settings.kind, settings.train) == (Sent::Weights, Train::Head);
    ensure!(head || settings.directions.is_none(), "--directions is for weights of a head");
    Ok(match (settings.kind, settings.train) {
        (Sent::Masks, _) => Box::new(Masks::new(features()?, settings)?),
        (Sent::Predictions, _) => Box::new(Predictions::new(features()?)?),
        (Sent::Weights, Train::Head) => Box::new(Head::new(&task, features()?)?),
        (Sent::Weights, Train::Bias | Train::Lora | Train::Scores | Train::All) => {
            Box::new(Network::new(task, settings.train)?)
        }
    })
}

/// The share of right guesses among `[records, classes]` scores.
fn hits(scores: Tensor<2>, labels: Tensor<1, Int>) -> f64 {
    let right = scores.argmax(1).flatten::<1>(0, 1).equal(labels);
    right.int().sum().into_data().iter::<f64>().sum()
}
