//! Random views of images, as small training sets of small images are usually seen: mirrored or not, and shifted.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::pixels::{CHANNELS, Pixels};

/// An image is shifted by up to this share of its height and width.
const SHIFT: f64 = 0.125;

/// The pixels of the records' images, each seen in a way that `seed`, the record, and how many times it came before in a row
/// decide. So a view does not depend on the other records of a batch.
pub(super) fn of(images: &Pixels, records: &[usize], seed: u64) -> Pixels {
    let (height, width) = (images.height, images.width);
    let mut values = Vec::with_capacity(records.len() * CHANNELS * height * width);
    let mut before: Option<(usize, u64)> = None;
    for &record in records {
        let again = match before {
            Some((last, times)) if last == record => times + 1,
            _ => 0,
        };
        before = Some((record, again));
        let draw =
            seed ^ (record as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ again.rotate_right(8);
        view(images, record, &mut SmallRng::seed_from_u64(draw), &mut values);
    }
    Pixels { values, height, width }
}

/// Adds one view to `pixels`. What comes in from outside of the image is its own mirror image.
fn view(images: &Pixels, record: usize, random: &mut SmallRng, pixels: &mut Vec<u8>) {
    let (height, width) = (images.height, images.width);
    let mirrored = random.random_bool(0.5);
    let mut shift = |size: usize| {
        let most = (SHIFT * size as f64) as i64;
        random.random_range(-most..=most)
    };
    let (down, right) = (shift(height), shift(width));
    let all = images.image(record);
    for channel in all.chunks_exact(height * width) {
        for y in 0..height {
            let row = &channel[reflected(y, down, height) * width..][..width];
            for x in 0..width {
                let x = if mirrored { width - 1 - x } else { x };
                pixels.push(row[reflected(x, right, width)]);
            }
        }
    }
}

/// Where what is seen at `at` comes from, of so many places.
fn reflected(at: usize, shift: i64, size: usize) -> usize {
    let (from, last) = (at as i64 + shift, size as i64 - 1);
    let from = if from < 0 { -from } else { from };
    let from = if from > last { 2 * last - from } else { from };
    from.clamp(0, last) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_depends_on_its_record_alone() {
        let pixels: Vec<u8> = (0..3 * 3 * 64).map(|i| (i * 37 % 251) as u8).collect();
        let images = Pixels { values: pixels, height: 8, width: 8 };
        let (all, two) =
            (of(&images, &[0, 0, 1, 1, 2, 2], 5).values, of(&images, &[1, 1], 5).values);
        assert_eq!(all[2 * 192..4 * 192], two);
        let views: std::collections::HashSet<_> =
            (0..64).map(|seed| of(&images, &[1], seed).values).collect();
        assert!(views.len() > 10);
        // A view is made of the image's own pixels.
        assert!(views.iter().flatten().all(|pixel| images.image(1).contains(pixel)));
    }
}
