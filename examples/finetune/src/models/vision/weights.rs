//! Pretrained weights on disk: the tensors of safetensors files, taken by name.

mod layers;

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use burn::tensor::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use crate::models::checkpoint::Files;

/// Tensors, named and shaped as PyTorch does. They stay as bytes until they are taken.
pub(super) struct Weights {
    /// The file or folder, as errors call it.
    shown: String,
    /// What to do where the file and the network do not fit.
    advice: String,
    files: Vec<Vec<u8>>,
    tensors: HashMap<String, Stored>,
}

/// Where a tensor's values are.
struct Stored {
    file: usize,
    bytes: Range<usize>,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl Weights {
    /// A file that `examples/data.sh` makes. All of its tensors are F32.
    pub(super) fn read(path: &Path, download: &str) -> Result<Self> {
        let again = format!("run examples/data.sh {download}");
        let mut weights = Self::new(path, format!("delete it and {again}"));
        let shown = path.display();
        let bytes = fs::read(path).with_context(|| format!("cannot read {shown}: {again}"))?;
        weights.add(bytes).with_context(|| {
            format!("{shown} is damaged or no safetensors file: delete it and {again}")
        })?;
        for (name, tensor) in &weights.tensors {
            ensure!(
                tensor.dtype == Dtype::F32,
                "{shown}: tensor {name} is {:?}, not F32: delete the file and {again}",
                tensor.dtype,
            );
        }
        Ok(weights)
    }

    /// The weights of a folder as Hugging Face saves it: `model.safetensors`, or the shards that
    /// `model.safetensors.index.json` lists. Tensors may be F64, F32, F16 or BF16.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let mut weights = Self::new(folder, FOLDER_ADVICE.to_owned());
        let files = Files::of(folder)?;
        for file in &files.paths {
            let shown = file.display();
            let bytes =
                fs::read(file).with_context(|| format!("cannot read {shown}; {FOLDER_ADVICE}"))?;
            weights.add(bytes).with_context(|| {
                format!("{shown} is damaged or no safetensors file; {FOLDER_ADVICE}")
            })?;
        }
        Ok(weights)
    }

    fn new(path: &Path, advice: String) -> Self {
        let shown = path.display().to_string();
        Self { shown, advice, files: Vec::new(), tensors: HashMap::new() }
    }

    fn add(&mut self, bytes: Vec<u8>) -> Result<()> {
        // Holds every tensor's range against the length of the file.
        let (header, metadata) = SafeTensors::read_metadata(&bytes)?;
        let start = size_of::<u64>() + header;
        for (name, info) in metadata.tensors() {
            let (from, to) = info.data_offsets;
            let stored = Stored {
                file: self.files.len(),
                bytes: start + from..start + to,
                dtype: info.dtype,
                shape: info.shape.clone(),
            };
            let before = self.tensors.insert(name.clone(), stored);
            ensure!(before.is_none(), "tensor {name} is in two files");
        }
        self.files.push(bytes);
        Ok(())
    }

    /// Whether a tensor is there and was not taken.
    pub(super) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor that is there.
    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    /// The values of a tensor that has to be there in this shape.
    pub(super) fn take<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
    ) -> Result<Vec<f32>> {
        let (shown, advice) = (&self.shown, &self.advice);
        let stored = self.tensors.remove(name).ok_or_else(|| {
            anyhow!("{shown} has no tensor {name}: it belongs to another network; {advice}")
        })?;
        ensure!(
            stored.shape == shape,
            "{shown}: tensor {name} is {:?} where {shape:?} is needed; if the file is not of \
             another network, {advice}",
            stored.shape,
        );
        let bytes = self.files.get(stored.file).and_then(|file| file.get(stored.bytes));
        floats(stored.dtype, bytes.unwrap_or_default()).ok_or_else(|| {
            anyhow!(
                "{shown}: tensor {name} is {:?}: F64, F32, F16 and BF16 are read; save the model \
                 in one of them",
                stored.dtype,
            )
        })
    }

    /// Holds that all tensors were taken but those that `spare` allows to be left over.
    pub(super) fn finish(self, spare: impl Fn(&str) -> bool) -> Result<()> {
        let mut left: Vec<&str> =
            self.tensors.keys().map(String::as_str).filter(|name| !spare(name)).collect();
        left.sort_unstable();
        if let Some(first) = left.first() {
            anyhow::bail!(
                "{} has tensor {first} and {} more that this network has no place for; {}",
                self.shown,
                left.len() - 1,
                self.advice,
            );
        }
        Ok(())
    }
}

const FOLDER_ADVICE: &str =
    "config.json and the weights have to be those of one model: get the whole folder again";

fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let (pairs, fours, eights) = (bytes.as_chunks().0, bytes.as_chunks().0, bytes.as_chunks().0);
    Some(match dtype {
        Dtype::F16 => pairs.iter().map(|x| f16::from_le_bytes(*x).to_f32()).collect(),
        Dtype::BF16 => pairs.iter().map(|x| bf16::from_le_bytes(*x).to_f32()).collect(),
        Dtype::F32 => fours.iter().map(|x| f32::from_le_bytes(*x)).collect(),
        Dtype::F64 => eights.iter().map(|x| f64::from_le_bytes(*x) as f32).collect(),
        _ => return None,
    })
}
