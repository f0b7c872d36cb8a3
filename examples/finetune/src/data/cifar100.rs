//! CIFAR-100 (Krizhevsky 2009): 50,000 and 10,000 images of a hundred kinds of things.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::checks::check_labels;
use super::split::{Images, Split};

/// The fine labels, in the order of `fine_label_names.txt`.
#[rustfmt::skip]
const CLASSES: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
    "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
    "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
    "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
    "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
];

/// Height and width.
const SIZE: usize = 32;
/// A coarse label, a fine one, three planes.
const RECORD: usize = 2 + 3 * SIZE * SIZE;
/// The coarse labels are groups of five fine ones.
const COARSE: u8 = 20;

/// Reads the official binary version, `cifar-100-binary/train.bin` and `test.bin` in the data folder. The labels are
/// the fine ones.
///
/// # Errors
/// When a file is missing or is not what it should be.
pub fn cifar100(folder: &Path) -> Result<Split<Images>> {
    let place = folder.join("cifar-100-binary");
    let split = Split {
        train: images(&place.join("train.bin"), 50_000)?,
        test: images(&place.join("test.bin"), 10_000)?,
    };
    check_labels(&split.train.labels, 100, 500, "the training set")?;
    check_labels(&split.test.labels, 100, 100, "the test set")?;
    Ok(split)
}

fn images(file: &Path, count: usize) -> Result<Images> {
    let shown = file.display();
    let bytes = std::fs::read(file).with_context(|| {
        format!(
            "cannot read {shown}: unpack CIFAR-100's binary version, cifar-100-binary.tar.gz, there"
        )
    })?;
    ensure!(
        bytes.len() == count * RECORD,
        "{shown} has {} bytes instead of {}; get it again",
        bytes.len(),
        count * RECORD
    );
    let mut labels = Vec::with_capacity(count);
    let mut pixels = Vec::with_capacity(bytes.len());
    for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
        match record {
            [coarse, fine, image @ ..] if *coarse < COARSE => {
                labels.push(*fine);
                pixels.extend_from_slice(image);
            }
            _ => {
                bail!("{shown} is no CIFAR-100: record {} has no coarse label below 20", index + 1)
            }
        }
    }
    Ok(Images { pixels, labels, channels: 3, height: SIZE, width: SIZE, classes: &CLASSES })
}
