//! Losses that mean the same for one record and for a batch.
//!
//! A per-example gradient is the gradient of the loss of a batch of one. Most losses of a framework
//! are means over all counted positions of all records together. Such a loss gives a record with
//! few counted positions less weight in a batch, and full weight alone. The losses here take the
//! mean inside each record first.

use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Int, IntDType, Tensor};

/// The label of a position that does not count, as in other frameworks.
pub const IGNORED: i32 = -100;

/// Cross entropy over the positions whose label is not [`IGNORED`]: the mean inside each record,
/// then the mean over records.
///
/// A record without a counted position has loss and gradient zero. The engines refuse any other
/// label that is not a class, with
/// [`BatchError::IndexOutOfRange`](crate::error::BatchError::IndexOutOfRange).
///
/// # Shapes
/// - logits: `[batch, positions, classes]`
/// - labels: `[batch, positions]`, in an integer type that holds -100 (an unsigned one ignores nothing)
/// - result: `[1]`
pub fn cross_entropy(logits: Tensor<3>, labels: Tensor<2, Int>) -> Tensor<1> {
    // Compute in a type that holds both, whatever type the data has. As a byte, -100 would be class
    // 156.
    let labels = match labels.dtype() {
        DType::I64 | DType::U64 => labels.cast(IntDType::I64),
        _ => labels.cast(IntDType::I32),
    };
    let ignored = labels.clone().equal_elem(IGNORED);
    let labels = labels.mask_fill(ignored.clone(), 0);
    let [batch, positions, _] = logits.dims();
    let picked = log_softmax(logits, 2).gather(2, labels.reshape([batch, positions, 1]));
    let picked = picked.reshape([batch, positions]).mask_fill(ignored.clone(), 0.0);
    let dtype = picked.dtype();
    let count = ignored.bool_not().float().sum_dim(1).clamp_min(1.0);
    (picked.sum_dim(1) / count.cast(dtype)).mean().neg()
}
