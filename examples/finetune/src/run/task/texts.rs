//! Texts, or pairs of texts, and an encoder of the BERT family.

mod args;
mod encoder;
mod own;
mod sets;

use std::path::Path;

use anyhow::{Result, ensure};
use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor};
use burn_dp::selection::ParamSelector;

use super::labeled::Labeled;
use super::{Classifier, Defaults, Part, Task};
use crate::data::{Split, TextRecords, hash};
use crate::models::text::{Encoded, TextClassifier, TextEncoder, TextEncoderConfig, TextInputs};
use crate::run::{Method, Targets, Units};

pub use args::TextArgs;
use encoder::Encoder;
pub use own::OwnTexts;
pub use sets::{TextSet, sentiment, texts};

/// Labeled texts, encoded, and an encoder.
pub struct Texts {
    name: &'static str,
    words: String,
    labeled: Labeled,
    encoded: Split<Encoded>,
    /// Tells one set of texts from another.
    checksum: u64,
    encoder: Encoder,
}

impl Texts {
    /// Encodes the texts. `folder` is the data folder.
    fn new(
        (name, words): (&'static str, String),
        data: Split<TextRecords>,
        own: Option<(Units, Option<&str>)>,
        args: &TextArgs,
        folder: &Path,
    ) -> Result<Self> {
        data.train.notes.iter().for_each(|note| eprintln!("note: {note}"));
        let pairs = data.train.texts.first().is_some_and(|(_, second)| second.is_some());
        let encoder = Encoder::new(args, folder, pairs)?;
        let classes = data.train.classes.clone();
        let labels = data.as_ref().try_map(|part| Ok(part.labels.clone()))?;
        let labeled = Labeled::new(labels, classes)?;
        let labeled = match own {
            Some((units, weights)) => labeled.with(units, weights)?,
            None => labeled,
        };
        let checksum = checksum(&data);
        let encoded = data.try_map(|part| encoder.encode(&part.texts))?;
        Ok(Self { name, words, labeled, encoded, checksum, encoder })
    }
}

fn checksum(data: &Split<TextRecords>) -> u64 {
    let all = data.train.texts.iter().chain(&data.test.texts);
    let parts = all.flat_map(|(first, second)| [Some(first), second.as_ref()]).flatten();
    hash(parts.map(|text| text.as_bytes()))
}

impl Task for Texts {
    type Inputs = TextInputs;
    type Model = TextClassifier;

    fn name(&self) -> &'static str {
        self.name
    }

    fn data(&self) -> String {
        self.words.clone()
    }

    fn classes(&self) -> Vec<String> {
        self.labeled.classes.clone()
    }

    fn trunk(&self) -> String {
        let Encoder { name, length, pooling, .. } = &self.encoder;
        format!("{name}-{length}-{pooling:?}-{:016x}", self.checksum).to_lowercase()
    }

    /// The head is random, not zero. Through a head of zeros no gradient reaches the encoder, and `topgrad` could not
    /// tell its layers apart.
    fn model(&self, device: &Device) -> Result<TextClassifier> {
        let Encoder { folder, pooling, .. } = &self.encoder;
        let encoder = TextEncoder::load_with(folder, *pooling, device)?;
        let head = LinearConfig::new(encoder.width(), self.labeled.classes.len()).init(device);
        Ok(TextClassifier { encoder, head })
    }

    fn targets(&self, part: Part) -> &Targets {
        self.labeled.targets.part(part)
    }

    fn units(&self) -> Units {
        self.labeled.units.clone()
    }

    fn inputs(&self, part: Part, records: &[usize], device: &Device) -> TextInputs {
        self.encoded.part(part).batch_to_longest(records, device)
    }

    fn size(&self, part: Part, record: usize) -> usize {
        self.encoded.part(part).tokens(record)
    }

    /// A text; the two of a pair are separated by ` || `.
    fn read(&self, input: &str, device: &Device) -> Result<TextInputs> {
        let text = match input.split_once(" || ") {
            Some((first, second)) if self.encoder.pairs => {
                (first.to_owned(), Some(second.to_owned()))
            }
            _ => (input.to_owned(), None),
        };
        ensure!(
            text.1.is_some() == self.encoder.pairs,
            "the model reads pairs of texts: write the two with ` || ` between them"
        );
        Ok(self.encoder.encode(&[text])?.all(device))
    }

    fn adapted(&self, _: &TextClassifier) -> Result<ParamSelector> {
        Ok(ParamSelector::regex(TextEncoderConfig::adapted())?)
    }

    fn output_axis(&self, _: &TextClassifier) -> usize {
        1
    }

    fn late(&self, _: &TextClassifier) -> ParamSelector {
        ParamSelector::path(self.encoder.config.last_layer())
    }

    fn defaults(&self, method: Method, private: bool) -> Defaults {
        method.defaults(private).sentences
    }
}

impl Classifier<TextInputs> for TextClassifier {
    fn features(&self, inputs: TextInputs) -> Tensor<2> {
        self.features(inputs)
    }

    fn classify(&self, features: Tensor<2>) -> Tensor<2> {
        self.classify(features)
    }
}
