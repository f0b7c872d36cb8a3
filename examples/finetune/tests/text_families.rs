//! Every family of encoders against transformers: `reference/text_families.py` makes what is expected here.

mod common;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::nn::LinearConfig;
use burn::tensor::{Device, Int, Tensor};
use burn_dp::per_example::{Engine, Loop, verify};
use burn_dp::selection::ParamSelector;
use common::{assert_has, fixture, refused};
use finetune::models::cross_entropy;
use finetune::models::text::{
    Encoded, Pooling, TextClassifier, TextEncoder, TextEncoderConfig, TextInputs, Tokenizer,
};
use serde::Deserialize;

/// The folders, and whether each has a pooler and token types.
const FOLDERS: [(&str, bool, bool); 5] = [
    ("text_bert", true, true),
    ("text_roberta", false, false),
    ("text_xlm_roberta", true, false),
    ("text_distilbert", false, false),
    ("text_sharded", true, true),
];

/// What transformers answers.
#[derive(Deserialize)]
struct Expected {
    single: Answer<String>,
    pair: Answer<(String, String)>,
}

#[derive(Deserialize)]
struct Answer<T> {
    texts: Vec<T>,
    length: usize,
    ids: Vec<i32>,
    types: Option<Vec<i32>>,
    mask: Vec<f32>,
    /// The first numbers of every token's last hidden state.
    hidden: Vec<f64>,
    mean: Vec<f64>,
    cls: Vec<f64>,
    pooler: Option<Vec<f64>>,
}

impl Expected {
    fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("expected.json");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_str(&text)?)
    }

    fn singles(&self) -> Vec<&str> {
        self.single.texts.iter().map(String::as_str).collect()
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        self.pair.texts.iter().map(|(first, second)| (first.as_str(), second.as_str())).collect()
    }
}

impl<T> Answer<T> {
    fn encoded(&self) -> Encoded {
        Encoded {
            ids: self.ids.clone(),
            types: self.types.clone(),
            mask: self.mask.clone(),
            length: self.length,
        }
    }

    fn pooled(&self) -> impl Iterator<Item = (Pooling, &[f64])> {
        let always = [(Pooling::Mean, &self.mean[..]), (Pooling::Cls, &self.cls[..])];
        always.into_iter().chain(self.pooler.as_deref().map(|pooler| (Pooling::Pooler, pooler)))
    }
}

#[test]
fn token_ids_and_types_agree_with_transformers() -> Result<()> {
    for (name, _, types) in FOLDERS {
        let folder = fixture(name);
        let (expected, tokenizer) = (Expected::read(&folder)?, Tokenizer::load(&folder)?);
        let mut single = expected.single.encoded();
        // Single texts are all of the first type, which goes without saying.
        let kinds = single.types.take().unwrap_or_default();
        ensure!(kinds.iter().all(|kind| *kind == 0), "{name}: {kinds:?}");
        assert_eq!(tokenizer.encode(&expected.singles(), single.length)?, single, "{name}");

        let pair = expected.pair.encoded();
        ensure!(pair.types.is_some() == types, "{name}");
        assert_eq!(tokenizer.encode_pairs(&expected.pairs(), pair.length)?, pair, "{name}");
    }
    Ok(())
}

#[test]
fn hidden_states_and_pooled_vectors_agree_with_transformers() -> Result<()> {
    for (name, pooler, _) in FOLDERS {
        let folder = fixture(name);
        let (expected, tokenizer) = (Expected::read(&folder)?, Tokenizer::load(&folder)?);
        ensure!(expected.single.pooler.is_some() == pooler, "{name}");
        let single = tokenizer.encode(&expected.singles(), expected.single.length)?;
        agreement(&folder, &single, &expected.single)?;
        let pair = tokenizer.encode_pairs(&expected.pairs(), expected.pair.length)?;
        agreement(&folder, &pair, &expected.pair)?;
    }
    Ok(())
}

/// Compares what the encoder in `folder` answers with what transformers answered.
fn agreement<T>(folder: &Path, encoded: &Encoded, want: &Answer<T>) -> Result<()> {
    let inputs = || encoded.all(&Device::default());
    let texts = want.texts.len();
    for (pooling, pooled) in want.pooled() {
        let encoder = TextEncoder::load_with(folder, pooling, &Device::default())?;
        let hidden = encoder.forward(inputs());
        ensure!(hidden.dims() == [texts, want.length, encoder.width()]);
        let shown = want.hidden.len() / (texts * want.length);
        let errors = [
            largest_error(hidden.slice_dim(2, 0..shown), &want.hidden)?,
            largest_error(encoder.pooled(inputs()), pooled)?,
        ];
        // Their numbers are of the order of one.
        ensure!(errors.iter().all(|error| *error < 1e-5), "{folder:?} {pooling:?}: {errors:?}");
    }
    Ok(())
}

fn largest_error<const D: usize>(tensor: Tensor<D>, expected: &[f64]) -> Result<f64> {
    let values: Vec<f64> = tensor.into_data().iter::<f64>().collect();
    ensure!(values.len() == expected.len() && values.iter().all(|v| v.is_finite()), "{values:?}");
    Ok(values.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
}

/// The poolings that a folder can have.
fn poolings(pooler: bool) -> impl Iterator<Item = Pooling> {
    [Pooling::Mean, Pooling::Cls].into_iter().chain(pooler.then_some(Pooling::Pooler))
}

#[test]
fn padding_changes_nothing() -> Result<()> {
    let pair = [("The lungs are clear.", "Why?")];
    for (name, pooler, _) in FOLDERS {
        let tokenizer = Tokenizer::load(&fixture(name))?;
        for pooling in poolings(pooler) {
            let encoder = TextEncoder::load_with(&fixture(name), pooling, &Device::default())?;
            let pooled = |encoded: Encoded| -> Vec<f64> {
                let pooled = encoder.pooled(encoded.all(&Device::default()));
                pooled.into_data().iter::<f64>().collect()
            };
            let whole = tokenizer.encode_pairs(&pair, encoder.max_length())?;
            let least = pooled(tokenizer.encode_pairs(&pair, whole.tokens(0))?);
            let most = pooled(whole);
            for (a, b) in least.iter().zip(&most) {
                ensure!((a - b).abs() < 1e-5, "{name} {pooling:?}: {a} {b}");
            }
        }
    }
    Ok(())
}

// Training.

type Batch = (TextInputs, Tensor<1, Int>);

fn loss(model: &TextClassifier, (inputs, labels): Batch) -> Tensor<1> {
    cross_entropy(model.forward(inputs), labels)
}

fn classifier(name: &str, pooling: Pooling) -> Result<TextClassifier> {
    let device = Device::default().autodiff();
    device.seed(5);
    let encoder = TextEncoder::load_with(&fixture(name), pooling, &device)?;
    // Through a head of zeros no gradient would reach the encoder.
    let head = LinearConfig::new(encoder.width(), 3).init(&device);
    Ok(TextClassifier { encoder, head })
}

#[test]
fn engines_agree_on_per_example_gradients() -> Result<()> {
    let device = Device::default().autodiff();
    let texts = ["The heart is clear.", "No pain since Monday, and the fever is mild.", ""];
    let pairs = [(texts[0], texts[1]), (texts[1], texts[2]), (texts[2], texts[0])];
    for (name, pooler, _) in FOLDERS {
        let tokenizer = Tokenizer::load(&fixture(name))?;
        let labels = Tensor::from_data([0, 2, 1], &device);
        for pooling in poolings(pooler) {
            let model = classifier(name, pooling)?;
            let batches = [tokenizer.encode(&texts, 16)?, tokenizer.encode_pairs(&pairs, 20)?];
            for encoded in batches {
                let batch = (encoded.all(&device), labels.clone());
                let agreement = verify(&model, batch, loss, 1e-3)
                    .with_context(|| format!("{name} {pooling:?}"))?;
                ensure!(agreement.worst < 1e-3, "{name} {pooling:?}: {agreement:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn every_parameter_trains() -> Result<()> {
    let device = Device::default().autodiff();
    for (name, pooler, _) in FOLDERS {
        let tokenizer = Tokenizer::load(&fixture(name))?;
        let types = if name == "text_distilbert" { 0 } else { 1 };
        for pooling in poolings(pooler) {
            let model = classifier(name, pooling)?;
            let encoded = tokenizer.encode_pairs(&[("A cough.", "A fever.")], 16)?;
            let batch = (encoded.all(&device), Tensor::zeros([1], &device));
            let engine = Loop::new(loss).per_example(&model, batch)?;
            // Tables and their norm, 16 in each layer, a pooler only where it is used, the head.
            let pooler = if pooling == Pooling::Pooler { 2 } else { 0 };
            assert_eq!(engine.parameters().count(), 4 + types + 2 * 16 + pooler + 2, "{name}");
        }
    }
    Ok(())
}

// What methods single out.

#[test]
fn adapters_and_the_last_layer_are_found_at_any_depth() -> Result<()> {
    let device = Device::default().autodiff();
    let sizes =
        TextEncoderConfig { vocab_size: 20, ..TextEncoderConfig::read(&fixture("text_bert"))? };
    for depth in [1, 2, 12] {
        let config = TextEncoderConfig { num_hidden_layers: depth, ..sizes.clone() };
        let model = TextClassifier::new(config.init(&device)?, 2, &device)?;
        let paths = |selector: ParamSelector| -> Result<Vec<String>> {
            Ok(selector.select(&model)?.paths().map(str::to_owned).collect())
        };
        let adapted = paths(ParamSelector::regex(TextEncoderConfig::adapted())?)?;
        assert_eq!(adapted.len(), 6 * depth);
        ensure!(adapted.iter().all(|path| path.ends_with(".weight")), "{adapted:?}");
        let last = paths(ParamSelector::path(config.last_layer()))?;
        assert_eq!(last.len(), 16);
        let layer = format!("encoder.layers.{}.", depth - 1);
        ensure!(last.iter().all(|path| path.starts_with(&layer)), "{last:?}");
    }
    for (name, _, _) in FOLDERS {
        let config = TextEncoderConfig::read(&fixture(name))?;
        assert_eq!(config.last_layer(), "encoder.layers.1");
        let model = classifier(name, Pooling::Mean)?;
        let adapted = ParamSelector::regex(TextEncoderConfig::adapted())?.select(&model)?;
        assert_eq!(adapted.paths().count(), 12, "{name}");
        ensure!(adapted.trained() < model.num_params());
    }
    Ok(())
}

// Lengths.

#[test]
fn lengths_that_a_family_cannot_take_are_refused() -> Result<()> {
    // BERT counts 40 positions. So does RoBERTa with 42, since two belong to padding.
    for (name, marks, pair_marks) in
        [("text_bert", 2, 3), ("text_roberta", 2, 4), ("text_xlm_roberta", 2, 4)]
    {
        let tokenizer = Tokenizer::load(&fixture(name))?;
        let encoder = TextEncoder::load(&fixture(name), &Device::default())?;
        assert_eq!(encoder.max_length(), 40, "{name}");
        for length in [0, marks, 41] {
            let words = format!("give {} to 40", marks + 1);
            assert_has(&refused(tokenizer.encode(&["a"], length)), &[&words]);
        }
        for length in [0, pair_marks, 41] {
            let words = format!("give {} to 40", pair_marks + 1);
            assert_has(&refused(tokenizer.encode_pairs(&[("a", "b")], length)), &[&words]);
        }
        // A text that fills all of it.
        let long = "day ".repeat(60);
        let whole = tokenizer.encode_pairs(&[(&long, &long)], 40)?;
        assert_eq!(whole.tokens(0), 40);
        let pooled = encoder.pooled(whole.all(&Device::default()));
        ensure!(pooled.into_data().iter::<f64>().all(f64::is_finite), "{name}");
        ensure!(tokenizer.encode_pairs(&[], 8)?.is_empty());
    }
    Ok(())
}
