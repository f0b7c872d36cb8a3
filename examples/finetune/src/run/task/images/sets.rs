//! Which images there are.

use std::path::Path;

use anyhow::Result;

use super::Images;
use super::args::{ImageArgs, ImageSet, OwnImages};
use super::network::Network;
use super::pixels::Pixels;
use crate::data::{self, BadRecords, ImageColumns, ImageRecords, Labels, Split};
use crate::run::Units;
use crate::run::task::labeled::Labeled;

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
            let data = data::celeba(folder, network.reading_size(), BadRecords::Refuse)?;
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
    let words = own.data.words();
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
