//! Batches of records, as they are or as features.

use burn::tensor::{Device, Int, Tensor};

use super::features::Features;
use super::task::{Classifier, Part, Task};

/// A batch: inputs, or features where only the head is trained.
#[derive(Clone, Debug)]
pub struct Examples<I> {
    /// What the model reads.
    pub inputs: Option<I>,
    /// What the head reads.
    pub features: Option<Tensor<2>>,
    /// `[batch]`
    pub labels: Tensor<1, Int>,
}

burn_dp::impl_batch!(Examples<I> { inputs, features, labels });

impl<I> Examples<I> {
    /// Logits, from whichever is there.
    pub fn logits<M: Classifier<I>>(self, model: &M) -> Option<Tensor<2>> {
        let features = self.features.or_else(|| self.inputs.map(|inputs| model.features(inputs)));
        features.map(|features| model.classify(features))
    }
}

/// Where batches of a task's records come from.
pub(super) struct Records<'a, T: Task> {
    pub(super) task: &'a T,
    pub(super) part: Part,
    /// The first so many are used.
    pub(super) count: usize,
    /// What the trunk makes of them, where that is all that the model needs.
    pub(super) features: Option<&'a Features>,
    pub(super) device: &'a Device,
}

impl<T: Task> Records<'_, T> {
    /// Some records as a batch.
    pub(super) fn load(&self, records: &[usize]) -> Examples<T::Inputs> {
        let inputs = match self.features {
            None => Some(self.task.inputs(self.part, records, self.device)),
            Some(_) => None,
        };
        let features = self.features.map(|features| features.batch(records, self.device));
        let labels = labels(self.task.labels(self.part), records, self.device);
        Examples { inputs, features, labels }
    }

    /// See [`Task::size`].
    pub(super) fn size(&self, record: usize) -> usize {
        self.task.size(self.part, record)
    }
}

/// The classes of some records.
pub fn labels(all: &[u8], records: &[usize], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = records.iter().map(|record| i32::from(all[*record])).collect();
    Tensor::from_data(labels.as_slice(), device)
}
