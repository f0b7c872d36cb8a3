//! One batching rule per operation of burn's intermediate representation.
//!
//! The matches are exhaustive on purpose: a new burn operation is a compile error here, never a
//! silent fallback. An operation that cannot be batched is refused by name.

mod activation;
mod base;
pub(crate) mod flex;
mod index;
mod matmul;
mod module;
mod numeric;
mod refused;
mod scalar_math;

use burn_backend::Backend;
use burn_ir::OperationIr;

use self::refused::refused;
use super::replay::{Applied, Replay};
use super::simplify::SoftmaxBackward;
use crate::error::Result;

/// Executes `op` for every example of the replay, or reports that each example has to run by
/// itself.
pub(super) fn apply<B: Backend>(op: &OperationIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    match op {
        OperationIr::BaseFloat(o) | OperationIr::BaseInt(o) | OperationIr::BaseBool(o) => {
            base::apply(o, r)
        }
        OperationIr::NumericFloat(_, o) | OperationIr::NumericInt(_, o) => numeric::apply(o, r),
        OperationIr::Float(_, o) => scalar_math::float(o, op, r),
        OperationIr::Int(o) => scalar_math::int(o, r),
        OperationIr::Bool(o) => scalar_math::bool(o, r),
        OperationIr::Module(o) => module::apply(o, r),
        OperationIr::Activation(o) => activation::apply(o, r),
        // Values of initialized tensors are given to the replay before it starts. The graph's own
        // liveness analysis frees buffers.
        OperationIr::Init(_) | OperationIr::Drop(_) => Ok(Applied::Batched),
        OperationIr::Custom(o) => match SoftmaxBackward::of(o) {
            Some(o) => activation::softmax_backward(&o, r),
            None => Err(refused(&format!("custom operation {}", o.id))),
        },
        OperationIr::Distributed(_) => Err(refused("distributed operation")),
    }
}
