//! The text encoder against transformers: `reference/text.py` makes what is expected here.

mod common;

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use burn::nn::LinearConfig;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor};
use burn_dp::per_example::{Engine, Loop, Traced, verify};
use common::{assert_has, fixture, note, refused};
use finetune::models::cross_entropy;
use finetune::models::text::{
    Encoded, TextClassifier, TextEncoder, TextEncoderConfig, TextInputs, Tokenizer,
};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What transformers answers for some texts.
#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    length: usize,
    ids: Vec<Vec<i32>>,
    mask: Vec<Vec<f32>>,
    /// The last hidden state; of a real encoder only the first numbers of every token.
    hidden: Vec<f64>,
    pooled: Vec<f64>,
}

impl Expected {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Ok(serde_json::from_str(&text)?)
    }

    fn texts(&self) -> Vec<&str> {
        self.texts.iter().map(String::as_str).collect()
    }

    fn encoded(&self) -> Encoded {
        Encoded {
            ids: self.ids.concat(),
            types: None,
            mask: self.mask.concat(),
            length: self.length,
        }
    }
}

// What the encoder answers.

#[test]
fn tiny_encoder_agrees_with_transformers() -> Result<()> {
    let errors = agreement(&tiny(), &Expected::read(&tiny().join("expected.json"))?)?;
    // Its numbers are of the order of one.
    ensure!(errors.hidden < 1e-5 && errors.pooled < 1e-5, "{errors:?}");
    Ok(())
}

#[test]
fn real_encoder_agrees_with_transformers() -> Result<()> {
    let folder = finetune::data::folder()?.join("minilm-l6");
    if !folder.is_dir() {
        let folder = folder.display();
        note(&format!(
            "real_encoder_agrees_with_transformers was NOT RUN: no {folder}; run examples/data.sh"
        ))?;
        return Ok(());
    }
    let errors = agreement(&folder, &Expected::read(&fixture("text_minilm.json"))?)?;
    note(&format!("all-MiniLM-L6-v2, largest errors: {errors:?}"))?;
    ensure!(errors.hidden < 1e-4 && errors.pooled < 1e-4, "{errors:?}");
    Ok(())
}

/// The largest absolute errors.
#[derive(Debug)]
struct Errors {
    hidden: f64,
    pooled: f64,
}

/// Compares an encoder and its tokenizer with what is expected, all texts at once and one by one.
fn agreement(folder: &Path, expected: &Expected) -> Result<Errors> {
    let encoded = Tokenizer::load(folder)?.encode(&expected.texts(), expected.length)?;
    assert_eq!(encoded, expected.encoded());

    let device = Device::default();
    let model = TextClassifier::load(folder, 2, &device)?;
    let (batch, width) = (expected.texts.len(), model.encoder.width());
    let shown = expected.hidden.len() / (batch * expected.length);
    let mut errors = Errors { hidden: 0.0, pooled: 0.0 };
    let alone = (0..batch).map(|i| i..i + 1);
    for range in std::iter::once(0..batch).chain(alone) {
        let records: Vec<usize> = range.clone().collect();
        let inputs = encoded.batch(&records, &device);
        let hidden = model.encoder.forward(inputs.clone());
        assert_eq!(hidden.dims(), [records.len(), expected.length, width]);
        let rows = expected.length * shown;
        let want = &expected.hidden[range.start * rows..range.end * rows];
        let all = 0..records.len();
        let hidden = hidden.slice([all, 0..expected.length, 0..shown]);
        errors.hidden = errors.hidden.max(largest_error(hidden, want)?);
        let want = &expected.pooled[range.start * width..range.end * width];
        let pooled = model.features(inputs);
        errors.pooled = errors.pooled.max(largest_error(pooled, want)?);
    }
    Ok(errors)
}

fn largest_error<const D: usize>(tensor: Tensor<D>, expected: &[f64]) -> Result<f64> {
    let data = tensor.into_data();
    let values: Vec<f64> = data.iter::<f64>().collect();
    ensure!(values.len() == expected.len() && values.iter().all(|v| v.is_finite()), "{values:?}");
    Ok(values.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max))
}

#[test]
fn padding_changes_nothing() -> Result<()> {
    let (device, tokenizer) = (Device::default(), Tokenizer::load(&tiny())?);
    let model = TextClassifier::load(&tiny(), 2, &device)?;
    let features = |length| -> Result<Vec<f64>> {
        let inputs = tokenizer.encode(&["it was not good"], length)?.all(&device);
        Ok(model.features(inputs).into_data().iter::<f64>().collect())
    };
    for (a, b) in features(6)?.iter().zip(features(32)?) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    // Nor does a text of nothing else break anything.
    let empty = Tensor::<2>::zeros([1, 4], &device);
    let pooled = model.features(TextInputs::new(empty.clone().int(), empty));
    assert_eq!(pooled.into_data().iter::<f64>().map(f64::abs).fold(0.0, f64::max), 0.0);
    Ok(())
}

#[test]
fn new_head_scores_every_class_the_same() -> Result<()> {
    let device = Device::default();
    let model = TextClassifier::load(&tiny(), 3, &device)?;
    let inputs = Tokenizer::load(&tiny())?.encode(&["a film", "bad"], 8)?.all(&device);
    let scores = model.forward(inputs);
    assert_eq!(scores.dims(), [2, 3]);
    assert!(scores.into_data().iter::<f64>().all(|score| score == 0.0));
    assert!(TextClassifier::load(&tiny(), 0, &device).is_err());
    Ok(())
}

// Training.

type Batch = (TextInputs, Tensor<1, Int>);

fn loss(model: &TextClassifier, (inputs, labels): Batch) -> Tensor<1> {
    cross_entropy(model.forward(inputs), labels)
}

/// The tiny encoder with a random head, through which gradients reach the encoder, and a batch for it.
fn training() -> Result<(TextClassifier, Batch)> {
    let device = Device::default().autodiff();
    device.seed(3);
    let encoder = TextEncoder::load(&tiny(), &device)?;
    let head = LinearConfig::new(encoder.width(), 3).init(&device);
    let texts = ["the film is good", "a bad film, and it was not good!", "", "it was was"];
    let inputs = Tokenizer::load(&tiny())?.encode(&texts, 12)?.all(&device);
    let labels = Tensor::from_data([0, 2, 1, 0], &device);
    Ok((TextClassifier { encoder, head }, (inputs, labels)))
}

#[test]
fn every_parameter_trains() -> Result<()> {
    let (model, batch) = training()?;
    let engine = Loop::new(loss).per_example(&model, batch.clone())?;
    // 16 in each layer, five in the embeddings, two in the head.
    assert_eq!(engine.parameters().count(), 2 * 16 + 5 + 2);
    let gradients = GradientsParams::from_grads(loss(&model, batch).backward(), &model);
    assert_eq!(gradients.len(), 2 * 16 + 5 + 2);
    Ok(())
}

#[test]
fn engines_agree_on_per_example_gradients() -> Result<()> {
    let (model, batch) = training()?;
    let agreement = verify(&model, batch.clone(), loss, 1e-3)?;
    ensure!(agreement.worst < 1e-3, "{agreement:?}");
    // One trace serves batches of every size.
    let mut engine = Traced::new(loss);
    let whole = engine.per_example(&model, batch.clone())?.estimated_squared_norms();
    let one = burn_dp::batch::slice(&batch, 1..2)?;
    let one = engine.per_example(&model, one)?.estimated_squared_norms();
    assert_eq!(engine.traces(), 1);
    let norm = |norms: Tensor<1>| norms.into_data().iter::<f64>().next().unwrap_or(f64::NAN);
    let (whole, one) = (norm(whole.slice_dim(0, 1..2)), norm(one));
    ensure!(whole > 1e-3 && (whole - one).abs() < 1e-4 * whole, "{whole} {one}");
    Ok(())
}

// The tokenizer.

#[test]
fn lengths_are_cut_and_padded() -> Result<()> {
    let tokenizer = Tokenizer::load(&tiny())?;
    let texts = ["it was", "it was not good and it was bad"];
    let encoded = tokenizer.encode(&texts, 5)?;
    assert_eq!(encoded.ids, [2, 70, 71, 3, 0, 2, 70, 71, 66, 3]);
    assert_eq!(encoded.mask, [1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!((encoded.len(), encoded.length), (2, 5));
    // The second has eight words and two marks.
    assert_eq!(tokenizer.encode_to_longest(&texts, 32)?.length, 16);
    assert_eq!(tokenizer.encode_to_longest(&texts, 13)?.length, 13);
    assert_eq!(tokenizer.encode_to_longest(&texts[..1], 32)?.length, 8);
    assert!(
        tokenizer.encode(&[], 5)?.is_empty() && tokenizer.encode_to_longest(&[], 5)?.is_empty()
    );
    // Marks need room, and the tiny encoder knows 32 positions.
    for length in [0, 2, 33] {
        assert_has(&refused(tokenizer.encode(&texts, length)), &["give 3 to 32"]);
    }
    Ok(())
}

// What is said about files that cannot be used.

#[test]
fn missing_files_are_named() -> Result<()> {
    for file in ["config.json", "model.safetensors"] {
        let folder = broken(|folder| remove(folder, file))?;
        load_refused(folder.path(), &[file, "examples/data.sh"]);
    }
    let folder = broken(|folder| remove(folder, "tokenizer.json"))?;
    assert_has(&refused(Tokenizer::load(folder.path())), &["tokenizer.json", "examples/data.sh"]);
    Ok(())
}

fn remove(folder: &Path, file: &str) -> Result<()> {
    Ok(fs::remove_file(folder.join(file))?)
}

#[test]
fn damaged_files_are_named() -> Result<()> {
    let whole = fs::read(tiny().join("model.safetensors"))?;
    for length in [0, 5, 1000, whole.len() - 1] {
        let folder =
            broken(|folder| Ok(fs::write(folder.join("model.safetensors"), &whole[..length])?))?;
        load_refused(folder.path(), &["cannot read", "model.safetensors", "examples/data.sh"]);
    }
    let folder = broken(|folder| {
        fs::write(folder.join("tokenizer.json"), "{")?;
        Ok(fs::write(folder.join("config.json"), "{\"vocab_size\": 74}")?)
    })?;
    load_refused(folder.path(), &["config.json", "hidden_size", "examples/data.sh"]);
    fs::copy(tiny().join("config.json"), folder.path().join("config.json"))?;
    assert!(Tokenizer::load(folder.path()).is_err());
    Ok(())
}

#[test]
fn tensors_that_do_not_fit_are_named() -> Result<()> {
    let query = "encoder.layer.1.attention.self.query.weight";
    exchanged(query, None, &["lacks", query])?;
    exchanged("", Some(("other", Dtype::F32)), &["`other`", "not used"])?;
    exchanged(query, Some((query, Dtype::F32)), &[query, "[32, 31]", "[32, 32]"])?;
    exchanged(query, Some((query, Dtype::I32)), &[query, "I32"])
}

/// Leaves a tensor out and puts another in, and looks at what is said of it.
fn exchanged(out: &str, put: Option<(&str, Dtype)>, words: &[&str]) -> Result<()> {
    let (bytes, numbers) = (fs::read(tiny().join("model.safetensors"))?, vec![0; 4 * 32 * 31]);
    let mut tensors = SafeTensors::deserialize(&bytes)?.tensors();
    tensors.retain(|(name, _)| name != out);
    if let Some((name, dtype)) = put {
        tensors.push((name.to_owned(), TensorView::new(dtype, vec![32, 31], &numbers)?));
    }
    let changed = serialize(tensors, None)?;
    let folder = broken(|folder| Ok(fs::write(folder.join("model.safetensors"), changed)?))?;
    load_refused(folder.path(), &[words, &["model.safetensors", "examples/data.sh"]].concat());
    Ok(())
}

#[test]
fn configurations_that_are_not_built_are_refused() -> Result<()> {
    let cases = [
        ("hidden_act", json!("silu"), "only gelu"),
        ("model_type", json!("gpt2"), "only bert"),
        ("position_embedding_type", json!("relative_key"), "only \"absolute\""),
        ("num_attention_heads", json!(5), "cannot be shared"),
        ("num_attention_heads", json!(0), "give 1 to"),
        ("num_hidden_layers", json!(1u64 << 40), "give 1 to"),
        ("layer_norm_eps", json!(-1.0), "layer_norm_eps"),
        ("pad_token_id", json!(74), "pad_token_id"),
    ];
    for (field, value, words) in cases {
        let folder = broken(|folder| configure(folder, field, value.clone()))?;
        assert_has(&refused(TextEncoderConfig::read(folder.path())), &[field, words]);
    }
    // A table that the tokenizer does not fit.
    let folder = broken(|folder| configure(folder, "vocab_size", json!(60)))?;
    assert_has(&refused(Tokenizer::load(folder.path())), &["73", "60 rows"]);
    load_refused(folder.path(), &["word_embeddings", "[74, 32]", "[60, 32]", "vocab_size"]);
    Ok(())
}

fn configure(folder: &Path, field: &str, value: Value) -> Result<()> {
    let mut config: Value = serde_json::from_str(&fs::read_to_string(tiny().join("config.json"))?)?;
    config[field] = value;
    Ok(fs::write(folder.join("config.json"), config.to_string())?)
}

#[test]
fn half_precision_becomes_single() -> Result<()> {
    let bytes = fs::read(tiny().join("model.safetensors"))?;
    let name = "embeddings.LayerNorm.weight";
    // 1.0 in bfloat16 is the upper half of 1.0 in single precision.
    let ones = [0x80, 0x3f].repeat(32);
    let mut tensors = SafeTensors::deserialize(&bytes)?.tensors();
    tensors.retain(|(other, _)| other != name);
    tensors.push((name.to_owned(), TensorView::new(Dtype::BF16, vec![32], &ones)?));
    let changed = serialize(tensors, None)?;
    let folder = broken(|folder| Ok(fs::write(folder.join("model.safetensors"), changed)?))?;
    let encoder = TextEncoder::load(folder.path(), &Device::default())?;
    let gamma = encoder.embeddings.norm.gamma.val().into_data();
    assert_eq!(gamma.try_to_vec::<f32>().ok(), Some(vec![1.0; 32]));
    Ok(())
}

/// A copy of the tiny encoder's folder with something wrong in it.
fn broken(damage: impl FnOnce(&Path) -> Result<()>) -> Result<TempDir> {
    let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR"))?;
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(tiny().join(file), folder.path().join(file))?;
    }
    damage(folder.path())?;
    Ok(folder)
}

/// Loading fails with all of `words`.
fn load_refused(folder: &Path, words: &[&str]) {
    assert_has(&refused(TextClassifier::load(folder, 2, &Device::default())), words);
}

fn tiny() -> PathBuf {
    fixture("text_tiny")
}
