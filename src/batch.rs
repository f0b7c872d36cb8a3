//! A batch: tensors whose axis 0 counts examples.
//!
//! [`Batch`] is implemented for burn's tensors of every kind and for tuples, `Option` and `Vec` of
//! batches. For a struct or enum of your own, one line implements it,
//! [`impl_batch!`](crate::impl_batch):
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

mod structure;

use std::ops::Range;

use burn::tensor::{Bool, Device, Int, Shape, Tensor};
use burn_backend::TensorMetadata;
use burn_dispatch::DispatchTensor;

use crate::error::{BatchError, Error, Result};

pub use structure::Structure;

/// Tensors with the examples of a batch on axis 0, all of the same length there.
///
/// Implement it with [`impl_batch!`](crate::impl_batch). The macro also reports the batch's
/// [`Structure`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a batch of examples",
    label = "not a tensor, nor made of tensors by `impl_batch!`",
    note = "a batch is a tensor with the examples on axis 0, or a tuple, `Option` or `Vec` of batches",
    note = "for a struct or enum of your own: `burn_dp::impl_batch!(Name {{ field, other }})`, with `#[key]` or \
            `#[ignore]` before a field that holds no tensors"
)]
pub trait Batch: Clone {
    /// Rebuilds the batch with `mapper` applied to every tensor, always in the same order.
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self;

    /// Reports everything in the batch that is not a tensor: options, lengths of lists, variants,
    /// key fields.
    ///
    /// The provided method reports "unknown", because an implementation written by hand may hold
    /// anything. If a part of a batch is unknown, [`Traced`](crate::per_example::Traced) traces
    /// every batch, which is correct but slow, and [`concat`](fn@concat) is refused. `impl_batch!`
    /// writes this method and covers every field. A wrapper may forward it, if it holds nothing
    /// else.
    fn structure(&self, structure: &mut Structure) {
        structure.unknown(std::any::type_name::<Self>());
    }
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

/// Implements [`Batch`](crate::batch::Batch) for a struct or an enum.
///
/// List every field: by name, or for a tuple by any name, in order. Mark a field that is not a
/// batch:
///
/// - `#[key]`: the loss computes with it (a mode, a number of classes). It becomes part of the key
///   by which [`Traced`](crate::per_example::Traced) looks up a trace, as its `Debug` prints it.
/// - `#[ignore]`: the loss does not compute with it (identifiers, strings). The engines ignore it.
///
/// [`slice`](crate::batch::slice) keeps both kinds as they are, and so does
/// [`Loop`](crate::per_example::Loop): a list of identifiers is *not* cut.
/// [`concat`](crate::batch::concat) requires equal keys and keeps the ignored fields of the first
/// batch.
///
/// ```
/// use burn::tensor::{Int, Tensor};
/// use burn_dp::impl_batch;
///
/// #[derive(Clone)]
/// struct Notes {
///     tokens: Tensor<2, Int>,
///     labels: Option<Tensor<1, Int>>,
///     smoothing: f32,
///     names: Vec<String>,
/// }
/// impl_batch!(Notes { tokens, labels, #[key] smoothing, #[ignore] names });
///
/// #[derive(Clone)]
/// struct Pair<A, B>(A, B);
/// impl_batch!(Pair<A, B>(first, second));
///
/// #[derive(Clone)]
/// enum Task {
///     Classes { tokens: Tensor<2, Int>, classes: Tensor<1, Int> },
///     Values(Tensor<2, Int>, Tensor<1>),
/// }
/// impl_batch!(enum Task { Classes { tokens, classes }, Values(tokens, values) });
/// ```
#[macro_export]
macro_rules! impl_batch {
    (enum $name:ident $(<$($param:ident),* $(,)?>)? {
        $($variant:ident
            $({ $($(#[$kind:ident])? $field:ident),* $(,)? })?
            $(( $($(#[$place_kind:ident])? $place:ident),* $(,)? ))?
        ),+ $(,)?
    }) => {
        impl $(<$($param: $crate::batch::Batch),*>)? $crate::batch::Batch
            for $name $(<$($param),*>)?
        {
            fn map<__M: $crate::batch::BatchMapper>(self, mapper: &mut __M) -> Self {
                match self {
                    $(Self::$variant $({ $($field),* })? $(( $($place),* ))? => {
                        let _ = &mapper;
                        Self::$variant
                        $({ $($field: $crate::__batch_field!(map $(#[$kind])? $field, mapper)),* })?
                        $(( $($crate::__batch_field!(map $(#[$place_kind])? $place, mapper)),* ))?
                    })+
                }
            }

            fn structure(&self, structure: &mut $crate::batch::Structure) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(( $($place),* ))? => {
                        structure.variant(::core::stringify!($variant));
                        $($($crate::__batch_field!(tell $(#[$kind])? $field, structure);)*)?
                        $($($crate::__batch_field!(tell $(#[$place_kind])? $place, structure);)*)?
                    })+
                }
            }
        }
    };
    ($name:ident $(<$($param:ident),* $(,)?>)? {
        $($(#[$kind:ident])? $field:ident),+ $(,)?
    }) => {
        impl $(<$($param: $crate::batch::Batch),*>)? $crate::batch::Batch
            for $name $(<$($param),*>)?
        {
            fn map<__M: $crate::batch::BatchMapper>(self, mapper: &mut __M) -> Self {
                let Self { $($field),+ } = self;
                Self { $($field: $crate::__batch_field!(map $(#[$kind])? $field, mapper)),+ }
            }

            fn structure(&self, structure: &mut $crate::batch::Structure) {
                let Self { $($field),+ } = self;
                $($crate::__batch_field!(tell $(#[$kind])? $field, structure);)+
            }
        }
    };
    ($name:ident $(<$($param:ident),* $(,)?>)? (
        $($(#[$kind:ident])? $place:ident),+ $(,)?
    )) => {
        impl $(<$($param: $crate::batch::Batch),*>)? $crate::batch::Batch
            for $name $(<$($param),*>)?
        {
            fn map<__M: $crate::batch::BatchMapper>(self, mapper: &mut __M) -> Self {
                let Self($($place),+) = self;
                Self($($crate::__batch_field!(map $(#[$kind])? $place, mapper)),+)
            }

            fn structure(&self, structure: &mut $crate::batch::Structure) {
                let Self($($place),+) = self;
                $($crate::__batch_field!(tell $(#[$kind])? $place, structure);)+
            }
        }
    };
}

/// What [`impl_batch!`] does with one field.
#[doc(hidden)]
#[macro_export]
macro_rules! __batch_field {
    (map #[key] $field:ident, $mapper:ident) => {
        $field
    };
    (map #[ignore] $field:ident, $mapper:ident) => {
        $field
    };
    (map $field:ident, $mapper:ident) => {
        $crate::batch::Batch::map($field, $mapper)
    };
    (tell #[key] $field:ident, $structure:ident) => {
        $structure.field(::core::stringify!($field), |inner| inner.key($field))
    };
    (tell #[ignore] $field:ident, $structure:ident) => {
        let _ = $field;
    };
    (tell $field:ident, $structure:ident) => {
        $structure.field(::core::stringify!($field), |inner| {
            $crate::batch::Batch::structure($field, inner)
        })
    };
    ($what:ident #[$kind:ident] $($rest:tt)*) => {
        ::core::compile_error!("a field that is no batch is marked `#[key]` or `#[ignore]`")
    };
}

impl<const D: usize> Batch for Tensor<D> {
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
        mapper.map_float(self)
    }

    fn structure(&self, structure: &mut Structure) {
        structure.tensor("float", D);
    }
}

impl<const D: usize> Batch for Tensor<D, Int> {
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
        mapper.map_int(self)
    }

    fn structure(&self, structure: &mut Structure) {
        structure.tensor("int", D);
    }
}

impl<const D: usize> Batch for Tensor<D, Bool> {
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
        mapper.map_bool(self)
    }

    fn structure(&self, structure: &mut Structure) {
        structure.tensor("bool", D);
    }
}

impl<T: Batch> Batch for Option<T> {
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
        self.map(|inner| inner.map(mapper))
    }

    fn structure(&self, structure: &mut Structure) {
        structure.option(self.is_some());
        if let Some(inner) = self {
            inner.structure(structure);
        }
    }
}

impl<T: Batch> Batch for Vec<T> {
    fn map<M: BatchMapper>(self, mapper: &mut M) -> Self {
        self.into_iter().map(|inner| Batch::map(inner, mapper)).collect()
    }

    fn structure(&self, structure: &mut Structure) {
        structure.list(self.len());
        for (index, entry) in self.iter().enumerate() {
            structure.entry(index, |inner| entry.structure(inner));
        }
    }
}

macro_rules! tuples {
    ($(($($name:ident $index:tt),+))*) => {$(
        impl<$($name: Batch),+> Batch for ($($name,)+) {
            fn map<Mapper: BatchMapper>(self, mapper: &mut Mapper) -> Self {
                ($(self.$index.map(mapper),)+)
            }

            fn structure(&self, structure: &mut Structure) {
                $(structure.field(stringify!($index), |inner| self.$index.structure(inner));)+
            }
        }
    )*};
}
tuples! {
    (A 0)
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10)
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11)
}

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
/// As [`len`], and when the range extends past the end.
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

/// One batch with the examples of all `parts`, in order. Everything else that they hold has to be
/// equal (options, lists, variants, key fields). Ignored fields are those of the first part.
///
/// # Errors
/// When `parts` is empty, or examples have different shapes: pad them to one shape, or batch
/// examples of one shape together. [`BatchError::StructuresDiffer`] where one part holds something
/// that another does not. [`BatchError::StructureUnknown`] where this cannot be determined, because
/// a type implements [`Batch`] by hand.
pub fn concat<X: Batch>(parts: &[X]) -> Result<X> {
    let Some(first) = parts.first() else {
        return Err(Error::setting("number of batches", 0, "at least 1"));
    };
    let reference = shapes(first);
    length(&reference)?;
    let structure = structure(first);
    let leaves: Vec<Vec<DispatchTensor>> = parts.iter().map(leaves).collect();
    for (part, own) in parts.iter().zip(&leaves).skip(1) {
        let other = shapes(part);
        length(&other)?;
        comparable(&structure, &reference)?;
        let others = self::structure(part);
        comparable(&others, &other)?;
        if let Some(difference) = structure.difference(&others) {
            return Err(Error::Batch(BatchError::StructuresDiffer { difference }));
        }
        let same = other.len() == reference.len()
            && other.iter().zip(&reference).all(|(a, b)| a.as_slice()[1..] == b.as_slice()[1..]);
        if !same {
            return Err(Error::Batch(BatchError::ExampleShapesDiffer {
                first: describe(&reference),
                other: describe(&other),
            }));
        }
        for (a, b) in leaves.iter().take(1).flatten().zip(own) {
            let (a, b) = (a.dtype(), b.dtype());
            if a != b {
                let difference = format!("a tensor is {a:?} in one and {b:?} in another");
                return Err(Error::Batch(BatchError::StructuresDiffer { difference }));
            }
        }
    }
    Ok(first.clone().map(&mut Joiner { leaves, next: 0 }))
}

/// What the batch reports about itself besides its tensors.
pub(crate) fn structure<X: Batch>(batch: &X) -> Structure {
    let mut structure = Structure::default();
    batch.structure(&mut structure);
    structure
}

fn comparable(structure: &Structure, shapes: &[Shape]) -> Result<()> {
    let type_name = structure.unknown_type();
    if type_name.is_none() && structure.tensors() == shapes.len() {
        return Ok(());
    }
    let type_name = type_name.unwrap_or("a part of the batch").to_owned();
    Err(Error::Batch(BatchError::StructureUnknown { type_name }))
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
        .ok_or(Error::Batch(BatchError::WithoutExamples { shapes: describe(shapes) }))?;
    match lengths.first() {
        None => Err(Error::Batch(BatchError::WithoutExamples { shapes: describe(shapes) })),
        Some(first) if lengths.iter().all(|length| length == first) => Ok(*first),
        Some(_) => Err(Error::Batch(BatchError::LengthsDiffer { lengths })),
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

/// A mapper that does the same to every kind of tensor.
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
    // The first part is mapped, and every part was checked to hold as many tensors as the first.
    let _ = tensor;
    let index = this.next;
    this.next += 1;
    let parts = this.leaves.iter().map(|part| Tensor::from_dispatch(part[index].clone())).collect();
    Tensor::cat(parts, 0)
});
