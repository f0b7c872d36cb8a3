//! From pixels to what a network was trained on.

mod json;
mod pipeline;
mod resize;
mod timm;
mod transformers;

use std::path::Path;

use anyhow::{Result, ensure};

use super::folder::Family;
use super::transformer::image_size;

pub use pipeline::Preprocess;

impl Preprocess {
    /// What a folder as Hugging Face saves it says about images: `preprocessor_config.json` of transformers, or
    /// `pretrained_cfg` in `config.json` of timm.
    ///
    /// Resizing is bilinear or bicubic, to the bit as Pillow up to 12.3 does both: with smoothing where images
    /// shrink, and rounding to whole levels. transformers can also resize by torchvision, which differs from
    /// Pillow by a level or two in a few pixels of a hundred.
    ///
    /// # Errors
    /// When a file is missing, asks for what is not done here, or makes images of another size than a vision
    /// transformer has positions for: names the file and the field.
    pub fn load_folder(folder: &Path) -> Result<Self> {
        match Family::of(folder)? {
            Family::TimmResNet => timm::read(folder),
            Family::ResNet => transformers::read(folder),
            Family::VisionTransformer => {
                let preprocess = transformers::read(folder)?;
                let (found, needed) = (preprocess.size(), image_size(folder)?);
                ensure!(
                    found == Some(needed),
                    "{}: preprocessor_config.json makes images of {}, but image_size of config.json is \
                     {needed:?}, for which the network has positions; set size, or crop_size",
                    folder.display(),
                    found.map_or("several sizes".to_owned(), |size| format!("{size:?}")),
                );
                Ok(preprocess)
            }
        }
    }
}
