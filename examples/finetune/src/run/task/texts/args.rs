//! What tasks with texts can be asked for.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::models::text::Pooling;

/// What tasks with texts can be asked for.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
pub struct TextArgs {
    /// A folder as Hugging Face saves it: BERT, RoBERTa, XLM-R, DistilBERT or MiniLM [default: all-MiniLM-L6-v2, which
    /// examples/data.sh downloads]
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// How a text gets one vector [default: as sentence-transformers wrote into the folder, or else the mean]
    #[arg(long, value_enum)]
    pub pooling: Option<Pooling>,
    /// Tokens of a text (or pair), after which it is cut
    #[arg(long, default_value_t = 48)]
    pub length: usize,
}

impl Default for TextArgs {
    fn default() -> Self {
        Self { model: None, pooling: None, length: 48 }
    }
}
