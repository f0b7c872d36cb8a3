//! Texts to token ids.

use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, ensure};
use tokenizers::{Encoding, PostProcessor, TruncationParams, truncate_encodings};

use super::encoded::room;
use super::{Encoded, TextEncoderConfig};
use crate::models::checkpoint::ADVICE;

/// The tokenizer that an encoder was trained with.
///
/// The files fix the length to which texts are padded and cut. Here each call gives it.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    config: TextEncoderConfig,
    padding: i32,
}

/// A text, or a pair, before it is padded.
struct Row {
    ids: Vec<i32>,
    types: Vec<i32>,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of `folder`, and `config.json` for what the encoder can take.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the two do not belong together.
    pub fn load(folder: &Path) -> Result<Self> {
        let config = TextEncoderConfig::read(folder)?;
        let file = folder.join("tokenizer.json");
        let name = file.display();
        ensure!(
            file.is_file(),
            "{} has no tokenizer.json: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) of transformers \
             writes it from the older files of a tokenizer; {ADVICE}",
            folder.display(),
        );
        let mut inner = tokenizers::Tokenizer::from_file(&file)
            .map_err(Error::from_boxed)
            .with_context(|| format!("cannot read {name}; {ADVICE}"))?;
        let largest = inner.get_vocab(true).into_values().max().unwrap_or(0);
        ensure!(
            (largest as usize) < config.vocab_size,
            "{name} has the token id {largest}, but by vocab_size the encoder's table has only {} rows; {ADVICE}",
            config.vocab_size,
        );
        inner.with_padding(None).with_truncation(None).map_err(Error::from_boxed)?;
        Ok(Self { inner, padding: i32::try_from(config.pad_token_id)?, config })
    }

    /// The token ids of `texts`, each with the marks that begin and end a text, cut or padded to `max_length`.
    /// A fixed length keeps the shape of every batch the same.
    ///
    /// # Errors
    /// When `max_length` has no room for the marks or is more than the encoder can take.
    pub fn encode(&self, texts: &[&str], max_length: usize) -> Result<Encoded> {
        Ok(self.padded(&self.singles(texts, max_length)?, max_length, false))
    }

    /// As [`encode`](Self::encode), but padded no further than the longest of `texts` asks for, up to a
    /// multiple of 8: less work where texts are short. Whatever traces the model sees each length as a new
    /// shape.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_to_longest(&self, texts: &[&str], max_length: usize) -> Result<Encoded> {
        let rows = self.singles(texts, max_length)?;
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        Ok(self.padded(&rows, room(longest, max_length), false))
    }

    /// As [`encode`](Self::encode), for pairs of texts: a question and its answer, a premise and a hypothesis. A
    /// pair that is too long loses tokens at the end of the longer text, and of both where both are too long.
    ///
    /// # Errors
    /// As [`encode`](Self::encode), and when the encoder has no types to tell the texts apart though its family has.
    pub fn encode_pairs(&self, pairs: &[(&str, &str)], max_length: usize) -> Result<Encoded> {
        let types = self.config.family.types_pairs();
        ensure!(
            !types || self.config.type_vocab_size >= 2,
            "the encoder has no type for the second text of a pair: type_vocab_size is {}",
            self.config.type_vocab_size,
        );
        let (first, second): (Vec<&str>, Vec<&str>) = pairs.iter().copied().unzip();
        let second = self.tokens(second)?.into_iter().map(Some).collect();
        Ok(self.padded(&self.rows(self.tokens(first)?, second, max_length)?, max_length, types))
    }

    fn singles(&self, texts: &[&str], max_length: usize) -> Result<Vec<Row>> {
        self.rows(self.tokens(texts.to_vec())?, vec![None; texts.len()], max_length)
    }

    /// The tokens of each text, without marks.
    fn tokens(&self, texts: Vec<&str>) -> Result<Vec<Encoding>> {
        let tokens = self.inner.encode_batch_fast(texts, false);
        tokens.map_err(Error::from_boxed).context("cannot encode a text")
    }

    /// Texts with their marks and the second text of each pair, of at most `max_length` tokens.
    fn rows(
        &self,
        first: Vec<Encoding>,
        second: Vec<Option<Encoding>>,
        max_length: usize,
    ) -> Result<Vec<Row>> {
        let pairs = second.iter().any(Option::is_some);
        let marks = self.inner.get_post_processor().map_or(0, |p| p.added_tokens(pairs));
        let (least, most) = (marks + 1, self.config.max_tokens());
        ensure!(
            (least..=most).contains(&max_length),
            "texts cannot be cut to {max_length} tokens: give {least} to {most}",
        );
        // Longest first, at the right end.
        let cut = TruncationParams { max_length: max_length - marks, ..Default::default() };
        let row = |(first, second)| self.row(first, second, &cut);
        first.into_iter().zip(second).map(row).collect()
    }

    fn row(
        &self,
        first: Encoding,
        second: Option<Encoding>,
        cut: &TruncationParams,
    ) -> Result<Row> {
        let (mut first, mut second) = truncate_encodings(first, second, cut)
            .map_err(Error::from_boxed)
            .context("cannot cut a text")?;
        // The rest of a text that was cut.
        first.take_overflowing();
        second.as_mut().map(Encoding::take_overflowing);
        let whole = self.inner.post_process(first, second, true);
        let whole = whole.map_err(Error::from_boxed).context("cannot mark a text")?;
        let types = match self.config.family.types_pairs() {
            true => numbers(whole.get_type_ids(), "type_vocab_size", self.config.type_vocab_size)?,
            false => Vec::new(),
        };
        Ok(Row { ids: numbers(whole.get_ids(), "vocab_size", self.config.vocab_size)?, types })
    }

    fn padded(&self, rows: &[Row], length: usize, types: bool) -> Encoded {
        let types = types.then(Vec::new);
        let mut encoded = Encoded { ids: Vec::new(), types, mask: Vec::new(), length };
        for row in rows {
            let padding = length.saturating_sub(row.ids.len());
            encoded.ids.extend(&row.ids);
            encoded.ids.extend(std::iter::repeat_n(self.padding, padding));
            encoded.types.iter_mut().for_each(|types| {
                types.extend(&row.types);
                types.extend(std::iter::repeat_n(0, padding));
            });
            encoded.mask.extend(std::iter::repeat_n(1.0, row.ids.len()));
            encoded.mask.extend(std::iter::repeat_n(0.0, padding));
        }
        encoded
    }
}

/// What a tokenizer gives, if the encoder's table has that many rows.
fn numbers(given: &[u32], field: &str, rows: usize) -> Result<Vec<i32>> {
    let number = |&id: &u32| {
        let number = i32::try_from(id).ok().filter(|_| (id as usize) < rows);
        number.ok_or_else(|| {
            anyhow!("tokenizer.json gives a text the id {id}, but {field} is {rows}")
        })
    };
    given.iter().map(number).collect()
}
