//! Language models: texts to learn from, private fine-tuning, perplexity, and text that a model writes.
//!
//! A record is one text. It is what differential privacy protects: all of its tokens at once, whatever its length.

mod fine_tune;
mod generate;
mod loss;
mod perplexity;
mod report;
mod settings;
mod stepper;
mod texts;

pub use fine_tune::fine_tune;
pub use generate::{Choice, Generation, generate};
pub use loss::loss;
pub use perplexity::perplexity;
pub use report::Report;
pub use settings::{FineTuning, Privacy, Trained};
pub use texts::{NextTokens, Texts};
