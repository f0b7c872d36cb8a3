//! What data sets are made of.

use anyhow::Result;

use super::held_out::HeldOut;
use super::units::Units;
use crate::run::task::Part;

/// Training and held-out records.
#[derive(Clone, Debug)]
pub struct Split<T> {
    pub train: T,
    pub test: T,
}

impl<T> Split<T> {
    /// One of the two.
    pub fn part(&self, part: Part) -> &T {
        match part {
            Part::Train => &self.train,
            Part::Test => &self.test,
        }
    }

    /// Both, by reference.
    pub fn as_ref(&self) -> Split<&T> {
        Split { train: &self.train, test: &self.test }
    }

    /// The same of both.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn try_map<U>(self, mut make: impl FnMut(T) -> Result<U>) -> Result<Split<U>> {
        Ok(Split { train: make(self.train)?, test: make(self.test)? })
    }
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
