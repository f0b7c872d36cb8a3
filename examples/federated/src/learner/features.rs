//! What the frozen network makes of all records, computed once and kept on disk.

use std::path::Path;

use anyhow::Result;
use burn::tensor::{Device, Int, Tensor};
use finetune::run::task::{Part, Task};
use finetune::run::{Features, cached_features, labels};

use super::hits;

/// Held-out records at a time.
const CHUNK: usize = 1000;

/// Training and held-out records.
pub(super) struct FeatureSets {
    pub(super) train: FeatureSet,
    pub(super) test: FeatureSet,
    pub(super) classes: usize,
    /// A name for the frozen network and its inputs.
    pub(super) trunk: String,
}

/// Features and classes of records.
pub(super) struct FeatureSet {
    features: Features,
    pub(super) labels: Vec<u8>,
}

impl FeatureSets {
    /// Reads them from `folder`, or computes them and puts them there.
    pub(super) fn new<T: Task>(task: &T, folder: &Path) -> Result<Self> {
        let part = |part| -> Result<FeatureSet> {
            let mut features = cached_features(task, part, folder)?;
            features.rows_mut().for_each(normalize);
            Ok(FeatureSet { features, labels: task.labels(part).to_vec() })
        };
        let (train, test) = (part(Part::Train)?, part(Part::Test)?);
        Ok(Self { train, test, classes: task.classes().len(), trunk: task.trunk() })
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
