//! What is learned, from what, by which model.

mod images;
mod sentences;

use anyhow::Result;
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_dp::batch::Batch;
use burn_dp::selection::ParamSelector;

use super::method::Method;

pub use super::method::Defaults;
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
    /// A name for the trunk and its inputs, which files of cached features carry.
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
    /// How large a record is. A batch is padded to its largest record, so records of like size go together where the
    /// order is free.
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
    fn defaults(&self, method: Method) -> Defaults;
}
