//! Sentence sentiment with MiniLM.

use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::nn::LinearConfig;
use burn::tensor::{Device, Tensor};
use burn_dp::selection::ParamSelector;
use clap::Args;
use serde::{Deserialize, Serialize};

use super::{Classifier, Defaults, Part, Task};
use crate::data::{self, Split};
use crate::models::text::{
    Encoded, TextClassifier, TextEncoder, TextEncoderConfig, TextInputs, Tokenizer,
};
use crate::run::Method;

/// What the text task can be asked for.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct TextArgs {
    /// Tokens of a sentence, after which it is cut
    #[arg(long, default_value_t = 48)]
    pub length: usize,
}

/// Labeled sentences, encoded.
pub struct Texts {
    name: &'static str,
    labels: Split<Vec<u8>>,
    encoded: Split<Encoded>,
    tokenizer: Tokenizer,
    length: usize,
    config: TextEncoderConfig,
    folder: PathBuf,
}

/// The sentiment data in `folder`: SST-2 if it is there, else Rotten Tomatoes.
///
/// # Errors
/// When data, tokenizer or weights are missing or damaged.
pub fn sentiment(folder: &Path, args: &TextArgs) -> Result<Texts> {
    let (data, name) = data::sentiment(folder)?;
    let encoder = folder.join("minilm-l6");
    let tokenizer = Tokenizer::load(&encoder)?;
    let encode = |sentences: &data::Sentences| {
        let texts: Vec<&str> = sentences.texts.iter().map(String::as_str).collect();
        tokenizer.encode(&texts, args.length)
    };
    let encoded = Split { train: encode(&data.train)?, test: encode(&data.test)? };
    let labels = Split { train: data.train.labels, test: data.test.labels };
    let config = TextEncoderConfig::read(&encoder)?;
    Ok(Texts { name, labels, encoded, tokenizer, length: args.length, config, folder: encoder })
}

impl Texts {
    fn encoded(&self, part: Part) -> &Encoded {
        match part {
            Part::Train => &self.encoded.train,
            Part::Test => &self.encoded.test,
        }
    }

    /// Any text as the model reads it.
    ///
    /// # Errors
    /// When the tokenizer refuses it.
    pub fn encode(&self, text: &str, device: &Device) -> Result<TextInputs> {
        Ok(self.tokenizer.encode(&[text], self.length)?.all(device))
    }
}

impl Task for Texts {
    type Inputs = TextInputs;
    type Model = TextClassifier;

    fn name(&self) -> &'static str {
        "sst2"
    }

    fn data(&self) -> String {
        self.name.into()
    }

    fn classes(&self) -> Vec<String> {
        vec!["negative".into(), "positive".into()]
    }

    fn trunk(&self) -> String {
        format!("minilm-l6-{}-{}", self.length, self.labels.train.len())
    }

    /// The head is random, not zero. Through a head of zeros no gradient reaches the encoder, and `topgrad` could not
    /// tell its layers apart.
    fn model(&self, device: &Device) -> Result<TextClassifier> {
        let encoder = TextEncoder::load(&self.folder, device)?;
        let head = LinearConfig::new(encoder.width(), 2).init(device);
        Ok(TextClassifier { encoder, head })
    }

    fn labels(&self, part: Part) -> &[u8] {
        match part {
            Part::Train => &self.labels.train,
            Part::Test => &self.labels.test,
        }
    }

    fn inputs(&self, part: Part, records: &[usize], device: &Device) -> Self::Inputs {
        self.encoded(part).batch_to_longest(records, device)
    }

    fn size(&self, part: Part, record: usize) -> usize {
        self.encoded(part).tokens(record)
    }

    fn adapted(&self) -> Result<ParamSelector> {
        Ok(ParamSelector::regex(TextEncoderConfig::adapted())?)
    }

    fn output_axis(&self) -> usize {
        1
    }

    fn late(&self) -> ParamSelector {
        ParamSelector::path(self.config.last_layer())
    }

    fn defaults(&self, method: Method) -> Defaults {
        method.defaults().sentences
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
