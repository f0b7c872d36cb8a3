//! The encoder that the flags name, and texts as it reads them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::args::TextArgs;
use crate::models::text::{Encoded, Pooling, TextEncoderConfig, Tokenizer};
use crate::run::task::name_of_folder;

/// A pretrained encoder that has not been read yet.
pub(super) struct Encoder {
    pub(super) folder: PathBuf,
    pub(super) name: String,
    pub(super) config: TextEncoderConfig,
    tokenizer: Tokenizer,
    pub(super) pooling: Pooling,
    /// Tokens of a text.
    pub(super) length: usize,
    /// Whether records are pairs of texts.
    pub(super) pairs: bool,
}

impl Encoder {
    pub(super) fn new(args: &TextArgs, data: &Path, pairs: bool) -> Result<Self> {
        let (folder, name) = match &args.model {
            Some(folder) => (folder.clone(), name_of_folder(folder)?),
            None => (data.join("minilm-l6"), "minilm-l6".to_owned()),
        };
        let config = TextEncoderConfig::read(&folder)?;
        let tokenizer = Tokenizer::load(&folder)?;
        let pooling = match args.pooling {
            Some(pooling) => pooling,
            None => Pooling::of(&folder)?.unwrap_or_default(),
        };
        Ok(Self { folder, name, config, tokenizer, pooling, length: args.length, pairs })
    }

    pub(super) fn encode<'t>(&self, texts: &'t [(String, Option<String>)]) -> Result<Encoded> {
        if !self.pairs {
            let texts: Vec<&str> = texts.iter().map(|(text, _)| text.as_str()).collect();
            return self.tokenizer.encode(&texts, self.length);
        }
        let pair = |(first, second): &'t (String, Option<String>)| {
            Some((first.as_str(), second.as_deref()?))
        };
        let pairs: Option<Vec<_>> = texts.iter().map(pair).collect();
        let pairs = pairs.context("a record has one text where others have two")?;
        self.tokenizer.encode_pairs(&pairs, self.length)
    }
}
