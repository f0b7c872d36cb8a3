//! What a frozen trunk makes of every record, computed once.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::progress;
use super::task::{Classifier, Part, Task};

/// Records that go through the trunk at once: few enough that what a layer makes of large images stays in the caches.
const CHUNK: usize = 16;

/// Features of every record of a part.
///
/// # Errors
/// When data or weights are missing.
pub fn cached_features<T: Task>(task: &T, part: Part, folder: &Path) -> Result<Features> {
    let device = Device::flex();
    let model = task.model(&device.clone().autodiff())?;
    Features::of(task, &model, part, folder, &device)
}

/// What the head sees of every record of a part.
pub struct Features {
    /// Row by row.
    values: Vec<f32>,
    /// Numbers of a row.
    width: usize,
}

impl Features {
    /// Computes them with the model's trunk, or reads what was computed before. Nothing is released, and a record's
    /// features depend on that record alone, so this costs no privacy. But the file is as private as the records.
    pub(super) fn of<T: Task>(
        task: &T,
        model: &T::Model,
        part: Part,
        folder: &Path,
        device: &Device,
    ) -> Result<Self> {
        let records = task.targets(part).len();
        let part_name = if part == Part::Train { "train" } else { "test" };
        let file = folder.join("features").join(format!(
            "{}-{}-{part_name}.safetensors",
            task.name(),
            task.trunk()
        ));
        if let Some(features) = read(&file, records) {
            return Ok(features);
        }
        let bar = progress::bar(records as u64, "features");
        let (mut values, mut width) = (Vec::new(), 0);
        let trunk = model.valid();
        let mut all: Vec<usize> = (0..records).collect();
        all.sort_by_key(|record| task.size(part, *record));
        for chunk in all.chunks(CHUNK) {
            let features = trunk.features(task.inputs(part, chunk, device));
            width = features.dims()[1];
            values.resize(records * width, 0.0);
            let features: Vec<f32> = features.into_data().iter().collect();
            for (record, row) in chunk.iter().zip(features.chunks_exact(width.max(1))) {
                values[record * width..][..width].copy_from_slice(row);
            }
            bar.inc(chunk.len() as u64);
        }
        bar.finish_and_clear();
        let features = Self { values, width };
        features.write(&file)?;
        Ok(features)
    }

    /// Rows of so many numbers, one after the other.
    pub const fn from_rows(values: Vec<f32>, width: usize) -> Self {
        Self { values, width }
    }

    /// How many numbers a record has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Each record's, to be changed.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.width.max(1))
    }

    /// Those of some records, `[records, width]`.
    pub fn batch(&self, records: &[usize], device: &Device) -> Tensor<2> {
        let width = self.width;
        let rows = records.iter().flat_map(|r| &self.values[r * width..(r + 1) * width]);
        let rows: Vec<f32> = rows.copied().collect();
        Tensor::from_data(TensorData::new(rows, [records.len(), width]), device)
    }

    fn write(&self, file: &Path) -> Result<()> {
        let place = || format!("cannot write {}", file.display());
        let bytes: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let rows = self.values.len() / self.width.max(1);
        let view = TensorView::new(Dtype::F32, vec![rows, self.width], &bytes)?;
        let bytes = safetensors::serialize(HashMap::from([("features", view)]), None)?;
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(place)?;
        }
        let partial = file.with_extension("partial");
        fs::write(&partial, bytes).with_context(place)?;
        fs::rename(&partial, file).with_context(place)
    }
}

/// Features from a file; none if it is not what it should be.
fn read(file: &Path, records: usize) -> Option<Features> {
    let read = || -> Result<Features> {
        let bytes = fs::read(file)?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        let view = tensors.tensor("features")?;
        ensure!(
            view.dtype() == Dtype::F32 && view.shape().len() == 2 && view.shape()[0] == records
        );
        let (numbers, _) = view.data().as_chunks::<4>();
        let values = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok(Features { values, width: view.shape()[1] })
    };
    read().ok()
}
