//! The type in which indices are computed with.

use burn_backend::tensor::IntTensor;
use burn_backend::{Backend, DType, Scalar, TensorMetadata};

use crate::device::Capabilities;

/// The first row of each of `count` blocks of `rows` rows, `[count]`: offsets into a joint table. `None` where the type
/// does not hold the last row.
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

/// The type that indices of the type `given` are computed in: it holds every index and every offset. 64 bits on the
/// host and where the data has them; not every GPU does.
pub(crate) fn index_type<B: Backend>(given: DType, device: &B::Device) -> DType {
    match given {
        DType::I64 | DType::U64 => DType::I64,
        _ if Capabilities::of::<B>(device).computes_on_host => DType::I64,
        _ => DType::I32,
    }
}

/// `indices` in [`index_type`]. (What is too large for the signed type becomes negative or its largest number, and
/// so is out of every range.)
pub(crate) fn widened<B: Backend>(indices: IntTensor<B>) -> IntTensor<B> {
    let dtype = index_type::<B>(indices.dtype(), &indices.device());
    cast::<B>(indices, dtype)
}

/// Index tensors, each in its [`index_type`], in one type.
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
