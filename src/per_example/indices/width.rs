//! The type in which values are computed from indices.

use burn_backend::tensor::IntTensor;
use burn_backend::{Backend, DType, Scalar, TensorMetadata};

use crate::device::Capabilities;

/// The first row of each of `count` blocks of `rows` rows, `[count]`: offsets into a joint table.
/// `None` if the type does not hold the last row.
pub(crate) fn offsets<B: Backend>(
    count: usize,
    rows: usize,
    dtype: DType,
    device: &B::Device,
) -> Option<IntTensor<B>> {
    let largest = if dtype == DType::I64 { i64::MAX } else { i64::from(i32::MAX) };
    let all = count.checked_mul(rows).and_then(|all| i64::try_from(all).ok())?;
    (all <= largest).then(|| {
        let numbers = B::int_arange(0..count as i64, device, dtype.into());
        B::int_mul_scalar(numbers, Scalar::Int(rows as i64))
    })
}

/// The type for computing with indices of the type `given`. It holds every index and every offset.
/// It has 64 bits on the host and if the data has them. Not every GPU supports 64 bits.
pub(crate) fn index_type<B: Backend>(given: DType, device: &B::Device) -> DType {
    match given {
        DType::I64 | DType::U64 => DType::I64,
        _ if Capabilities::of::<B>(device).computes_on_host => DType::I64,
        _ => DType::I32,
    }
}

/// `indices` in [`index_type`]. (An index that is too large for the signed type becomes negative or
/// the type's largest number, and so is out of every range.)
pub(crate) fn widened<B: Backend>(indices: IntTensor<B>) -> IntTensor<B> {
    let dtype = index_type::<B>(indices.dtype(), &indices.device());
    cast::<B>(indices, dtype)
}

/// Converts index tensors to one type, after converting each to its [`index_type`].
pub(crate) fn of_one_type<B: Backend>(parts: Vec<IntTensor<B>>) -> Vec<IntTensor<B>> {
    let is_wide = parts.iter().any(|part| part.dtype() == DType::I64);
    let wide = if is_wide { DType::I64 } else { DType::I32 };
    parts.into_iter().map(|part| cast::<B>(part, wide)).collect()
}

pub(super) fn cast<B: Backend>(x: IntTensor<B>, dtype: DType) -> IntTensor<B> {
    if x.dtype() == dtype { x } else { B::int_cast(x, dtype.into()) }
}

pub(super) fn clamped<B: Backend>(indices: IntTensor<B>, bound: usize) -> IntTensor<B> {
    let last = bound.saturating_sub(1) as i64;
    B::int_clamp(indices, Scalar::Int(0), Scalar::Int(last))
}
