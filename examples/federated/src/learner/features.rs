//! What the frozen network makes of all records, computed once and kept on disk.

use std::path::Path;

use anyhow::{Result, ensure};
use burn::tensor::{Device, Int, Tensor};
use finetune::run::task::{Part, Task};
use finetune::run::{Features, cached_features, labels};

use super::directions::Directions;
use super::learning::hits;
use crate::settings::{Sent, Settings};

/// Held-out records at a time.
const CHUNK: usize = 1000;

/// Training and held-out records.
pub(super) struct FeatureSets {
    pub(super) train: FeatureSet,
    pub(super) test: FeatureSet,
    pub(super) classes: usize,
    /// A name for the frozen network, its inputs, and what was made of its features.
    pub(super) trunk: String,
    /// How many features the network has.
    pub(super) full_width: usize,
    /// The first so many training records are at clients. The rest are public inputs, whose labels nobody looks at.
    pub(super) private: usize,
}

/// Features and classes of records.
pub(super) struct FeatureSet {
    features: Features,
    pub(super) labels: Vec<u32>,
}

impl FeatureSets {
    /// Reads them from `folder`, or computes them and puts them there; then along the directions that the settings ask for.
    pub(super) fn new<T: Task>(task: &T, settings: &Settings, folder: &Path) -> Result<Self> {
        let sets = Self::all(task, settings, folder)?;
        match settings.directions {
            Some(count) => sets.along(count),
            None => Ok(sets),
        }
    }

    fn all<T: Task>(task: &T, settings: &Settings, folder: &Path) -> Result<Self> {
        let part = |part| -> Result<FeatureSet> {
            let mut features = cached_features(task, part, folder)?;
            features.rows_mut().for_each(normalize);
            Ok(FeatureSet { features, labels: task.targets(part).labels().to_vec() })
        };
        let (train, test) = (part(Part::Train)?, part(Part::Test)?);
        let all = train.labels.len();
        let private = if settings.kind == Sent::Predictions || settings.directions.is_some() {
            let public = settings.public_inputs;
            ensure!((1..all).contains(&public), "--public-inputs must be 1 to {}", all - 1);
            all - public
        } else {
            all
        };
        let (classes, trunk) = (task.classes().len(), task.trunk());
        let full_width = train.features.width();
        Ok(Self { train, test, classes, trunk, full_width, private })
    }

    /// With the coordinates of all records along that many directions of the public inputs, in place of their features.
    fn along(self, count: usize) -> Result<Self> {
        let public = self.public_inputs();
        let directions = Directions::of(&self.inputs(), count)?;
        let turned = |set: FeatureSet| {
            let features = directions.features(&set.features, set.labels.len());
            FeatureSet { features, ..set }
        };
        let trunk = format!("{}, {count} directions of {public} public inputs", self.trunk);
        Ok(Self { train: turned(self.train), test: turned(self.test), trunk, ..self })
    }

    pub(super) fn public_inputs(&self) -> usize {
        self.train.labels.len() - self.private
    }

    /// The public inputs, `[records, width]`.
    pub(super) fn inputs(&self) -> Tensor<2> {
        let records: Vec<usize> = (self.private..self.train.labels.len()).collect();
        self.train.features.batch(&records, &Device::flex())
    }

    /// The classes of the records that clients have.
    pub(super) fn private_labels(&self) -> &[u32] {
        &self.train.labels[..self.private]
    }

    pub(super) fn width(&self) -> usize {
        self.train.features.width()
    }

    /// The share of held-out records whose class `scores` finds.
    pub(super) fn accuracy(&self, scores: impl Fn(Tensor<2>) -> Tensor<2>) -> f64 {
        let records: Vec<usize> = (0..self.test.labels.len()).collect();
        let right = records.chunks(CHUNK).map(|chunk| {
            let (features, labels) = self.test.batch(chunk, &Device::flex());
            hits(scores(features), labels)
        });
        right.sum::<f64>() / records.len() as f64
    }
}

impl FeatureSet {
    /// `[records, width]` and `[records]`.
    pub(super) fn batch(&self, records: &[usize], device: &Device) -> (Tensor<2>, Tensor<1, Int>) {
        (self.features.batch(records, device), labels(&self.labels, records, device))
    }
}

/// Mean zero and variance one, for each record by itself: no record's features depend on another's.
fn normalize(row: &mut [f32]) {
    let count = row.len() as f32;
    let mean = row.iter().sum::<f32>() / count;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count;
    row.iter_mut().for_each(|x| *x = (*x - mean) / (variance + 1e-6).sqrt());
}
