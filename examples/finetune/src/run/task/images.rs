//! Images, and a network that was trained on ImageNet.

mod args;
mod network;
mod pixels;
mod sets;
mod views;

use std::path::Path;

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use burn_dp::selection::ParamSelector;

use super::labeled::Labeled;
use super::{Classifier, Defaults, Part, Task};
use crate::data::{Split, hash};
use crate::models::vision::ImageClassifier;
use crate::run::{Method, Targets, Units};
pub use args::{ImageArgs, ImageSet, OwnImages};
use network::Network;
use pixels::Pixels;
pub use sets::{cifar10, images};

/// Labeled images and a network.
pub struct Images {
    name: &'static str,
    words: String,
    pixels: Split<Pixels>,
    labeled: Labeled,
    network: Network,
}

impl Task for Images {
    type Inputs = Tensor<4>;
    type Model = ImageClassifier;

    fn name(&self) -> &'static str {
        self.name
    }

    fn data(&self) -> String {
        self.words.clone()
    }

    fn classes(&self) -> Vec<String> {
        self.labeled.classes.clone()
    }

    fn trunk(&self) -> String {
        match self.name {
            "cifar10" | "cifar100" => self.network.name().into(),
            _ => {
                let both =
                    [&self.pixels.train, &self.pixels.test].map(|part| part.values.as_slice());
                format!("{}-{:016x}", self.network.name(), hash(both))
            }
        }
    }

    fn model(&self, device: &Device) -> Result<ImageClassifier> {
        self.network.load(self.labeled.classes.len(), device)
    }

    fn targets(&self, part: Part) -> &Targets {
        self.labeled.targets.part(part)
    }

    fn units(&self) -> Units {
        self.labeled.units.clone()
    }

    fn inputs(&self, part: Part, records: &[usize], device: &Device) -> Tensor<4> {
        self.network.preprocess(self.pixels.part(part).batch(records, device))
    }

    fn has_views(&self) -> bool {
        true
    }

    fn views(
        &self,
        part: Part,
        records: &[usize],
        seed: u64,
        device: &Device,
    ) -> Option<Tensor<4>> {
        let seen = views::of(self.pixels.part(part), records, seed);
        Some(self.network.preprocess(seen.all(device)))
    }

    fn read(&self, input: &str, device: &Device) -> Result<Tensor<4>> {
        let image = Pixels::read(Path::new(input), self.network.reading_size())?;
        Ok(self.network.preprocess(image.all(device)))
    }

    fn adapted(&self, model: &ImageClassifier) -> Result<ParamSelector> {
        model.adapted()
    }

    fn output_axis(&self, model: &ImageClassifier) -> usize {
        model.output_axis()
    }

    fn late(&self, model: &ImageClassifier) -> ParamSelector {
        model.late()
    }

    fn defaults(&self, method: Method, private: bool) -> Defaults {
        method.defaults(private).images
    }
}

impl Classifier<Tensor<4>> for ImageClassifier {
    fn features(&self, pixels: Tensor<4>) -> Tensor<2> {
        self.features(pixels)
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.classify(features)
    }
}
