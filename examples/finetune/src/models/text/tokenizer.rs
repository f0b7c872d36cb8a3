//! Texts to token ids.

use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, ensure};
use burn::tensor::{Device, Int, Tensor, TensorData};
use tokenizers::{PostProcessor, TruncationDirection};

use super::{ADVICE, TextEncoderConfig};

/// The tokenizer that an encoder was trained with.
///
/// The files fix the length to which texts are padded and cut. Here each call gives it.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    padding: i32,
    max_length: usize,
}

/// Lengths that depend on the texts are multiples of this.
const STEP: usize = 8;

impl Tokenizer {
    /// Reads `tokenizer.json` of `folder`, and `config.json` for what the encoder can take.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the two do not belong together.
    pub fn load(folder: &Path) -> Result<Self> {
        let config = TextEncoderConfig::read(folder)?;
        let file = folder.join("tokenizer.json");
        let name = file.display();
        let mut inner = tokenizers::Tokenizer::from_file(&file)
            .map_err(Error::from_boxed)
            .with_context(|| format!("cannot read {name}; {ADVICE}"))?;
        let largest = inner.get_vocab(true).into_values().max().unwrap_or(0);
        ensure!(
            (largest as usize) < config.vocab_size,
            "{name} has the token id {largest}, but the encoder's table has only {} rows; {ADVICE}",
            config.vocab_size,
        );
        inner.with_padding(None).with_truncation(None).map_err(Error::from_boxed)?;
        let padding = i32::try_from(config.pad_token_id)?;
        Ok(Self { inner, padding, max_length: config.max_position_embeddings })
    }

    /// The token ids of `texts`, each with the marks that begin and end a text, cut or padded to `max_length`.
    /// A fixed length keeps the shape of every batch the same.
    ///
    /// # Errors
    /// When `max_length` has no room for the marks or is more than the encoder can take.
    pub fn encode(&self, texts: &[&str], max_length: usize) -> Result<Encoded> {
        Ok(self.padded(&self.ids(texts, max_length)?, max_length))
    }

    /// As [`encode`](Self::encode), but padded no further than the longest of `texts` asks for, up to a
    /// multiple of 8: less work where texts are short. Whatever traces the model sees each length as a new
    /// shape.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_to_longest(&self, texts: &[&str], max_length: usize) -> Result<Encoded> {
        let ids = self.ids(texts, max_length)?;
        let longest = ids.iter().map(Vec::len).max().unwrap_or(0);
        Ok(self.padded(&ids, longest.max(1).next_multiple_of(STEP).min(max_length)))
    }

    /// At most `max_length` ids for each text.
    fn ids(&self, texts: &[&str], max_length: usize) -> Result<Vec<Vec<i32>>> {
        let marks = self.inner.get_post_processor().map_or(0, |p| p.added_tokens(false));
        ensure!(
            (marks + 1..=self.max_length).contains(&max_length),
            "texts cannot be cut to {max_length} tokens: give {} to {}",
            marks + 1,
            self.max_length,
        );
        let encodings = self.inner.encode_batch_fast(texts.to_vec(), false);
        let encodings = encodings.map_err(Error::from_boxed).context("cannot encode a text")?;
        encodings
            .into_iter()
            .map(|mut encoding| {
                encoding.truncate(max_length - marks, 0, TruncationDirection::Right);
                // The rest of a text that was cut.
                encoding.take_overflowing();
                let whole = self.inner.post_process(encoding, None, true);
                let whole = whole.map_err(Error::from_boxed).context("cannot mark a text")?;
                let id = |&id| i32::try_from(id).map_err(|_| anyhow!("token id {id} is too large"));
                whole.get_ids().iter().map(id).collect()
            })
            .collect()
    }

    fn padded(&self, texts: &[Vec<i32>], length: usize) -> Encoded {
        let mut encoded = Encoded { ids: Vec::new(), mask: Vec::new(), length };
        for text in texts {
            let padding = length.saturating_sub(text.len());
            encoded.ids.extend(text);
            encoded.ids.extend(std::iter::repeat_n(self.padding, padding));
            encoded.mask.extend(std::iter::repeat_n(1.0, text.len()));
            encoded.mask.extend(std::iter::repeat_n(0.0, padding));
        }
        encoded
    }
}

/// Texts as token ids, one after another, all of the same length.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// Token ids, `length` for each text.
    pub ids: Vec<i32>,
    /// 1 for a token and 0 for padding.
    pub mask: Vec<f32>,
    /// Tokens of each text, padding included.
    pub length: usize,
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

    /// The ids and the mask of some texts, `[records, length]` each.
    ///
    /// # Panics
    /// If a record is not below [`len`](Self::len).
    pub fn batch(&self, records: &[usize], device: &Device) -> (Tensor<2, Int>, Tensor<2>) {
        self.cut(records, self.length, device)
    }

    /// As [`batch`](Self::batch), but no longer than the longest of the texts asks for, up to a multiple of 8:
    /// less work where texts are short. Whatever traces the model sees each length as a new shape.
    ///
    /// # Panics
    /// As [`batch`](Self::batch).
    pub fn batch_to_longest(
        &self,
        records: &[usize],
        device: &Device,
    ) -> (Tensor<2, Int>, Tensor<2>) {
        let longest = records.iter().map(|record| self.tokens(*record)).max().unwrap_or(0);
        self.cut(records, longest.max(1).next_multiple_of(STEP).min(self.length), device)
    }

    fn cut(
        &self,
        records: &[usize],
        length: usize,
        device: &Device,
    ) -> (Tensor<2, Int>, Tensor<2>) {
        let shape = [records.len(), length];
        let ids = TensorData::new(self.rows(&self.ids, records, length), shape);
        let mask = TensorData::new(self.rows(&self.mask, records, length), shape);
        (Tensor::from_data(ids, device), Tensor::from_data(mask, device))
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
    pub fn all(&self, device: &Device) -> (Tensor<2, Int>, Tensor<2>) {
        self.batch(&(0..self.len()).collect::<Vec<_>>(), device)
    }

    /// The first `length` of each row.
    fn rows<T: Copy>(&self, values: &[T], records: &[usize], length: usize) -> Vec<T> {
        let row = |&record: &usize| &values[record * self.length..][..length];
        records.iter().flat_map(row).copied().collect()
    }
}
