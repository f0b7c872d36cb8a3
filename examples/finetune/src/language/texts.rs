//! Texts as token ids, and batches of them.

use std::iter::repeat_n;

use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_dp::loss::IGNORED;

/// Texts as token ids, one record each, as the model's tokenizer gives them.
#[derive(Clone, Debug, PartialEq)]
pub struct Texts {
    records: Vec<Vec<i32>>,
    /// The most tokens that a record gives the model to read.
    longest: usize,
}

/// A batch: what the model reads, and what comes next.
#[derive(Clone, Debug)]
pub struct NextTokens {
    /// `[batch, length]`
    pub tokens: Tensor<2, Int>,
    /// The token after each, `[batch, length]`; [`IGNORED`] at padding.
    pub next: Tensor<2, Int>,
}

burn_dp::impl_batch!(NextTokens { tokens, next });

/// Lengths that depend on the texts are multiples of this, so that there are few different ones: whatever traces the
/// model sees each length as a new shape.
const STEP: usize = 8;

impl Texts {
    /// Records that are token ids.
    pub fn new(records: Vec<Vec<i32>>) -> Self {
        let longest = records.iter().map(|ids| predicted(ids)).max().unwrap_or(0).max(1);
        Self { records, longest }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The token ids of every record.
    pub fn records(&self) -> impl Iterator<Item = &[i32]> {
        self.records.iter().map(Vec::as_slice)
    }

    /// The number of tokens that are predicted in a record: all but the first. None for a record that does not exist.
    pub fn predicted(&self, record: usize) -> usize {
        self.records.get(record).map_or(0, |ids| predicted(ids))
    }

    /// The most tokens that the model reads at a time.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Some records as a batch, padded to the longest of them, up to a multiple of 8. A record that does not exist is
    /// nothing but padding.
    pub fn batch(&self, records: &[usize], device: &Device) -> NextTokens {
        let longest = records.iter().map(|record| self.predicted(*record)).max().unwrap_or(0);
        let length = longest.max(1).next_multiple_of(STEP).min(self.longest);
        let (mut tokens, mut next) = (Vec::new(), Vec::new());
        for record in records {
            let ids = self.records.get(*record).map_or(&[][..], Vec::as_slice);
            let padding = length - predicted(ids);
            tokens.extend(ids.iter().take(predicted(ids)));
            tokens.extend(repeat_n(PADDING, padding));
            next.extend(ids.iter().skip(1));
            next.extend(repeat_n(IGNORED, padding));
        }
        let shape = [records.len(), length];
        let tensor = |ids| Tensor::from_data(TensorData::new(ids, shape), device);
        NextTokens { tokens: tensor(tokens), next: tensor(next) }
    }

    /// The records in an order in which those of like length stand together, in chunks of at most `size`.
    pub(super) fn chunks(&self, size: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|record| self.predicted(*record));
        order.chunks(size.max(1)).map(<[usize]>::to_vec).collect()
    }
}

/// Any token will do: nothing reads padding.
const PADDING: i32 = 0;

fn predicted(ids: &[i32]) -> usize {
    ids.len().saturating_sub(1)
}
