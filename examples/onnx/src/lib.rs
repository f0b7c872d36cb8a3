//! placeholder
#![forbid(unsafe_code)]

pub mod classifier;
mod device;
pub mod sentences;
pub mod trained;

use device::device_of;

/// What burn-onnx made of the ONNX file. Its code is not held to this repository's style.
#[allow(clippy::all)]
pub mod encoder {
    include!(concat!(env!("OUT_DIR"), "/encoder.rs"));
}

/// Words of a sentence, padding included: what `encoder.onnx` was exported for.
pub const LENGTH: usize = 16;
/// Labels of the made-up sentences.
pub const TOPICS: usize = 4;
