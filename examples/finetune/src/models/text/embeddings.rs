//! Token ids to vectors.

use burn::module::Module;
use burn::nn::{Embedding, LayerNorm};
use burn::tensor::{Int, Tensor};

/// What a token means by itself and where it stands.
#[derive(Module, Debug)]
pub struct Embeddings {
    pub word: Embedding,
    pub position: Embedding,
    /// Tells the first text of a pair from the second, in families that do.
    pub token_type: Option<Embedding>,
    pub norm: LayerNorm,
    #[module(skip)]
    pub positions: Positions,
}

/// How tokens are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// Every token of a row, from zero.
    FromZero,
    /// Only tokens other than this one, which is padding, from its id plus one. Padding itself has its id as its
    /// position. So RoBERTa counts.
    AfterPadding(usize),
}

impl Positions {
    /// The rows of the table of positions that are never a token's.
    pub(super) fn unused(self) -> usize {
        match self {
            Self::FromZero => 0,
            Self::AfterPadding(padding) => padding + 1,
        }
    }
}

impl Embeddings {
    /// `[batch, length]` to `[batch, length, width]`. Without `types`, every token has the first.
    pub(super) fn forward(
        &self,
        tokens: Tensor<2, Int>,
        types: Option<Tensor<2, Int>>,
    ) -> Tensor<3> {
        let words = self.word.forward(tokens.clone());
        let hidden = words + self.position(tokens);
        let hidden = match (&self.token_type, types) {
            (None, _) => hidden,
            (Some(table), Some(types)) => hidden + table.forward(types),
            (Some(table), None) => hidden + table.weight.val().slice_dim(0, 0..1).unsqueeze::<3>(),
        };
        self.norm.forward(hidden)
    }

    /// `[batch, length, width]`, or `[1, length, width]` where it is the same for all.
    fn position(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [_, length] = tokens.dims();
        match self.positions {
            Positions::FromZero => {
                self.position.weight.val().slice_dim(0, 0..length).unsqueeze::<3>()
            }
            Positions::AfterPadding(padding) => {
                let padding = padding as i64;
                let counted = tokens.not_equal_elem(padding).int();
                self.position.forward(counted.clone().cumsum(1) * counted + padding)
            }
        }
    }
}
