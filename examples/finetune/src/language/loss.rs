//! The loss of a batch of texts.

use burn::tensor::Tensor;
use burn_dp::loss::cross_entropy;

use super::texts::NextTokens;
use crate::models::gpt2::Gpt2;

/// The mean over a record's tokens, then over records. So each record counts the same, however long it is, and its loss
/// is the same in every batch. A mean over all tokens of a batch, as is usual without privacy, would not be that of a
/// batch of one record, which per-example gradients are gradients of.
///
/// # Shapes
/// - result: `[1]`
pub fn loss(model: &Gpt2, batch: NextTokens) -> Tensor<1> {
    cross_entropy(model.forward(batch.tokens), batch.next)
}
