//! Kernels of the engine's own, for operations in which burn's Flex backend takes several times as
//! long as the arithmetic needs.
//!
//! Flex keeps its tensors on the host. A rule may therefore take the numbers out, work on slices,
//! and put them back, without a copy if nothing else holds the tensor. All of this is for f32 and
//! for batched operations. The backend's own kernels are used for other types, and in the unbatched
//! operations that tests compare with.

mod conv;
mod gelu;
mod pool;
mod softmax;
mod span;
mod wide;
mod windows;

use burn::tensor::{TensorData, read_sync};
use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, DType};
use burn_ir::TensorIr;

pub(super) use conv::{conv2d, suits};
pub(super) use gelu::{gelu, gelu_backward};
pub(super) use pool::max_pool;
pub(super) use softmax::{softmax, softmax_backward};
pub(crate) use windows::{Windows, windows};

use crate::error::{Error, Result};
use crate::per_example::replay::Replay;

/// Whether these kernels serve an operation on `x`.
pub(crate) fn serves<B: Backend>(r: &Replay<'_, B>, x: &TensorIr) -> bool {
    r.is_on_flex() && r.lead() == 1 && x.dtype == DType::F32
}

/// The numbers of a tensor, without a copy if nothing else holds it.
fn read<B: Backend>(x: FloatTensor<B>) -> Result<TensorData> {
    read_sync(B::float_into_data(x)).map_err(unreadable)
}

fn unreadable(error: impl std::fmt::Debug) -> Error {
    Error::Device { reason: format!("{error:?}") }
}
