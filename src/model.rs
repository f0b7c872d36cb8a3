//! A model as this library sees it: its parameters with path and id, in visiting order.

mod nearest;
mod tensors;
mod walk;

pub(crate) use nearest::nearest;
pub(crate) use tensors::{ModuleTensor, ModuleTensors};
pub(crate) use walk::{Change, Place, Visit, change, visit};
