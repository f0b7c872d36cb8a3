//! CIFAR-10 (Krizhevsky 2009): 50,000 and 10,000 images of ten kinds of things.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::checks::{advice, check_labels, read};
use super::split::{Images, Split};

const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Height and width.
const SIZE: usize = 32;
/// Numbers of one channel.
const PLANE: usize = SIZE * SIZE;
/// Records in one file.
const FILE: usize = 10_000;
const TRAINING: [&str; 5] =
    ["data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"];

/// Reads `cifar10` in the data folder: the PNG sheets of `examples/data.sh`, or the official binary files, there
/// or in `cifar-10-batches-bin`.
///
/// # Errors
/// When a file is missing or is not what it should be.
pub fn cifar10(folder: &Path) -> Result<Split<Images>> {
    let places = [folder.join("cifar10"), folder.join("cifar-10-batches-bin")];
    let binary = places.iter().find(|place| place.join("test_batch.bin").exists());
    let split = match binary {
        Some(place) => {
            let set = |names: &[&str]| binaries(place, names);
            Split { train: set(&TRAINING)?, test: set(&["test_batch"])? }
        }
        None => {
            let set = |names: &[&str], labels| sheets(&places[0], names, labels);
            Split {
                train: set(&TRAINING, "train_labels.json")?,
                test: set(&["test_batch"], "test_labels.json")?,
            }
        }
    };
    check_labels(&split.train.labels, 10, 5_000, "the training set")?;
    check_labels(&split.test.labels, 10, 1_000, "the test set")?;
    let first = (split.train.labels[0], split.train.pixels[0]);
    ensure!(first == (6, 59), "the images are in another order; {}", advice("cifar10"));
    Ok(split)
}

/// The official format: a label, then three planes, record after record.
fn binaries(place: &Path, names: &[&str]) -> Result<Images> {
    let mut images = empty();
    for name in names {
        let file = place.join(format!("{name}.bin"));
        let bytes = read(&file, "cifar10")?;
        let record = 1 + 3 * PLANE;
        ensure!(
            bytes.len() == FILE * record,
            "{} has {} bytes instead of {}; get it again",
            file.display(),
            bytes.len(),
            FILE * record
        );
        for record in bytes.chunks_exact(record) {
            images.labels.push(record[0]);
            images.pixels.extend_from_slice(&record[1..]);
        }
    }
    Ok(images)
}

/// One row of an RGB sheet is one image, pixel after pixel.
fn sheets(place: &Path, names: &[&str], labels: &str) -> Result<Images> {
    let mut images = empty();
    for name in names {
        let file = place.join(format!("{name}.png"));
        let bytes = read(&file, "cifar10")?;
        let sheet = decode(&bytes)
            .with_context(|| format!("{} is damaged; {}", file.display(), advice("cifar10")))?;
        for row in sheet.chunks_exact(3 * PLANE) {
            for channel in 0..3 {
                images.pixels.extend(row.iter().skip(channel).step_by(3));
            }
        }
    }
    let file = place.join(labels);
    let bytes = read(&file, "cifar10")?;
    images.labels = serde_json::from_slice(&bytes)
        .with_context(|| format!("{} is damaged; {}", file.display(), advice("cifar10")))?;
    let expected = names.len() * FILE;
    ensure!(
        images.labels.len() == expected,
        "{} has {} labels instead of {expected}; {}",
        file.display(),
        images.labels.len(),
        advice("cifar10")
    );
    Ok(images)
}

fn decode(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info()?;
    let info = reader.info();
    let shape = (info.width as usize, info.height as usize, info.color_type, info.bit_depth);
    ensure!(
        shape == (PLANE, FILE, png::ColorType::Rgb, png::BitDepth::Eight),
        "it is no sheet of {FILE} images"
    );
    let mut pixels = vec![0; FILE * 3 * PLANE];
    reader.next_frame(&mut pixels)?;
    Ok(pixels)
}

fn empty() -> Images {
    Images {
        pixels: Vec::new(),
        labels: Vec::new(),
        channels: 3,
        height: SIZE,
        width: SIZE,
        classes: &CLASSES,
    }
}
