//! The tiny folders, copies of them to damage, and images.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::prelude::*;
use finetune::models::cross_entropy;
use finetune::models::vision::ImageClassifier;
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::fixture;

/// All folders.
pub const NAMES: [&str; 10] = [
    "vit",
    "vit_wide",
    "deit",
    "beit",
    "beit_shared",
    "beit_class",
    "resnet_basic",
    "resnet_bottleneck",
    "resnet_gn",
    "resnet_timm",
];
/// Heights and widths of the two images that each folder expects something of.
pub const IMAGES: [[usize; 2]; 2] = [[40, 50], [20, 28]];
pub const CLASSES: usize = 5;

pub fn folder(name: &str) -> PathBuf {
    fixture(&format!("vision_{name}"))
}

pub fn model(name: &str, device: &Device) -> Result<ImageClassifier> {
    ImageClassifier::load_folder(&folder(name), CLASSES, device)
}

/// `pixels` or `features` of the two images.
pub fn expected<const D: usize>(name: &str, what: &str) -> Result<Tensor<D>> {
    let bytes = fs::read(folder(name).join("expected.safetensors"))?;
    let file = SafeTensors::deserialize(&bytes)?;
    let view = file.tensor(what)?;
    let (numbers, _) = view.data().as_chunks::<4>();
    let values: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let data = TensorData::new(values, view.shape().to_vec());
    Ok(Tensor::from_data(data, &Device::default()))
}

/// RGB values that `reference/vision_folders.py` makes too: the high bytes of a linear congruential generator.
pub fn rgb([height, width]: [usize; 2]) -> Tensor<4> {
    let mut state = 1u32;
    let values: Vec<f32> = (0..3 * height * width)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32
        })
        .collect();
    let data = TensorData::new(values, [1, 3, height, width]);
    Tensor::from_data(data, &Device::default())
}

pub type Batch = (Tensor<4>, Tensor<1, Int>);

/// The two images of a folder, preprocessed, and one of them mirrored.
pub fn batch(name: &str, device: &Device) -> Result<Batch> {
    let two = expected::<4>(name, "pixels")?;
    let mirrored = two.clone().narrow(0, 0, 1).flip([3]);
    let images = Tensor::cat(vec![two, mirrored], 0).to_device(device);
    Ok((images, Tensor::from_ints([4, 0, 2], device)))
}

pub fn loss(model: &ImageClassifier, (images, labels): Batch) -> Tensor<1> {
    cross_entropy(model.forward(images), labels)
}

pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The largest difference, relative to the largest expected number.
pub fn relative(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |m, x| m.max(x.abs()));
    let difference =
        |(a, b): (&f64, &f64)| if a.is_finite() { (a - b).abs() } else { f64::INFINITY };
    found.iter().zip(expected).map(difference).fold(0.0, f64::max) / largest
}

/// A copy of a folder that a test may damage.
pub struct Copy(TempDir);

impl Copy {
    pub fn of(name: &str) -> Result<Self> {
        let copy = tempfile::tempdir()?;
        for entry in fs::read_dir(folder(name))? {
            let entry = entry?;
            fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
        }
        Ok(Self(copy))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Sets a field of a JSON file, which may be inside another (`a/b`); `null` takes it out.
    pub fn set(&self, file: &str, field: &str, value: Value) -> Result<()> {
        let path = self.path().join(file);
        let mut json: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        let (outer, inner) = field.rsplit_once('/').unwrap_or(("", field));
        let at = if outer.is_empty() { Some(&mut json) } else { json.get_mut(outer) };
        let fields = at.and_then(Value::as_object_mut).context("there is no such object")?;
        if value.is_null() {
            fields.remove(inner);
        } else {
            fields.insert(inner.to_owned(), value);
        }
        Ok(fs::write(&path, json.to_string())?)
    }

    pub fn load(&self) -> Result<ImageClassifier> {
        ImageClassifier::load_folder(self.path(), CLASSES, &Device::default())
    }
}
