//! Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747): 60,000 and 10,000 gray images of clothes.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;

use super::checks::{advice, check_labels, read};
use super::split::{Images, Split};

const CLASSES: [&str; 10] = [
    "T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
];

/// Reads `fashion-mnist` in the data folder, or where Debian's package puts it.
///
/// # Errors
/// When a file is missing or is not what it should be.
pub fn fashion_mnist(folder: &Path) -> Result<Split<Images>> {
    let places = [folder.join("fashion-mnist"), "/usr/share/datasets/fashion-mnist".into()];
    let place = places.iter().find(|place| place.is_dir()).unwrap_or(&places[0]);
    let split = Split { train: images(place, "train")?, test: images(place, "t10k")? };
    check_labels(&split.train.labels, 10, 6_000, "the training set")?;
    check_labels(&split.test.labels, 10, 1_000, "the test set")?;
    Ok(split)
}

fn images(place: &Path, part: &str) -> Result<Images> {
    let (sizes, pixels) = idx(&place.join(format!("{part}-images-idx3-ubyte.gz")), 3)?;
    let (_, labels) = idx(&place.join(format!("{part}-labels-idx1-ubyte.gz")), 1)?;
    ensure!(sizes[0] == labels.len(), "{part} has {} images and {} labels", sizes[0], labels.len());
    let (height, width) = (sizes[1], sizes[2]);
    Ok(Images { pixels, labels, channels: 1, height, width, classes: &CLASSES })
}

/// The idx format: 0, 0, 8 for bytes, the number of axes, each axis's length, the numbers.
fn idx(file: &Path, axes: usize) -> Result<(Vec<usize>, Vec<u8>)> {
    let damaged = || format!("{} is damaged; {}", file.display(), advice("fashion-mnist"));
    let mut bytes = Vec::new();
    let compressed = read(file, "fashion-mnist")?;
    GzDecoder::new(compressed.as_slice()).read_to_end(&mut bytes).with_context(damaged)?;
    let header = 4 + 4 * axes;
    ensure!(bytes.len() >= header && bytes[..4] == [0, 0, 8, axes as u8], damaged());
    let sizes: Vec<usize> = bytes[4..header]
        .chunks_exact(4)
        .map(|size| size.iter().fold(0, |total, byte| total << 8 | usize::from(*byte)))
        .collect();
    let numbers = bytes.split_off(header);
    let expected = sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    ensure!(expected == Some(numbers.len()), damaged());
    Ok((sizes, numbers))
}
