//! The published weights: which tensor of `model.safetensors` belongs where.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::store::{
    FloatCastAdapter, ModuleAdapter, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter,
    SafetensorsStore,
};
use burn::tensor::{DType, Device};

use super::ADVICE;
use super::config::TextEncoderConfig;
use super::encoder::TextEncoder;

impl TextEncoder {
    /// The encoder whose `config.json` and `model.safetensors` are in `folder`. Its parameters train on an
    /// autodiff device.
    ///
    /// # Errors
    /// When a file is missing, damaged, or not that of a BERT encoder: says which, and what is wrong with it.
    pub fn load(folder: &Path, device: &Device) -> Result<Self> {
        let config = TextEncoderConfig::read(folder)?;
        read(&config, &folder.join("model.safetensors"), device)
    }
}

/// The encoder with the weights in `file`.
///
/// Everything is compared before anything is loaded, so that errors are in the file's own terms.
fn read(config: &TextEncoderConfig, file: &Path, device: &Device) -> Result<TextEncoder> {
    let mut encoder = config.init(device)?;
    let name = file.display();
    let mut store = SafetensorsStore::from_file(file);
    let stored =
        store.get_all_tensors().with_context(|| format!("cannot read {name}; {ADVICE}"))?;

    let entries = entries(config);
    let (mut tensors, mut missing) = (Vec::new(), Vec::new());
    for Entry { stored: key, path, shape } in &entries {
        let Some(tensor) = stored.get(key) else {
            missing.push(key.as_str());
            continue;
        };
        ensure!(
            tensor.dtype.is_float(),
            "{name}: `{key}` holds {:?} instead of floats; {ADVICE}",
            tensor.dtype,
        );
        ensure!(
            tensor.shape[..] == shape[..],
            "{name}: `{key}` has the shape {:?}, but config.json makes it {shape:?}; {ADVICE}",
            &tensor.shape[..],
        );
        let mut tensor = tensor.clone();
        tensor.name.clone_from(path);
        tensors.push(tensor);
    }
    ensure!(missing.is_empty(), "{name} lacks {}; {ADVICE}", listed(&missing));
    let known = |key: &str| UNUSED.contains(&key) || entries.iter().any(|e| e.stored == key);
    let extra: Vec<&str> = stored.keys().map(String::as_str).filter(|key| !known(key)).collect();
    ensure!(extra.is_empty(), "{name} has {} too, which is not used; {ADVICE}", listed(&extra));

    // Linear weights are transposed; half precision becomes single.
    let adapter = PyTorchToBurnAdapter.chain(FloatCastAdapter::to(DType::F32));
    let result = encoder.apply(tensors, None, Some(Box::new(adapter)), false);
    if let Some(error) = result.errors.first() {
        bail!("{name}: {error}; {ADVICE}");
    }
    let unloaded: Vec<&str> = result.missing.iter().map(|(path, _)| path.as_str()).collect();
    ensure!(unloaded.is_empty(), "{name} gave nothing for {}", listed(&unloaded));
    Ok(encoder)
}

/// Tensors of the published files that an encoder without a pooler has no use for.
const UNUSED: [&str; 3] = ["embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"];

/// A parameter of the module and the tensor that it is read from.
struct Entry {
    stored: String,
    path: String,
    /// As stored: PyTorch's dense weights are `[out, in]`.
    shape: Vec<usize>,
}

fn entries(config: &TextEncoderConfig) -> Vec<Entry> {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let mut entries = Entries(Vec::new());
    let tables = [
        ("word", config.vocab_size),
        ("position", config.max_position_embeddings),
        ("token_type", config.type_vocab_size),
    ];
    for (table, rows) in tables {
        let stored = format!("embeddings.{table}_embeddings.weight");
        entries.add(stored, format!("embeddings.{table}.weight"), &[rows, width]);
    }
    entries.norm("embeddings.LayerNorm", "embeddings.norm", width);
    for i in 0..config.num_hidden_layers {
        let (from, to) = (format!("encoder.layer.{i}"), format!("layers.{i}"));
        for part in ["query", "key", "value"] {
            let stored = format!("{from}.attention.self.{part}");
            entries.linear(&stored, &format!("{to}.attention.{part}"), [width, width]);
        }
        let stored = format!("{from}.attention.output");
        let path = format!("{to}.attention");
        entries.linear(&format!("{stored}.dense"), &format!("{path}.output"), [width, width]);
        entries.norm(&format!("{stored}.LayerNorm"), &format!("{path}.norm"), width);
        let path = format!("{to}.feed_forward");
        let stored = format!("{from}.intermediate.dense");
        entries.linear(&stored, &format!("{path}.up"), [inner, width]);
        entries.linear(&format!("{from}.output.dense"), &format!("{path}.down"), [width, inner]);
        entries.norm(&format!("{from}.output.LayerNorm"), &format!("{path}.norm"), width);
    }
    entries.0
}

struct Entries(Vec<Entry>);

impl Entries {
    fn linear(&mut self, stored: &str, path: &str, [out, from]: [usize; 2]) {
        self.add(format!("{stored}.weight"), format!("{path}.weight"), &[out, from]);
        self.add(format!("{stored}.bias"), format!("{path}.bias"), &[out]);
    }

    fn norm(&mut self, stored: &str, path: &str, width: usize) {
        self.add(format!("{stored}.weight"), format!("{path}.gamma"), &[width]);
        self.add(format!("{stored}.bias"), format!("{path}.beta"), &[width]);
    }

    fn add(&mut self, stored: String, path: String, shape: &[usize]) {
        self.0.push(Entry { stored, path, shape: shape.to_vec() });
    }
}

/// The first few of `names`, which may be all of a file's.
fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(3).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
