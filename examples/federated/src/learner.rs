//! How a client trains, and how weights are tested.

mod head;
mod network;
mod trained;

use anyhow::Result;
use burn_dp::federated::Manifest;
use chacha20::ChaCha20Rng;
use finetune::data;
use finetune::run::task::{ImageArgs, Part, Task, TextArgs, cifar10, sentiment};
use rand::SeedableRng;
use rand::seq::SliceRandom;

use self::head::Head;
use self::network::Network;
use crate::settings::{Settings, TaskName, Train};

/// Data, a model, and what is trained of it. Weights are flat, in the manifest's order.
pub trait Learner: Send + Sync {
    /// What is trained, and on top of what.
    fn manifest(&self) -> &Manifest;

    /// The weights that a run begins from.
    ///
    /// # Errors
    /// When the model cannot be read.
    fn start(&self) -> Result<Vec<f32>>;

    /// New weights, by a client's own records.
    ///
    /// # Errors
    /// When the model does not take the weights.
    fn train(&self, turn: &Turn<'_>, weights: &[f32]) -> Result<Vec<f32>>;

    /// The share of held-out records that weights get right. These records count as public.
    ///
    /// # Errors
    /// When the model does not take the weights.
    fn accuracy(&self, weights: &[f32]) -> Result<f64>;

    /// Every training record's class, by which records are divided among clients.
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
    pub round: u64,
}

impl Turn<'_> {
    /// The records of each local step: pass after pass over the client's own, in a new order each time.
    pub fn batches(&self) -> Vec<Vec<usize>> {
        let mut rng = ChaCha20Rng::seed_from_u64(self.settings.seed.unwrap_or_default());
        rng.set_stream(((self.client as u64) << 32) | self.round);
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
    Ok(match settings.train {
        Train::Head => Box::new(Head::new(&task, folder)?),
        Train::Bias | Train::Lora | Train::Scores | Train::All => {
            Box::new(Network::new(task, settings.train)?)
        }
    })
}

/// The share of right guesses among `[records, classes]` scores.
fn hits(scores: burn::tensor::Tensor<2>, labels: burn::tensor::Tensor<1, burn::tensor::Int>) -> f64 {
    let right = scores.argmax(1).flatten::<1>(0, 1).equal(labels);
    right.int().sum().into_data().iter::<f64>().sum()
}

/// Every record of a part.
fn all<T: Task>(task: &T, part: Part) -> Vec<usize> {
    (0..task.labels(part).len()).collect()
}
