//! Texts as numbers: on the host, and as what an encoder reads.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// What an encoder reads, `[batch, length]` each.
#[derive(Clone, Debug)]
pub struct TextInputs {
    /// Token ids.
    pub tokens: Tensor<2, Int>,
    /// 0 in the first text of a pair and 1 in the second. `None` for single texts, and in families without types.
    pub types: Option<Tensor<2, Int>>,
    /// 1 on tokens and 0 on padding.
    pub mask: Tensor<2>,
}

// So that an engine for per-example gradients may take it for a batch.
burn_dp::impl_batch!(TextInputs { tokens, types, mask });

impl TextInputs {
    /// Single texts.
    pub fn new(tokens: Tensor<2, Int>, mask: Tensor<2>) -> Self {
        Self { tokens, types: None, mask }
    }
}

/// Texts, or pairs of texts, as token ids, one after another, all of the same length.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// Token ids, `length` for each text.
    pub ids: Vec<i32>,
    /// See [`TextInputs::types`].
    pub types: Option<Vec<i32>>,
    /// 1 for a token and 0 for padding.
    pub mask: Vec<f32>,
    /// Tokens of each text, padding included.
    pub length: usize,
}

/// Lengths that depend on the texts are multiples of this.
const STEP: usize = 8;

/// Room for the longest of some texts, but no more than `most`.
pub(super) fn room(longest: usize, most: usize) -> usize {
    longest.max(1).next_multiple_of(STEP).min(most)
}

impl Encoded {
    /// Number of texts.
    pub fn len(&self) -> usize {
        self.ids.len().checked_div(self.length).unwrap_or(0)
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of the texts.
    ///
    /// # Panics
    /// If a record is not below [`len`](Self::len).
    pub fn batch(&self, records: &[usize], device: &Device) -> TextInputs {
        self.cut(records, self.length, device)
    }

    /// As [`batch`](Self::batch), but no longer than the longest of the texts asks for, up to a multiple of 8:
    /// less work where texts are short. Whatever traces the model sees each length as a new shape.
    ///
    /// # Panics
    /// As [`batch`](Self::batch).
    pub fn batch_to_longest(&self, records: &[usize], device: &Device) -> TextInputs {
        let longest = records.iter().map(|record| self.tokens(*record)).max().unwrap_or(0);
        self.cut(records, room(longest, self.length), device)
    }

    fn cut(&self, records: &[usize], length: usize, device: &Device) -> TextInputs {
        let shape = [records.len(), length];
        let ints = |values: &[i32]| {
            Tensor::from_data(TensorData::new(self.rows(values, records, length), shape), device)
        };
        let mask = TensorData::new(self.rows(&self.mask, records, length), shape);
        TextInputs {
            tokens: ints(&self.ids),
            types: self.types.as_deref().map(ints),
            mask: Tensor::from_data(mask, device),
        }
    }

    /// Tokens of a text, padding aside.
    ///
    /// # Panics
    /// If it is not below [`len`](Self::len).
    pub fn tokens(&self, record: usize) -> usize {
        let row = &self.mask[record * self.length..(record + 1) * self.length];
        row.iter().filter(|mask| **mask > 0.0).count()
    }

    /// All texts.
    pub fn all(&self, device: &Device) -> TextInputs {
        self.batch(&(0..self.len()).collect::<Vec<_>>(), device)
    }

    /// The first `length` of each row.
    fn rows<T: Copy>(&self, values: &[T], records: &[usize], length: usize) -> Vec<T> {
        let row = |&record: &usize| &values[record * self.length..][..length];
        records.iter().flat_map(row).copied().collect()
    }
}
