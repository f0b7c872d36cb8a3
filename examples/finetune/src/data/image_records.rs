//! Labeled images of one size, from the user's own files.
//!
//! All images are decoded when they are read, before any privacy is spent: a broken one cannot end a run in its
//! middle. They are stretched to a square (the ratio of the sides is not kept) and are always RGB: gray becomes three
//! equal channels, and transparency is dropped. The rotation that a camera notes in EXIF is ignored.

mod decode;
mod folder;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Error, Result, ensure};

pub use self::folder::image_folder;
pub use self::table::{image_table, image_test_table};

use self::decode::decode;
use super::bad_records::{Bad, BadKind, Place, settle};
use super::hash::hash;
use super::held_out::HeldOut;
use super::labels::Labels;
use super::options::ReadOptions;
use super::select::{check_test, check_training};
use super::split::{Images, Split, sides};
use super::units::{Units, repeats};

/// Labeled images of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageRecords {
    /// `[records, 3, size, size]`, flat.
    pub pixels: Vec<u8>,
    /// Height and width.
    pub size: usize,
    /// One for each image.
    pub labels: Labels,
    /// The records of each user, if users are known.
    pub users: Option<Units>,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// What the user should be told about the data: what was left out, what is taken to be public.
    pub notes: Vec<String>,
    /// Of each image's file.
    hashes: Vec<u64>,
}

/// What is known of images before they are decoded.
pub(super) struct Listed {
    pub files: Vec<PathBuf>,
    /// Where each file is named.
    pub places: Vec<Place>,
    pub labels: Labels,
    pub users: Option<Vec<String>>,
    pub classes: Vec<String>,
    pub notes: Vec<String>,
}

/// The pixels of one image, channel by channel, `[3, size, size]`.
///
/// # Errors
/// When the file is no image that can be read, or `size` is out of range.
pub fn image(file: &Path, size: usize) -> Result<Vec<u8>> {
    let decoded = decode(&[file.to_owned()], size)?;
    let failed = decoded.results.into_iter().find_map(Result::err);
    failed.map_or(Ok(decoded.pixels), |told| Err(Error::msg(told)))
}

impl ImageRecords {
    /// Decodes the images that `source` lists.
    pub(super) fn of(
        listed: Listed,
        size: usize,
        source: &Path,
        options: &ReadOptions,
    ) -> Result<Self> {
        let decoded = decode(&listed.files, size)?;
        let (mut kept, mut hashes, mut bad) = (Vec::new(), Vec::new(), Vec::new());
        let named = listed.files.iter().zip(listed.places);
        for (record, (result, (file, at))) in decoded.results.into_iter().zip(named).enumerate() {
            match result {
                Ok(hash) => {
                    kept.push(record);
                    hashes.push(hash);
                }
                Err(told) => {
                    let told = match at {
                        Place::Line(_) => format!("{}: {told}", file.display()),
                        Place::File(_) => told,
                    };
                    bad.push(Bad { at, kind: BadKind::Image, told });
                }
            }
        }
        let mut notes = listed.notes;
        notes.extend(settle(source, bad, options.bad_records)?);
        let labels = listed.labels.subset(&kept);
        let users = listed.users.map(|users| {
            let kept = kept.iter().filter_map(|record| users.get(*record)).cloned();
            Units::new(kept, &hashes, &labels)
        });
        if users.is_none() {
            notes.extend(repeats(&hashes, source));
        }
        let mut pixels = decoded.pixels;
        keep(&mut pixels, 3 * size * size, &kept);
        Ok(Self { pixels, size, labels, users, classes: listed.classes, notes, hashes })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The pixels of one record, channel by channel; none beyond the last.
    pub fn image(&self, record: usize) -> &[u8] {
        let length = 3 * self.size * self.size;
        self.pixels.get(record * length..(record + 1) * length).unwrap_or_default()
    }

    /// Sets records apart for testing, by the rule of [`HeldOut`].
    ///
    /// # Errors
    /// When no record is held out, or what is left is too little to train on. `source` is what the error names.
    pub fn split(mut self, held_out: HeldOut, source: &Path) -> Result<Split<Self>> {
        let (train, test) = sides(&self.hashes, self.users.as_ref(), held_out);
        let length = 3 * self.size * self.size;
        let tested = test.iter().flat_map(|record| self.image(*record)).copied().collect();
        let test = self.part(&test, tested, Vec::new());
        let mut pixels = std::mem::take(&mut self.pixels);
        keep(&mut pixels, length, &train);
        let train = self.part(&train, pixels, self.notes.clone());
        let split = Split { train, test };
        check_training(&split.train.labels, &self.classes, source)?;
        check_test(&split.test.labels, source)?;
        Ok(split)
    }

    /// The records in `kept`, whose pixels are given.
    fn part(&self, kept: &[usize], pixels: Vec<u8>, notes: Vec<String>) -> Self {
        Self {
            pixels,
            size: self.size,
            labels: self.labels.subset(kept),
            users: self.users.as_ref().map(|users| users.subset(kept)),
            classes: self.classes.clone(),
            notes,
            hashes: kept.iter().filter_map(|record| self.hashes.get(*record)).copied().collect(),
        }
    }
}

/// Keeps some images of `length` bytes each, in rising order. In place, as there may be gigabytes of them.
fn keep(pixels: &mut Vec<u8>, length: usize, kept: &[usize]) {
    for (new, old) in kept.iter().enumerate() {
        let old = old * length..(old + 1) * length;
        if old.end <= pixels.len() {
            pixels.copy_within(old, new * length);
        }
    }
    pixels.truncate(kept.len() * length);
}

impl TryFrom<Images> for ImageRecords {
    type Error = Error;

    /// A standard set: gray images become three equal channels.
    fn try_from(images: Images) -> Result<Self> {
        let Images { channels, height, width, .. } = images;
        ensure!(
            height == width && matches!(channels, 1 | 3),
            "images of {channels} channels and {height} x {width} pixels are neither gray nor RGB squares"
        );
        let plane = height * width;
        let length = channels * plane;
        ensure!(
            length > 0 && images.pixels.len() == images.len() * length,
            "there are {} pixels for {} images of {length}",
            images.pixels.len(),
            images.len()
        );
        let hashes = images.pixels.chunks_exact(length).map(|image| hash([image])).collect();
        let pixels = match channels {
            1 => images.pixels.chunks_exact(plane).flat_map(|gray| gray.repeat(3)).collect(),
            _ => images.pixels,
        };
        Ok(Self {
            pixels,
            size: height,
            labels: Labels::Classes(images.labels.into_iter().map(u32::from).collect()),
            users: None,
            classes: images.classes.iter().map(|class| (*class).to_owned()).collect(),
            notes: Vec::new(),
            hashes,
        })
    }
}
