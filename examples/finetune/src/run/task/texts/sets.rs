//! Which texts there are.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::args::TextArgs;
use super::{OwnTexts, Texts};
use crate::data::{self, Sentences, Split};

/// Which texts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextSet {
    /// GLUE's, from the data folder.
    Sst2,
    /// Sentence polarity, from the data folder.
    RottenTomatoes,
    /// GLUE's, from the data folder; tested on sentences from the sources of the training set, or from others.
    Mnli { mismatched: bool },
    /// GLUE's, from the data folder.
    Qqp,
    /// GLUE's, from the data folder.
    Qnli,
    /// The user's own.
    Own(Box<OwnTexts>),
}

/// A set of texts with the encoder that the flags name. `folder` is the data folder.
///
/// # Errors
/// When data, tokenizer or weights are missing or damaged.
pub fn texts(folder: &Path, set: &TextSet, args: &TextArgs) -> Result<Texts> {
    let fixed =
        |name, words: &str, data| Texts::new((name, words.into()), data, None, args, folder);
    let sentences = |data: Split<Sentences>| data.try_map(|part| Ok(part.into()));
    match set {
        TextSet::Sst2 => fixed("sst2", "SST-2 (GLUE)", sentences(data::sst2(folder)?)?),
        TextSet::RottenTomatoes => {
            let words = "Rotten Tomatoes sentence polarity (not SST-2)";
            fixed("rotten-tomatoes", words, sentences(data::rotten_tomatoes(folder)?)?)
        }
        TextSet::Mnli { mismatched } => {
            let data::Mnli { train, matched, mismatched: others } = data::mnli(folder)?;
            let (words, test) = match mismatched {
                false => ("MNLI (GLUE), matched", matched),
                true => ("MNLI (GLUE), mismatched", others),
            };
            fixed("mnli", words, Split { train, test })
        }
        TextSet::Qqp => fixed("qqp", "Quora question pairs (GLUE)", data::qqp(folder)?),
        TextSet::Qnli => fixed("qnli", "QNLI (GLUE)", data::qnli(folder)?),
        TextSet::Own(own) => {
            let (data, units) = own.read()?;
            let words = own.data.words();
            let own = (units, own.data.class_weights.as_deref());
            Texts::new(("text", words), data, Some(own), args, folder)
        }
    }
}

/// The sentiment data in `folder`: SST-2 if it is there, else Rotten Tomatoes.
///
/// # Errors
/// As [`texts`].
pub fn sentiment(folder: &Path, args: &TextArgs) -> Result<Texts> {
    let set = match folder.join("sst2").join("train.tsv").exists() {
        true => TextSet::Sst2,
        false => TextSet::RottenTomatoes,
    };
    texts(folder, &set, args)
}
