//! Where the parameters of a [`TextClassifier`](super::TextClassifier) are that methods of fine-tuning single out,
//! however deep the encoder is.

use super::TextEncoderConfig;

impl TextEncoderConfig {
    /// A regular expression for the dense weights of all layers, which adapters are put on. Their axis 1 counts
    /// outputs.
    pub fn adapted() -> &'static str {
        r"layers\.\d+\.(attention\.(query|key|value|output)|feed_forward\.(up|down))\.weight$"
    }

    /// The path of the last layer.
    pub fn last_layer(&self) -> String {
        format!("encoder.layers.{}", self.num_hidden_layers.saturating_sub(1))
    }
}
