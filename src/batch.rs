//! What a batch is: tensors whose axis 0 counts examples.
//!
//! [`Batch`] is implemented for burn's tensors of every kind, for tuples, `Option` and `Vec` of
//! batches, and for a struct of your own by one line:
//!
//! ```
//! use burn::tensor::{Int, Tensor};
//!
//! #[derive(Clone, Debug)]
//! struct Digits {
//!     images: Tensor<3>,
//!     labels: Tensor<1, Int>,
//! }
//! burn_dp::impl_batch!(Digits { images, labels });
//! ```

use std::ops::Range;

use burn::tensor::{Bool, Device, Int, Shape, Tensor};
use burn_dispatch::DispatchTensor;

use crate::error::{Error, Result};

/// Tensors with the examples of a batch on axis 0, all of the same length there.
pub trait Batch: Clone {
    /// Rebuilds the batch with every tensor replaced by what `mapper` makes of it, in a fixed order.
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self;
}

/// A function on every tensor of a [`Batch`].
pub trait BatchMapper {
    /// Maps a float tensor.
    fn map_float<const D: usize>(&mut self, tensor: Tensor<D>) -> Tensor<D>;
    /// Maps an int tensor.
    fn map_int<const D: usize>(&mut self, tensor: Tensor<D, Int>) -> Tensor<D, Int>;
    /// Maps a bool tensor.
    fn map_bool<const D: usize>(&mut self, tensor: Tensor<D, Bool>) -> Tensor<D, Bool>;
}

/// Implements [`Batch`](crate::batch::Batch) for a struct whose named fields are all batches.
#[macro_export]
macro_rules! impl_batch {
    ($name:ident $(<$($param:ident),*>)? { $($field:ident),+ $(,)? }) => {
        impl $(<$($param: $crate::batch::Batch),*>)? $crate::batch::Batch
            for $name $(<$($param),*>)?
        {
            fn map<__M: $crate::batch::BatchMapper>(self, mapper: &mut __M) -> Self {
                Self { $($field: $crate::batch::Batch::map(self.$field, mapper)),+ }
            }
        }
    };
}

impl<const D: usize> Batch for Tensor<D> {
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
        mapper.map_float(self)
    }
}

impl<const D: usize> Batch for Tensor<D, Int> {
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
        mapper.map_int(self)
    }
}

impl<const D: usize> Batch for Tensor<D, Bool> {
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
        mapper.map_bool(self)
    }
}

impl<T: Batch> Batch for Option<T> {
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
        self.map(|inner| inner.map(mapper))
    }
}

impl<T: Batch> Batch for Vec<T> {
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
        self.into_iter().map(|inner| Batch::map(inner, mapper)).collect()
    }
}

macro_rules! tuples {
    ($(($($name:ident $index:tt),+))*) => {$(
        impl<$($name: Batch),+> Batch for ($($name,)+) {
            fn map<Mapper: BatchMapper>(self, mapper: &mut Mapper) -> Self {
                ($(self.$index.map(mapper),)+)
            }
        }
    )*};
}
tuples! { (A 0) (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) (A 0, B 1, C 2, D 3, E 4) }

/// The number of examples in `batch`.
///
/// # Errors
/// When the batch holds no tensor, a tensor without an axis, or tensors of different lengths.
pub fn len<X: Batch>(batch: &X) -> Result<usize> {
    length(&shapes(batch))
}

/// The examples `range` of a batch, which must lie inside it.
///
/// # Errors
/// As [`len`], and when the range reaches past the end.
pub fn slice<X: Batch>(batch: &X, range: Range<usize>) -> Result<X> {
    let length = len(batch)?;
    if range.start > range.end || range.end > length {
        return Err(Error::setting(
            "batch range",
            format!("{range:?}"),
            "inside the batch (start <= end <= number of examples)",
        ));
    }
    Ok(batch.clone().map(&mut Slicer { range }))
}

/// One batch with the examples of all `parts`, in order.
///
/// # Errors
/// When `parts` is empty, or its members hold different numbers of tensors or examples of different
/// shapes: pad them to one shape, or batch examples of one shape together.
pub fn concat<X: Batch>(parts: &[X]) -> Result<X> {
    let Some(first) = parts.first() else {
        return Err(Error::setting("number of batches", 0, "at least 1"));
    };
    let reference = shapes(first);
    length(&reference)?;
    let leaves: Vec<Vec<DispatchTensor>> = parts.iter().map(leaves).collect();
    for part in parts {
        let other = shapes(part);
        length(&other)?;
        let same = other.len() == reference.len()
            && other.iter().zip(&reference).all(|(a, b)| a.as_slice()[1..] == b.as_slice()[1..]);
        if !same {
            return Err(Error::ExampleShapesDiffer {
                first: describe(&reference),
                other: describe(&other),
            });
        }
    }
    Ok(first.clone().map(&mut Joiner { leaves, next: 0 }))
}

/// The shape of every tensor of the batch, in mapping order.
pub(crate) fn shapes<X: Batch>(batch: &X) -> Vec<Shape> {
    let mut shapes = Shapes(Vec::new());
    let _ = batch.clone().map(&mut shapes);
    shapes.0
}

/// The common length of axis 0.
pub(crate) fn length(shapes: &[Shape]) -> Result<usize> {
    let lengths: Vec<usize> = shapes
        .iter()
        .map(|shape| shape.as_slice().first().copied())
        .collect::<Option<_>>()
        .ok_or(Error::BatchWithoutExamples { shapes: describe(shapes) })?;
    match lengths.first() {
        None => Err(Error::BatchWithoutExamples { shapes: describe(shapes) }),
        Some(first) if lengths.iter().all(|length| length == first) => Ok(*first),
        Some(_) => Err(Error::BatchLengthsDiffer { lengths }),
    }
}

/// Every tensor of the batch on its own device, without autodiff, in mapping order.
pub(crate) fn leaves<X: Batch>(batch: &X) -> Vec<DispatchTensor> {
    let mut leaves = Leaves(Vec::new());
    let _ = batch.clone().map(&mut leaves);
    leaves.0
}

/// The batch on `device`.
pub(crate) fn to_device<X: Batch>(batch: X, device: &Device) -> X {
    batch.map(&mut Mover(device))
}

/// The batch on the autodiff variant of its device, which is where burn's modules train.
pub(crate) fn on_autodiff<X: Batch>(batch: X) -> X {
    batch.map(&mut Autodiff)
}

fn describe(shapes: &[Shape]) -> String {
    let shapes: Vec<&[usize]> = shapes.iter().map(|shape| shape.as_slice()).collect();
    format!("{shapes:?}")
}

/// A mapper that does one and the same thing to every kind of tensor.
macro_rules! mapper {
    ($name:ty, |$this:ident, $tensor:ident| $body:expr) => {
        impl BatchMapper for $name {
            fn map_float<const D: usize>(&mut self, $tensor: Tensor<D>) -> Tensor<D> {
                let $this = self;
                $body
            }
            fn map_int<const D: usize>(&mut self, $tensor: Tensor<D, Int>) -> Tensor<D, Int> {
                let $this = self;
                $body
            }
            fn map_bool<const D: usize>(&mut self, $tensor: Tensor<D, Bool>) -> Tensor<D, Bool> {
                let $this = self;
                $body
            }
        }
    };
}

struct Shapes(Vec<Shape>);
mapper!(Shapes, |this, tensor| {
    this.0.push(tensor.shape());
    tensor
});

struct Leaves(Vec<DispatchTensor>);
mapper!(Leaves, |this, tensor| {
    this.0.push(tensor.clone().without_autodiff().into_dispatch());
    tensor
});

struct Mover<'d>(&'d Device);
mapper!(Mover<'_>, |this, tensor| tensor.to_device(this.0));

struct Autodiff;
mapper!(Autodiff, |_this, tensor| tensor.without_autodiff().autodiff());

struct Slicer {
    range: Range<usize>,
}
mapper!(Slicer, |this, tensor| tensor.slice_dim(0, this.range.clone()));

struct Joiner {
    leaves: Vec<Vec<DispatchTensor>>,
    next: usize,
}
mapper!(Joiner, |this, tensor| {
    // Every part was checked to hold as many tensors as the first, which is the one mapped.
    let _ = tensor;
    let index = this.next;
    this.next += 1;
    let parts = this.leaves.iter().map(|part| Tensor::from_dispatch(part[index].clone())).collect();
    Tensor::cat(parts, 0)
});
