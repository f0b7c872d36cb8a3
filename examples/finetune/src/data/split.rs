//! What data sets are made of.

use super::held_out::HeldOut;
use super::units::Units;

/// Training and held-out records.
#[derive(Clone, Debug)]
pub struct Split<T> {
    pub train: T,
    pub test: T,
}

/// Labeled images of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// `[records, channels, height, width]`, flat.
    pub pixels: Vec<u8>,
    /// One for each record, below the number of classes.
    pub labels: Vec<u8>,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub classes: &'static [&'static str],
}

impl Images {
    /// Number of records.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of one record, channel by channel.
    pub fn image(&self, record: usize) -> &[u8] {
        let size = self.channels * self.height * self.width;
        &self.pixels[record * size..(record + 1) * size]
    }
}

/// The records to train on and to test on: users are on one side with all that they have.
pub(super) fn sides(
    hashes: &[u64],
    users: Option<&Units>,
    held_out: HeldOut,
) -> (Vec<usize>, Vec<usize>) {
    let mut test: Vec<bool> = hashes.iter().map(|hash| held_out.takes(*hash)).collect();
    for (id, records) in users.iter().flat_map(|users| users.iter()) {
        let side = held_out.takes_user(id);
        for record in records {
            test.get_mut(*record).into_iter().for_each(|test| *test = side);
        }
    }
    (0..hashes.len()).partition(|record| test.get(*record) != Some(&true))
}
