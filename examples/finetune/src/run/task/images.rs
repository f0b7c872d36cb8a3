//! Images, and a network that was trained on ImageNet.

mod network;
mod pixels;
mod views;

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use burn_dp::selection::ParamSelector;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::labeled::Labeled;
use super::own::OwnArgs;
use super::{Classifier, Defaults, Part, Task};
use crate::data::{self, ImageColumns, ImageRecords, Labels, Split};
use crate::models::vision::ImageClassifier;
use crate::run::{Method, Targets, Units};
use network::Network;
use pixels::Pixels;

/// What tasks with images can be asked for.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct ImageArgs {
    /// squeezenet, or efficientnet-lite0: what examples/data.sh downloads
    #[arg(long, default_value = "efficientnet-lite0")]
    pub backbone: String,
    /// A folder as Hugging Face saves it, in place of --backbone: ViT, DeiT, BEiT or ResNet
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Height and width to which images are resized, with --backbone [default: 96, or 64 for squeezenet]
    #[arg(long)]
    pub pixels: Option<usize>,
}

impl Default for ImageArgs {
    fn default() -> Self {
        Self { backbone: "efficientnet-lite0".into(), model: None, pixels: None }
    }
}

/// Which images.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageSet {
    /// The data folder's.
    Cifar10,
    /// The data folder's.
    Cifar100,
    /// The data folder's.
    Celeba,
    /// The user's own.
    Own(OwnImages),
}

/// The user's own images.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct OwnImages {
    #[command(flatten)]
    #[serde(flatten)]
    pub data: OwnArgs,
    /// The column with the path of each image, where --train is a table
    #[arg(long)]
    pub path: Option<String>,
}

/// Labeled images and a network.
pub struct Images {
    name: &'static str,
    words: String,
    pixels: Split<Pixels>,
    labeled: Labeled,
    network: Network,
}

/// A set of images and the network that the flags name. `folder` is the data folder.
///
/// # Errors
/// When data or weights are missing or damaged, or a flag makes no sense.
pub fn images(folder: &Path, set: &ImageSet, args: &ImageArgs) -> Result<Images> {
    let network = Network::new(args, folder)?;
    let fixed = |name, words: &str, data: Split<data::Images>| -> Result<Images> {
        let classes: Vec<String> =
            data.train.classes.iter().map(|class| (*class).to_owned()).collect();
        let labels = data.as_ref().try_map(|part| {
            Ok(Labels::Classes(part.labels.iter().map(|label| u32::from(*label)).collect()))
        })?;
        let labeled = Labeled::new(labels, classes)?;
        let pixels = data.try_map(|part| Ok(Pixels::from(part)))?;
        Ok(Images { name, words: words.into(), pixels, labeled, network: network.clone() })
    };
    match set {
        ImageSet::Cifar10 => fixed("cifar10", "CIFAR-10", data::cifar10(folder)?),
        ImageSet::Cifar100 => fixed("cifar100", "CIFAR-100", data::cifar100(folder)?),
        ImageSet::Celeba => {
            let data = data::celeba(folder, network.reading_size())?;
            let units = by_user(&data.train, usize::MAX)?;
            of_records("celeba", "CelebA, 40 attributes".into(), data, units, None, network)
        }
        ImageSet::Own(own) => own_images(own, network),
    }
}

/// CIFAR-10 in `folder`.
///
/// # Errors
/// As [`images`].
pub fn cifar10(folder: &Path, args: &ImageArgs) -> Result<Images> {
    images(folder, &ImageSet::Cifar10, args)
}

fn own_images(own: &OwnImages, network: Network) -> Result<Images> {
    let (size, options) = (network.reading_size(), own.data.options());
    let (train, test) = match &own.path {
        None => {
            anyhow::ensure!(
                own.data.train.is_dir(),
                "{} is no folder: give a folder with a folder for each class, or, for a table, the column with \
                 the images' paths: --path NAME",
                own.data.train.display()
            );
            data::image_folder(&own.data.train, size, &options)?
        }
        Some(path) => {
            let columns = ImageColumns {
                path: path.clone(),
                label: own.data.label()?,
                user: own.data.user_column.clone(),
            };
            let train = data::image_table(&own.data.table()?, &columns, size, &options)?;
            let test = own.data.held_out_table()?;
            let test = test.map(|table| data::image_test_table(&table, &columns, &train, &options));
            (train, test.transpose()?)
        }
    };
    train.notes.iter().for_each(|note| eprintln!("note: {note}"));
    let data = match test {
        Some(test) => Split { train, test },
        None => train.split(own.data.rule()?, &own.data.train)?,
    };
    let units = own.data.units(data.train.users.as_ref(), data.train.len())?;
    let words = own.data.train.display().to_string();
    of_records("images", words, data, units, own.data.class_weights.as_deref(), network)
}

/// Users with all of their records, at most so many, where users are known.
fn by_user(records: &ImageRecords, most: usize) -> Result<Units> {
    match &records.users {
        None => Ok(Units::records(records.len())),
        Some(users) => Units::users(users.iter().map(|(_, list)| list.to_vec()).collect(), most),
    }
}

fn of_records(
    name: &'static str,
    words: String,
    data: Split<ImageRecords>,
    units: Units,
    weights: Option<&str>,
    network: Network,
) -> Result<Images> {
    let classes = data.train.classes.clone();
    let labels = data.as_ref().try_map(|part| Ok(part.labels.clone()))?;
    let labeled = Labeled::new(labels, classes)?.with(units, weights)?;
    let pixels = data.try_map(|part| Ok(Pixels::from(part)))?;
    Ok(Images { name, words, pixels, labeled, network })
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
            _ => format!("{}-{:08x}", self.network.name(), self.pixels.train.checksum()),
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
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        self.features(images)
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.classify(features)
    }
}
