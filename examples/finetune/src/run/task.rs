//! What is learned, from what, by which model.

mod any;
mod images;
mod inputs;
mod labeled;
mod own;
mod texts;

use std::path::Path;

use anyhow::{Context, Result};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_dp::selection::ParamSelector;

use super::method::Method;
use super::targets::Targets;
use super::units::Units;

pub use super::method::Defaults;
pub use any::{AnyTask, predict};
pub use images::{ImageArgs, ImageSet, Images, OwnImages, cifar10, images};
pub use inputs::Inputs;
pub(super) use inputs::{apart, together};
pub use own::OwnArgs;
pub use texts::{OwnTexts, TextArgs, TextSet, Texts, sentiment, texts};

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
    type Inputs: Inputs;
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
    /// What records are labeled with.
    fn targets(&self, part: Part) -> &Targets;
    /// What is protected, of the training records.
    fn units(&self) -> Units {
        Units::records(self.targets(Part::Train).len())
    }
    /// Records as the model reads them.
    fn inputs(&self, part: Part, records: &[usize], device: &Device) -> Self::Inputs;
    /// What a user gives to be classified: a text, or the path of an image.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, input: &str, device: &Device) -> Result<Self::Inputs>;
    /// Whether a record can be seen in several ways, by [`views`](Self::views).
    fn has_views(&self) -> bool {
        false
    }
    /// Records as [`inputs`](Self::inputs), each in a way that is drawn from `seed`, the record, and how many times it came before in
    /// a row.
    fn views(&self, _: Part, _: &[usize], _seed: u64, _: &Device) -> Option<Self::Inputs> {
        None
    }
    /// How large a record is. A batch is padded to its largest record, so records of like size go together where the
    /// order is free.
    fn size(&self, _part: Part, _record: usize) -> usize {
        0
    }
    /// The weights that get adapters.
    ///
    /// # Errors
    /// When a pattern does not parse.
    fn adapted(&self, model: &Self::Model) -> Result<ParamSelector>;
    /// Their axis of outputs: 1 for linear layers, 0 for convolutions.
    fn output_axis(&self, model: &Self::Model) -> usize;
    /// The last block of the trunk.
    fn late(&self, model: &Self::Model) -> ParamSelector;
    /// What suits a method on two cores, with or without privacy.
    fn defaults(&self, method: Method, private: bool) -> Defaults;
}

/// A name for the pretrained model in a folder of the user's: the folder's, and what tells its weights from others.
fn name_of_folder(folder: &Path) -> Result<String> {
    let full = folder
        .canonicalize()
        .with_context(|| format!("there is no folder {}", folder.display()))?;
    let name =
        full.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let mut hash = crc32fast::Hasher::new();
    let mut files: Vec<_> = std::fs::read_dir(&full)?.collect::<std::io::Result<_>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    for file in files {
        let about = file.metadata()?;
        let changed =
            about.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        hash.update(file.file_name().as_encoded_bytes());
        hash.update(&about.len().to_le_bytes());
        hash.update(&changed.unwrap_or_default().as_nanos().to_le_bytes());
    }
    Ok(format!("{name}-{:08x}", hash.finalize()))
}
