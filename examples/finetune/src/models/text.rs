//! A BERT encoder for sentences: all-MiniLM-L6-v2, and what else has its file layout.
//!
//! A folder holds it as it is published: `config.json`, `model.safetensors` and `tokenizer.json`.
//! Nothing here knows of differential privacy: these are burn modules like any other.

mod attention;
mod classifier;
mod config;
mod encoder;
mod init;
mod layer;
mod tokenizer;
mod weights;

pub use attention::Attention;
pub use classifier::TextClassifier;
pub use config::TextEncoderConfig;
pub use encoder::{Embeddings, TextEncoder};
pub use layer::{FeedForward, Layer};
pub use tokenizer::{Encoded, Tokenizer};

/// The last words of every error about a file.
const ADVICE: &str = "run examples/data.sh to download the encoder again";
