//! What is learned, from what, by which model.

mod images;
mod sentences;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use burn_dp::batch::Batch;
use burn_dp::selection::ParamSelector;

pub use images::{ImageArgs, Images, cifar10};
pub use sentences::{TextArgs, Texts, sentiment};

/// A model with a trunk and a head.
pub trait Classifier<I>: Module {
    /// What the head sees, `[batch, width]`.
    fn features(&self, inputs: I) -> Tensor<2>;
    /// From features to `[batch, classes]`.
    fn classify(&self, features: Tensor<2>) -> Tensor<2>;
}

/// Which records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The private ones.
    Train,
    /// Those that accuracy is measured on, which count as public.
    Test,
}

/// A data set and a pretrained model.
pub trait Task {
    /// What the model reads.
    type Inputs: Batch + std::fmt::Debug;
    /// The model.
    type Model: Classifier<Self::Inputs>;

    /// `cifar10` or `sst2`.
    fn name(&self) -> &'static str;
    /// The data in words.
    fn data(&self) -> String;
    /// The names of the classes.
    fn classes(&self) -> Vec<String>;
    /// What names the trunk and the inputs, for files of cached features.
    fn trunk(&self) -> String;
    /// The pretrained model with a new head.
    ///
    /// # Errors
    /// When the weights are missing or damaged.
    fn model(&self, device: &Device) -> Result<Self::Model>;
    /// Every record's class.
    fn labels(&self, part: Part) -> &[u8];
    /// Records as the model reads them.
    fn inputs(&self, part: Part, records: &[usize], device: &Device) -> Self::Inputs;
    /// Records of one size go together where the order is free, because a batch is as large as its largest.
    fn size(&self, _part: Part, _record: usize) -> usize {
        0
    }
    /// The weights that get adapters.
    ///
    /// # Errors
    /// When a pattern does not parse.
    fn adapted(&self) -> Result<ParamSelector>;
    /// Their axis of outputs: 1 for linear layers, 0 for convolutions.
    fn output_axis(&self) -> usize;
    /// The last block of the trunk.
    fn late(&self) -> ParamSelector;
    /// What suits a method on two cores.
    fn defaults(&self, method: super::Method) -> Defaults;
}

/// Settings where the command line has none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Defaults {
    /// Logical steps.
    pub steps: u64,
    /// Expected size of a logical batch.
    pub batch: f64,
    /// Learning rate of all but the head.
    pub lr: f64,
    /// Learning rate of the head.
    pub head_lr: f64,
}

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

/// The classes of some records.
pub(super) fn labels(all: &[u8], records: &[usize], device: &Device) -> Tensor<1, Int> {
    let labels: Vec<i32> = records.iter().map(|record| i32::from(all[*record])).collect();
    Tensor::from_data(labels.as_slice(), device)
}
