//! Tokens to a score for every token that may come next.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Int, Tensor};

use super::attention::future;
use super::block::Block;

/// GPT-2 with its output layer, which is the word table again: the two are tied.
///
/// Dropout, which a configuration may ask for in training, is not built: fine-tuning under privacy goes without,
/// because its noise regularizes already.
#[derive(Module, Debug)]
pub struct Gpt2 {
    /// The word table, `[vocabulary, width]`, which is the output layer too.
    pub wte: Embedding,
    /// The table of positions, `[positions, width]`.
    pub wpe: Embedding,
    pub h: Vec<Block>,
    pub ln_f: LayerNorm,
}

impl Gpt2 {
    /// The logits of the token after each: `[batch, length]` token ids to `[batch, length, vocabulary]`.
    ///
    /// Padding stands at the end of a text. No token reads what comes after it, so padding changes no logits of the
    /// text and needs no mask of its own; those of the padding itself mean nothing.
    ///
    /// # Panics
    /// If there are more tokens than [`positions`](Self::positions), or an id is not in the word table. The
    /// [`Tokenizer`](super::Tokenizer) of the same folder gives neither.
    pub fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.logits(self.hidden(tokens))
    }

    /// What the output layer reads, `[batch, length, width]`.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn hidden(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [_, length] = tokens.dims();
        let device = tokens.device();
        let positions = Tensor::<1, Int>::arange(0..length as i64, &device).unsqueeze::<2>();
        let hidden = self.wte.forward(tokens) + self.wpe.forward(positions);
        let future = future(length, &device);
        let blocks = self.h.iter();
        let hidden = blocks.fold(hidden, |hidden, block| block.forward(hidden, future.clone()));
        self.ln_f.forward(hidden)
    }

    /// [`hidden`](Self::hidden) to logits, by the word table.
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        hidden.matmul(self.wte.weight.val().transpose().unsqueeze::<3>())
    }

    /// Tokens that the model can read at a time.
    pub fn positions(&self) -> usize {
        self.wpe.weight.shape()[0]
    }

    /// Tokens that the model knows.
    pub fn vocabulary(&self) -> usize {
        self.wte.weight.shape()[0]
    }
}
