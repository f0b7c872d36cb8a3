//! Tokens to one vector each.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Int, Tensor};

use super::attention::padding_bias;
use super::layer::Layer;

/// A BERT encoder without its pooler.
#[derive(Module, Debug)]
pub struct TextEncoder {
    pub embeddings: Embeddings,
    pub layers: Vec<Layer>,
}

impl TextEncoder {
    /// `[batch, length]` token ids, and a mask that is 1 on tokens and 0 on padding, to `[batch, length,
    /// width]`.
    ///
    /// # Panics
    /// If there are more tokens than [`max_length`](Self::max_length), or an id is not in the word table. The
    /// [`Tokenizer`](super::Tokenizer) of the same folder gives neither.
    pub fn forward(&self, tokens: Tensor<2, Int>, mask: Tensor<2>) -> Tensor<3> {
        let bias = padding_bias(mask);
        let hidden = self.embeddings.forward(tokens);
        self.layers.iter().fold(hidden, |hidden, layer| layer.forward(hidden, bias.clone()))
    }

    /// Tokens that a text may have.
    pub fn max_length(&self) -> usize {
        self.embeddings.position.weight.shape()[0]
    }

    /// Numbers that stand for one token.
    pub fn width(&self) -> usize {
        self.embeddings.position.weight.shape()[1]
    }
}

/// What a token means by itself and where it stands.
#[derive(Module, Debug)]
pub struct Embeddings {
    pub word: Embedding,
    pub position: Embedding,
    /// Tells the first text of a pair from the second; here there is only a first.
    pub token_type: Embedding,
    pub norm: LayerNorm,
}

impl Embeddings {
    fn forward(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [_, length] = tokens.dims();
        let position = self.position.weight.val().slice_dim(0, 0..length).unsqueeze::<3>();
        let token_type = self.token_type.weight.val().slice_dim(0, 0..1).unsqueeze::<3>();
        self.norm.forward(self.word.forward(tokens) + position + token_type)
    }
}
