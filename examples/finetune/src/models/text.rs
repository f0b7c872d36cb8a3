//! Encoders of texts: the BERT family, from a folder as Hugging Face saves it.
//!
//! The folder has `config.json`, `tokenizer.json` and the weights ([`checkpoint`](super::checkpoint)). Its
//! `model_type` is `bert` (all-MiniLM-L6-v2 is one), `roberta`, `xlm-roberta` or `distilbert`; the weights may be
//! those of a task's model, whose head is left out.
//! Nothing here knows of differential privacy: these are burn modules like any other.

mod activation;
mod attention;
mod classifier;
mod config;
mod embeddings;
mod encoded;
mod encoder;
mod family;
mod fields;
mod init;
mod layer;
mod paths;
mod pooling;
mod tokenizer;
mod weights;

pub use activation::Activation;
pub use attention::Attention;
pub use classifier::TextClassifier;
pub use config::TextEncoderConfig;
pub use embeddings::{Embeddings, Positions};
pub use encoded::{Encoded, TextInputs};
pub use encoder::TextEncoder;
pub use family::Family;
pub use layer::{FeedForward, Layer};
pub use pooling::Pooling;
pub use tokenizer::Tokenizer;
