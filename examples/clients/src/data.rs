//! Who has what.

use anyhow::{Result, ensure};
use burn::tensor::{Device, Int, Tensor};
use chacha20::ChaCha20Rng;
use finetune::data;
use finetune::run::task::{ImageArgs, Part, Task, cifar10};
use finetune::run::{Features, cached_features, labels};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Gamma};

use crate::args::Args;

/// Records of all clients, and those to test on.
pub struct Clients {
    pub width: usize,
    pub classes: usize,
    train: Records,
    test: Records,
    /// Each client's records.
    pub shares: Vec<Vec<usize>>,
}

struct Records {
    features: Features,
    labels: Vec<u8>,
}

/// Records at a time where they are tested.
const CHUNK: usize = 1000;

impl Clients {
    /// # Errors
    /// When the data are missing, or the settings make no sense.
    pub fn of_cifar10(args: &Args) -> Result<Self> {
        ensure!(args.clients > 0 && args.rounds > 0, "give at least one client and one round");
        ensure!(args.alpha > 0.0 && args.alpha.is_finite(), "--alpha must be positive");
        let folder = data::folder()?;
        let task =
            cifar10(&folder, &ImageArgs { backbone: "efficientnet-lite0".into(), pixels: None })?;
        let part = |part| -> Result<Records> {
            let mut features = cached_features(&task, part, &folder)?;
            features.rows_mut().for_each(normalize);
            Ok(Records { features, labels: task.labels(part).to_vec() })
        };
        let (train, test) = (part(Part::Train)?, part(Part::Test)?);
        let classes = task.classes().len();
        let shares = uneven(&train.labels, classes, args);
        Ok(Self { width: train.features.width(), classes, train, test, shares })
    }

    /// A random batch of a client's records.
    pub fn batch(&self, client: usize, rng: &mut ChaCha20Rng, device: &Device) -> Batch {
        let share = &self.shares[client];
        let size = share.len().min(128);
        let records: Vec<usize> =
            (0..size).map(|_| share[rng.random_range(0..share.len())]).collect();
        self.train.batch(&records, device)
    }

    /// The share of held-out records that a classifier gets right.
    pub fn accuracy(&self, classify: impl Fn(Tensor<2>) -> Tensor<2>) -> f64 {
        let records: Vec<usize> = (0..self.test.labels.len()).collect();
        let right: f64 = records
            .chunks(CHUNK)
            .map(|chunk| {
                let (features, labels) = self.test.batch(chunk, &Device::flex());
                let best = classify(features).argmax(1).flatten::<1>(0, 1);
                best.equal(labels).int().sum().into_data().iter::<f64>().sum::<f64>()
            })
            .sum();
        right / records.len() as f64
    }
}

/// Features `[records, width]` and classes `[records]`.
pub type Batch = (Tensor<2>, Tensor<1, Int>);

impl Records {
    fn batch(&self, records: &[usize], device: &Device) -> Batch {
        (self.features.batch(records, device), labels(&self.labels, records, device))
    }
}

/// Mean zero and variance one, for each record by itself: no record's features depend on another.
fn normalize(row: &mut [f32]) {
    let count = row.len() as f32;
    let mean = row.iter().sum::<f32>() / count;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count;
    row.iter_mut().for_each(|x| *x = (*x - mean) / (variance + 1e-6).sqrt());
}

/// Each class is shared out by a Dirichlet distribution over clients (Hsu et al. 2019, arXiv 1909.06335).
fn uneven(labels: &[u8], classes: usize, args: &Args) -> Vec<Vec<usize>> {
    let mut rng = ChaCha20Rng::seed_from_u64(args.seed);
    let mut shares = vec![Vec::new(); args.clients];
    let Ok(gamma) = Gamma::new(args.alpha, 1.0) else { return shares };
    for class in 0..classes {
        let mut records: Vec<usize> =
            (0..labels.len()).filter(|r| usize::from(labels[*r]) == class).collect();
        records.shuffle(&mut rng);
        let weights: Vec<f64> = (0..args.clients).map(|_| gamma.sample(&mut rng)).collect();
        let total: f64 = weights.iter().sum();
        let (mut sum, mut begin) = (0.0, 0);
        for (share, weight) in shares.iter_mut().zip(weights) {
            sum += weight;
            let end = ((sum / total * records.len() as f64).round() as usize).min(records.len());
            share.extend_from_slice(&records[begin..end]);
            begin = end;
        }
    }
    // A client without a record would have nothing to train on.
    for share in shares.iter_mut().filter(|share| share.is_empty()) {
        share.push(rng.random_range(0..labels.len()));
    }
    shares
}
