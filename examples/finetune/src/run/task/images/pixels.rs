//! Images of one size, as bytes.

use std::path::Path;

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};

use crate::data::{self, ImageRecords};

/// `[records, 3, height, width]`, flat.
pub(super) struct Pixels {
    pub(super) values: Vec<u8>,
    pub(super) height: usize,
    pub(super) width: usize,
}

pub(super) const CHANNELS: usize = 3;

impl Pixels {
    /// One image from a PNG or JPEG file, `size` high and wide.
    pub(super) fn read(file: &Path, size: usize) -> Result<Self> {
        Ok(Self { values: data::image(file, size)?, height: size, width: size })
    }

    /// Some of the images, `[records, 3, height, width]`.
    pub(super) fn batch(&self, records: &[usize], device: &Device) -> Tensor<4> {
        let values =
            records.iter().flat_map(|record| self.image(*record)).map(|value| f32::from(*value));
        self.tensor(values.collect(), records.len(), device)
    }

    /// All of the images.
    pub(super) fn all(&self, device: &Device) -> Tensor<4> {
        let values: Vec<f32> = self.values.iter().map(|value| f32::from(*value)).collect();
        let records = values.len() / self.length().max(1);
        self.tensor(values, records, device)
    }

    fn tensor(&self, values: Vec<f32>, records: usize, device: &Device) -> Tensor<4> {
        let shape = [records, CHANNELS, self.height, self.width];
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// The pixels of one record, channel by channel.
    pub(super) fn image(&self, record: usize) -> &[u8] {
        &self.values[record * self.length()..][..self.length()]
    }

    fn length(&self) -> usize {
        CHANNELS * self.height * self.width
    }
}

impl From<data::Images> for Pixels {
    fn from(images: data::Images) -> Self {
        Self { values: images.pixels, height: images.height, width: images.width }
    }
}

impl From<ImageRecords> for Pixels {
    fn from(images: ImageRecords) -> Self {
        Self { height: images.size, width: images.size, values: images.pixels }
    }
}
