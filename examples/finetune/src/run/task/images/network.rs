//! Which network, and what images go through before it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::{Device, Tensor};

use super::args::ImageArgs;
use crate::models::vision::{Backbone, ImageClassifier, Preprocess};

/// A pretrained network that has not been read yet.
#[derive(Clone)]
pub(super) struct Network {
    from: From,
    /// With the size of images, if that is not the folder's.
    name: String,
    preprocess: Preprocess,
}

#[derive(Clone)]
enum From {
    /// One of those that `examples/data.sh` puts into the data folder.
    Downloads(Backbone, PathBuf),
    /// The user's.
    Folder(PathBuf),
}

/// Height and width to which images are cut down when they are read, where the network takes any.
const READING_SIZE: usize = 224;

impl Network {
    pub(super) fn new(args: &ImageArgs, folder: &Path) -> Result<Self> {
        if let Some(model) = &args.model {
            anyhow::ensure!(
                args.pixels.is_none(),
                "--pixels is for --backbone: the folder {} says how large images are",
                model.display()
            );
            let preprocess = Preprocess::load_folder(model)?;
            let name = super::super::name_of_folder(model)?;
            return Ok(Self { from: From::Folder(model.clone()), name, preprocess });
        }
        let backbone: Backbone = args.backbone.parse()?;
        let pixels = args.pixels.unwrap_or(match backbone {
            Backbone::SqueezeNet => 64,
            Backbone::EfficientNetLite0 => 96,
        });
        let preprocess = Preprocess::new(backbone, pixels)?;
        let name = format!("{backbone}-{pixels}");
        Ok(Self { from: From::Downloads(backbone, folder.to_owned()), name, preprocess })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Height and width to which the user's own images are cut down when they are read.
    pub(super) fn reading_size(&self) -> usize {
        self.preprocess.size().map_or(READING_SIZE, |[height, width]| height.max(width))
    }

    /// Pixels of 0 to 255, `[batch, 3, any, any]`, as the network reads them.
    pub(super) fn preprocess(&self, rgb: Tensor<4>) -> Tensor<4> {
        self.preprocess.forward(rgb)
    }

    pub(super) fn load(&self, classes: usize, device: &Device) -> Result<ImageClassifier> {
        match &self.from {
            From::Downloads(backbone, folder) => {
                ImageClassifier::load(*backbone, folder, classes, device)
            }
            From::Folder(folder) => ImageClassifier::load_folder(folder, classes, device),
        }
    }
}
