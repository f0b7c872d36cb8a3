//! Texts to token ids, and back.

use std::path::Path;

use anyhow::{Context, Error, Result, anyhow, ensure};

use super::ADVICE;
use super::config::Gpt2Config;

/// The tokenizer that a model was trained with.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    begin: Option<i32>,
    end: Option<i32>,
    positions: usize,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of `folder`, and `config.json` for what the model can take.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the two do not belong together.
    pub fn load(folder: &Path) -> Result<Self> {
        let config = Gpt2Config::read(folder)?;
        let file = folder.join("tokenizer.json");
        let name = file.display();
        let mut inner = tokenizers::Tokenizer::from_file(&file)
            .map_err(Error::from_boxed)
            .with_context(|| format!("cannot read {name}; {ADVICE}"))?;
        let largest = inner.get_vocab(true).into_values().max().unwrap_or(0);
        ensure!(
            (largest as usize) < config.vocab_size,
            "{name} has the token id {largest}, but the model's table has only {} rows; {ADVICE}",
            config.vocab_size,
        );
        inner.with_padding(None).with_truncation(None).map_err(Error::from_boxed)?;
        Ok(Self {
            inner,
            begin: config.bos_token_id.map(i32::try_from).transpose()?,
            end: config.eos_token_id.map(i32::try_from).transpose()?,
            positions: config.n_positions,
        })
    }

    /// The token ids of `texts`, each cut to `length`. A text is put between the token that begins and the one that ends
    /// a text (one and the same in GPT-2), so that its first token and its end are learned as well.
    ///
    /// # Errors
    /// When `length` is below 2, the least from which anything is learned, or more than the model can read; and when
    /// the tokenizer refuses a text.
    pub fn encode(&self, texts: &[&str], length: usize) -> Result<Vec<Vec<i32>>> {
        ensure!(
            (2..=self.positions).contains(&length),
            "texts cannot be cut to {length} tokens: give 2 to {}",
            self.positions,
        );
        let encodings = self.inner.encode_batch_fast(texts.to_vec(), false);
        let encodings = encodings.map_err(Error::from_boxed).context("cannot encode a text")?;
        let text = |encoding: &tokenizers::Encoding| {
            let inside = ids(encoding)?;
            let marked = self.begin.into_iter().chain(inside).chain(self.end);
            Ok(marked.take(length).collect())
        };
        encodings.iter().map(text).collect()
    }

    /// The token ids of the beginning of a text, which a model is to continue. It may be empty.
    ///
    /// # Errors
    /// When the tokenizer refuses the text, or nothing is left of it: no words, and the model has no token that begins
    /// a text.
    pub fn prompt(&self, text: &str) -> Result<Vec<i32>> {
        let encoding = self.inner.encode_fast(text, false).map_err(Error::from_boxed);
        let inside = ids(&encoding.context("cannot encode the prompt")?)?;
        let prompt: Vec<i32> = self.begin.into_iter().chain(inside).collect();
        ensure!(!prompt.is_empty(), "the prompt is empty: give the first words of a text");
        Ok(prompt)
    }

    /// The text of token ids, without marks.
    ///
    /// # Errors
    /// When an id is negative, or the tokenizer refuses one.
    pub fn decode(&self, ids: &[i32]) -> Result<String> {
        let id = |&id: &i32| u32::try_from(id).map_err(|_| anyhow!("{id} is no token's id"));
        let ids: Vec<u32> = ids.iter().map(id).collect::<Result<_>>()?;
        self.inner.decode(&ids, true).map_err(Error::from_boxed).context("cannot decode tokens")
    }

    /// The token that ends a text, if the model has one.
    pub fn end(&self) -> Option<i32> {
        self.end
    }
}

fn ids(encoding: &tokenizers::Encoding) -> Result<Vec<i32>> {
    let id = |&id: &u32| i32::try_from(id).map_err(|_| anyhow!("token id {id} is too large"));
    encoding.get_ids().iter().map(id).collect()
}
