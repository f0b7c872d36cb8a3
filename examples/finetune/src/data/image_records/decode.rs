//! PNG and JPEG files as squares of RGB bytes.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use image::imageops::FilterType;
use image::{ImageFormat, ImageReader, Limits};
use rayon::prelude::*;

use crate::data::hash::hash;

/// Larger sides than this are no input of a network here.
const LARGEST_SIZE: usize = 1_024;
/// All images together, decoded.
const MOST_BYTES: usize = 8 << 30;
/// A file of some kilobytes can claim to have billions of pixels: neither side may be longer than this.
const LONGEST_SIDE: u32 = 16_384;
/// What decoding one image may allocate.
const MOST_ALLOCATED: u64 = 512 << 20;
/// A larger file is no photograph.
const LARGEST_FILE: u64 = 128 << 20;

/// What became of each file.
pub(super) struct Decoded {
    /// `[files, 3, size, size]`, flat; zeros where a file could not be decoded.
    pub pixels: Vec<u8>,
    /// The hash of the file's bytes, or what is wrong with it.
    pub results: Vec<Result<u64, String>>,
}

/// Decodes files, on all cores.
pub(super) fn decode(files: &[PathBuf], size: usize) -> Result<Decoded> {
    ensure!(
        (1..=LARGEST_SIZE).contains(&size),
        "images cannot be {size} pixels high: choose 1 to {LARGEST_SIZE}, such as 96"
    );
    let length = 3 * size * size;
    let bytes = files.len().saturating_mul(length);
    if bytes > MOST_BYTES {
        let fits = (MOST_BYTES / files.len().max(1) / 3).isqrt();
        bail!(
            "{} images of {size} x {size} pixels take {} GiB of memory, over the limit of {} GiB: choose a size of \
             {fits} or below, or give fewer images",
            files.len(),
            bytes >> 30,
            MOST_BYTES >> 30
        );
    }
    let mut pixels = vec![0; bytes];
    let results = pixels
        .par_chunks_exact_mut(length)
        .zip(files)
        .map(|(pixels, file)| {
            let image = one(file, size).map_err(|error| format!("{error:#}"))?;
            for (index, value) in image.rgb.into_iter().enumerate() {
                let at = (index % 3) * size * size + index / 3;
                pixels.get_mut(at).into_iter().for_each(|pixel| *pixel = value);
            }
            Ok(image.hash)
        })
        .collect();
    Ok(Decoded { pixels, results })
}

struct Decodable {
    /// Pixel after pixel.
    rgb: Vec<u8>,
    hash: u64,
}

fn one(file: &Path, size: usize) -> Result<Decodable> {
    let about = fs::metadata(file).context("it cannot be found: check the path")?;
    ensure!(about.is_file(), "it is no file");
    let length = about.len();
    ensure!(length <= LARGEST_FILE, "it has {length} bytes, over the limit of {LARGEST_FILE}");
    let bytes = fs::read(file).context("it cannot be read")?;
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_ALLOCATED);
    // By its contents, as a wrong ending is common.
    let mut reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format()?;
    let format = reader.format();
    ensure!(
        matches!(format, Some(ImageFormat::Png | ImageFormat::Jpeg)),
        "it is neither PNG nor JPEG: convert it"
    );
    reader.limits(limits);
    let told = "it is damaged or too large: open it in a viewer, and save it again or take it out";
    let image = reader.decode().context(told)?.into_rgb8();
    let side = u32::try_from(size)?;
    let image = match image.dimensions() == (side, side) {
        true => image,
        // The mean over the pixels that fall on one, with triangular weights, as torchvision's `antialias=True`.
        false => image::imageops::resize(&image, side, side, FilterType::Triangle),
    };
    Ok(Decodable { rgb: image.into_raw(), hash: hash([bytes.as_slice()]) })
}
