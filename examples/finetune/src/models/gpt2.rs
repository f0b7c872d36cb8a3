//! GPT-2, a language model that reads from left to right (Radford et al. 2019).
//!
//! A folder holds it as Hugging Face saves it: `config.json`, `model.safetensors` (whole or in shards) and
//! `tokenizer.json`. The modules have the checkpoint's own names, so that a parameter's path is its name there.
//! Nothing here knows of differential privacy: these are burn modules like any other.

mod attention;
mod block;
mod config;
mod init;
mod model;
mod names;
mod save;
mod tokenizer;
mod weights;

pub use attention::Attention;
pub use block::{Activation, Block, Mlp};
pub use config::Gpt2Config;
pub use model::Gpt2;
pub use tokenizer::Tokenizer;

/// The last words of every error about a file.
const ADVICE: &str = "give a folder of a GPT-2 as Hugging Face's `save_pretrained` writes it";
