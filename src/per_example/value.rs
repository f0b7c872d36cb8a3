//! A tensor of any kind, so that one rule can serve float, int and bool alike.

use burn_backend::tensor::{BoolTensor, FloatTensor, IndexingUpdateOp, IntTensor};
use burn_backend::{Backend, DType, Scalar, Shape, Slice, TensorMetadata};

use crate::error::{Error, Result, TraceError};

/// A rank-dynamic tensor primitive of backend `B`.
pub(crate) enum Value<B: Backend> {
    Float(FloatTensor<B>),
    Int(IntTensor<B>),
    Bool(BoolTensor<B>),
}

impl<B: Backend> Clone for Value<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Float(t) => Self::Float(t.clone()),
            Self::Int(t) => Self::Int(t.clone()),
            Self::Bool(t) => Self::Bool(t.clone()),
        }
    }
}

/// Operations that every kind has, each with the backend's three names for it.
macro_rules! any_kind {
    ($($name:ident($($arg:ident: $ty:ty),*) = $float:ident, $int:ident, $bool:ident;)*) => {$(
        pub(crate) fn $name(self, $($arg: $ty),*) -> Self {
            match self {
                Self::Float(t) => Self::Float(B::$float(t, $($arg),*)),
                Self::Int(t) => Self::Int(B::$int(t, $($arg),*)),
                Self::Bool(t) => Self::Bool(B::$bool(t, $($arg),*)),
            }
        }
    )*};
}

/// Operations of numbers: float or int in, the same kind out.
macro_rules! number {
    ($($name:ident($($arg:ident: $ty:ty),*) = $float:ident, $int:ident;)*) => {$(
        pub(crate) fn $name(self, $($arg: $ty),*) -> Result<Self> {
            match self {
                Self::Float(t) => Ok(Self::Float(B::$float(t, $($arg),*))),
                Self::Int(t) => Ok(Self::Int(B::$int(t, $($arg),*))),
                Self::Bool(_) => Err(wrong_kind(stringify!($name))),
            }
        }
    )*};
}

/// Operations of two numbers of one kind.
macro_rules! binary {
    ($($name:ident = $float:ident, $int:ident;)*) => {$(
        pub(crate) fn $name(self, rhs: Self) -> Result<Self> {
            match (self, rhs) {
                (Self::Float(a), Self::Float(b)) => Ok(Self::Float(B::$float(a, b))),
                (Self::Int(a), Self::Int(b)) => Ok(Self::Int(B::$int(a, b))),
                _ => Err(wrong_kind(stringify!($name))),
            }
        }
    )*};
}

/// Comparisons of two numbers; the result is bool of the type `out`.
macro_rules! compare {
    ($($name:ident, $name_elem:ident = $float:ident, $float_elem:ident, $int:ident, $int_elem:ident;)*) => {$(
        pub(crate) fn $name(self, rhs: Self, out: DType) -> Result<Self> {
            match (self, rhs) {
                (Self::Float(a), Self::Float(b)) => Ok(Self::Bool(B::$float(a, b, out.into()))),
                (Self::Int(a), Self::Int(b)) => Ok(Self::Bool(B::$int(a, b, out.into()))),
                _ => Err(wrong_kind(stringify!($name))),
            }
        }
        pub(crate) fn $name_elem(self, rhs: Scalar, out: DType) -> Result<Self> {
            match self {
                Self::Float(a) => Ok(Self::Bool(B::$float_elem(a, rhs, out.into()))),
                Self::Int(a) => Ok(Self::Bool(B::$int_elem(a, rhs, out.into()))),
                Self::Bool(_) => Err(wrong_kind(stringify!($name_elem))),
            }
        }
    )*};
}

/// Operations that compare, of any kind; the result is bool of the type `out`, which burn's bool operations know.
macro_rules! equality {
    ($($name:ident, $name_elem:ident = $float:ident, $float_elem:ident, $int:ident, $int_elem:ident, $bool:ident, $bool_elem:ident;)*) => {$(
        pub(crate) fn $name(self, rhs: Self, out: DType) -> Result<Self> {
            Ok(Self::Bool(match (self, rhs) {
                (Self::Float(a), Self::Float(b)) => B::$float(a, b, out.into()),
                (Self::Int(a), Self::Int(b)) => B::$int(a, b, out.into()),
                (Self::Bool(a), Self::Bool(b)) => B::$bool(a, b),
                _ => return Err(wrong_kind(stringify!($name))),
            }))
        }
        pub(crate) fn $name_elem(self, rhs: Scalar, out: DType) -> Self {
            Self::Bool(match self {
                Self::Float(a) => B::$float_elem(a, rhs, out.into()),
                Self::Int(a) => B::$int_elem(a, rhs, out.into()),
                Self::Bool(a) => B::$bool_elem(a, rhs),
            })
        }
    )*};
}

/// Reductions of any kind to bool.
macro_rules! truth {
    ($($name:ident = $float:ident, $int:ident, $bool:ident;)*) => {$(
        pub(crate) fn $name(self, axis: usize, out: DType) -> Self {
            Self::Bool(match self {
                Self::Float(t) => B::$float(t, axis, out.into()),
                Self::Int(t) => B::$int(t, axis, out.into()),
                Self::Bool(t) => B::$bool(t, axis),
            })
        }
    )*};
}

/// Positions of numbers along an axis, as integers of the type `out`; those of integers have the type of these.
macro_rules! positions {
    ($($name:ident($($arg:ident: $ty:ty),*) = $float:ident, $int:ident;)*) => {$(
        pub(crate) fn $name(self, axis: usize, $($arg: $ty,)* out: DType) -> Result<Self> {
            match self {
                Self::Float(t) => Ok(Self::Int(B::$float(t, axis, $($arg,)* out.into()))),
                Self::Int(t) => Ok(Self::Int(B::$int(t, axis $(, $arg)*))),
                Self::Bool(_) => Err(wrong_kind(stringify!($name))),
            }
        }
    )*};
}

/// Numbers along an axis with their positions.
macro_rules! with_positions {
    ($($name:ident($($arg:ident: $ty:ty),*) = $float:ident, $int:ident;)*) => {$(
        pub(crate) fn $name(self, axis: usize, $($arg: $ty,)* out: DType) -> Result<(Self, Self)> {
            match self {
                Self::Float(t) => {
                    let (numbers, positions) = B::$float(t, axis, $($arg,)* out.into());
                    Ok((Self::Float(numbers), Self::Int(positions)))
                }
                Self::Int(t) => {
                    let (numbers, positions) = B::$int(t, axis $(, $arg)*);
                    Ok((Self::Int(numbers), Self::Int(positions)))
                }
                Self::Bool(_) => Err(wrong_kind(stringify!($name))),
            }
        }
    )*};
}

impl<B: Backend> Value<B> {
    any_kind! {
        reshape(shape: Shape) = float_reshape, int_reshape, bool_reshape;
        swap_dims(a: usize, b: usize) = float_swap_dims, int_swap_dims, bool_swap_dims;
        permute(axes: &[usize]) = float_permute, int_permute, bool_permute;
        flip(axes: &[usize]) = float_flip, int_flip, bool_flip;
        expand(shape: Shape) = float_expand, int_expand, bool_expand;
        unfold(dim: usize, size: usize, step: usize) = float_unfold, int_unfold, bool_unfold;
        slice(ranges: &[Slice]) = float_slice, int_slice, bool_slice;
        select(dim: usize, indices: IntTensor<B>) = float_select, int_select, bool_select;
        repeat_dim(dim: usize, times: usize) = float_repeat_dim, int_repeat_dim, bool_repeat_dim;
        mask_fill(mask: BoolTensor<B>, value: Scalar) =
            float_mask_fill, int_mask_fill, bool_mask_fill;
        onto(device: &B::Device) = float_to_device, int_to_device, bool_to_device;
    }

    number! {
        add_scalar(s: Scalar) = float_add_scalar, int_add_scalar;
        sub_scalar(s: Scalar) = float_sub_scalar, int_sub_scalar;
        mul_scalar(s: Scalar) = float_mul_scalar, int_mul_scalar;
        div_scalar(s: Scalar) = float_div_scalar, int_div_scalar;
        rem_scalar(s: Scalar) = float_remainder_scalar, int_remainder_scalar;
        powi_scalar(s: Scalar) = float_powi_scalar, int_powi_scalar;
        clamp_min(s: Scalar) = float_clamp_min, int_clamp_min;
        clamp_max(s: Scalar) = float_clamp_max, int_clamp_max;
        clamp(min: Scalar, max: Scalar) = float_clamp, int_clamp;
        abs() = float_abs, int_abs;
        neg() = float_neg, int_neg;
        sign() = float_sign, int_sign;
        sum_dim(axis: usize) = float_sum_dim, int_sum_dim;
        mean_dim(axis: usize) = float_mean_dim, int_mean_dim;
        prod_dim(axis: usize) = float_prod_dim, int_prod_dim;
        max_dim(axis: usize) = float_max_dim, int_max_dim;
        min_dim(axis: usize) = float_min_dim, int_min_dim;
        max_abs_dim(axis: usize) = float_max_abs_dim, int_max_abs_dim;
        topk(axis: usize, k: usize) = float_topk, int_topk;
        cumsum(axis: usize) = float_cumsum, int_cumsum;
        cumprod(axis: usize) = float_cumprod, int_cumprod;
        cummin(axis: usize) = float_cummin, int_cummin;
        cummax(axis: usize) = float_cummax, int_cummax;
        sort(dim: usize, descending: bool) = float_sort, int_sort;
        pad(padding: &[(usize, usize)], mode: burn_backend::ops::PadMode) = float_pad, int_pad;
        gather_nd(indices: IntTensor<B>) = float_gather_nd, int_gather_nd;
    }

    binary! {
        add = float_add, int_add;
        sub = float_sub, int_sub;
        mul = float_mul, int_mul;
        div = float_div, int_div;
        rem = float_remainder, int_remainder;
    }

    compare! {
        greater, greater_elem =
            float_greater, float_greater_elem, int_greater, int_greater_elem;
        greater_equal, greater_equal_elem =
            float_greater_equal, float_greater_equal_elem, int_greater_equal, int_greater_equal_elem;
        lower, lower_elem = float_lower, float_lower_elem, int_lower, int_lower_elem;
        lower_equal, lower_equal_elem =
            float_lower_equal, float_lower_equal_elem, int_lower_equal, int_lower_equal_elem;
    }

    equality! {
        equal, equal_elem =
            float_equal, float_equal_elem, int_equal, int_equal_elem, bool_equal, bool_equal_elem;
        not_equal, not_equal_elem = float_not_equal, float_not_equal_elem, int_not_equal,
            int_not_equal_elem, bool_not_equal, bool_not_equal_elem;
    }

    truth! {
        any_dim = float_any_dim, int_any_dim, bool_any_dim;
        all_dim = float_all_dim, int_all_dim, bool_all_dim;
    }

    positions! {
        argmax() = float_argmax, int_argmax;
        argmin() = float_argmin, int_argmin;
        argtopk(k: usize) = float_argtopk, int_argtopk;
        argsort(descending: bool) = float_argsort, int_argsort;
    }

    with_positions! {
        max_dim_with_indices() = float_max_dim_with_indices, int_max_dim_with_indices;
        min_dim_with_indices() = float_min_dim_with_indices, int_min_dim_with_indices;
        topk_with_indices(k: usize) = float_topk_with_indices, int_topk_with_indices;
        sort_with_indices(descending: bool) = float_sort_with_indices, int_sort_with_indices;
    }
}

/// Operations whose signature differs from kind to kind.
impl<B: Backend> Value<B> {
    pub(crate) fn shape(&self) -> Shape {
        match self {
            Self::Float(t) => t.shape(),
            Self::Int(t) => t.shape(),
            Self::Bool(t) => t.shape(),
        }
    }

    pub(crate) fn float(self) -> Result<FloatTensor<B>> {
        match self {
            Self::Float(t) => Ok(t),
            _ => Err(wrong_kind("a float operation")),
        }
    }

    pub(crate) fn int(self) -> Result<IntTensor<B>> {
        match self {
            Self::Int(t) => Ok(t),
            _ => Err(wrong_kind("an int operation")),
        }
    }

    pub(crate) fn bool(self) -> Result<BoolTensor<B>> {
        match self {
            Self::Bool(t) => Ok(t),
            _ => Err(wrong_kind("a bool operation")),
        }
    }

    pub(crate) fn zeros(shape: Shape, device: &B::Device, dtype: DType) -> Self {
        if dtype.is_bool() {
            Self::Bool(B::bool_zeros(shape, device, dtype.into()))
        } else if dtype.is_int() || dtype.is_uint() {
            Self::Int(B::int_zeros(shape, device, dtype.into()))
        } else {
            Self::Float(B::float_zeros(shape, device, dtype.into()))
        }
    }

    pub(crate) fn ones(shape: Shape, device: &B::Device, dtype: DType) -> Self {
        if dtype.is_bool() {
            Self::Bool(B::bool_ones(shape, device, dtype.into()))
        } else if dtype.is_int() || dtype.is_uint() {
            Self::Int(B::int_ones(shape, device, dtype.into()))
        } else {
            Self::Float(B::float_ones(shape, device, dtype.into()))
        }
    }

    pub(crate) fn full(shape: Shape, value: Scalar, device: &B::Device, dtype: DType) -> Self {
        if dtype.is_float() {
            Self::Float(B::float_full(shape, value, device, dtype.into()))
        } else {
            Self::Int(B::int_full(shape, value, device, dtype.into()))
        }
    }

    pub(crate) fn from_data(data: burn_backend::TensorData, device: &B::Device) -> Self {
        let dtype = data.dtype();
        if dtype.is_bool() {
            Self::Bool(B::bool_from_data(data, device))
        } else if dtype.is_int() || dtype.is_uint() {
            Self::Int(B::int_from_data(data, device))
        } else {
            Self::Float(B::float_from_data(data, device))
        }
    }

    /// Converts to `dtype`, also to another kind.
    pub(crate) fn cast(self, dtype: DType) -> Result<Self> {
        let to_float = dtype.is_float();
        let to_int = dtype.is_int() || dtype.is_uint();
        match self {
            Self::Float(t) if to_float => Ok(Self::Float(B::float_cast(t, dtype.into()))),
            Self::Float(t) if to_int => Ok(Self::Int(B::float_into_int(t, dtype.into()))),
            Self::Int(t) if to_int => Ok(Self::Int(B::int_cast(t, dtype.into()))),
            Self::Int(t) if to_float => Ok(Self::Float(B::int_into_float(t, dtype.into()))),
            Self::Bool(t) if to_float => Ok(Self::Float(B::bool_into_float(t, dtype.into()))),
            Self::Bool(t) if to_int => Ok(Self::Int(B::bool_into_int(t, dtype.into()))),
            Self::Bool(t) if dtype.is_bool() => Ok(Self::Bool(t)),
            _ => Err(wrong_kind("cast")),
        }
    }

    pub(crate) fn cat(values: Vec<Self>, dim: usize) -> Result<Self> {
        match values.first() {
            Some(Self::Float(_)) => {
                let parts = values.into_iter().map(Self::float).collect::<Result<_>>()?;
                Ok(Self::Float(B::float_cat(parts, dim)))
            }
            Some(Self::Int(_)) => {
                let parts = values.into_iter().map(Self::int).collect::<Result<_>>()?;
                Ok(Self::Int(B::int_cat(parts, dim)))
            }
            Some(Self::Bool(_)) => {
                let parts = values.into_iter().map(Self::bool).collect::<Result<_>>()?;
                Ok(Self::Bool(B::bool_cat(parts, dim)))
            }
            None => Err(wrong_kind("cat of nothing")),
        }
    }

    pub(crate) fn slice_assign(self, ranges: &[Slice], value: Self) -> Result<Self> {
        match (self, value) {
            (Self::Float(a), Self::Float(b)) => {
                Ok(Self::Float(B::float_slice_assign(a, ranges, b)))
            }
            (Self::Int(a), Self::Int(b)) => Ok(Self::Int(B::int_slice_assign(a, ranges, b))),
            (Self::Bool(a), Self::Bool(b)) => Ok(Self::Bool(B::bool_slice_assign(a, ranges, b))),
            _ => Err(wrong_kind("slice_assign")),
        }
    }

    pub(crate) fn gather(self, dim: usize, indices: IntTensor<B>) -> Self {
        match self {
            Self::Float(t) => Self::Float(B::float_gather(dim, t, indices)),
            Self::Int(t) => Self::Int(B::int_gather(dim, t, indices)),
            Self::Bool(t) => Self::Bool(B::bool_gather(dim, t, indices)),
        }
    }

    pub(crate) fn scatter_nd(
        self,
        indices: IntTensor<B>,
        values: Self,
        update: IndexingUpdateOp,
    ) -> Result<Self> {
        match (self, values) {
            (Self::Float(a), Self::Float(b)) => {
                Ok(Self::Float(B::float_scatter_nd(a, indices, b, update)))
            }
            (Self::Int(a), Self::Int(b)) => Ok(Self::Int(B::int_scatter_nd(a, indices, b, update))),
            _ => Err(wrong_kind("scatter_nd")),
        }
    }

    pub(crate) fn mask_where(self, mask: BoolTensor<B>, value: Self) -> Result<Self> {
        match (self, value) {
            (Self::Float(a), Self::Float(b)) => Ok(Self::Float(B::float_mask_where(a, mask, b))),
            (Self::Int(a), Self::Int(b)) => Ok(Self::Int(B::int_mask_where(a, mask, b))),
            (Self::Bool(a), Self::Bool(b)) => Ok(Self::Bool(B::bool_mask_where(a, mask, b))),
            _ => Err(wrong_kind("mask_where")),
        }
    }

    pub(crate) fn scatter(
        self,
        dim: usize,
        indices: IntTensor<B>,
        value: Self,
        update: IndexingUpdateOp,
    ) -> Result<Self> {
        match (self, value) {
            (Self::Float(a), Self::Float(b)) => {
                Ok(Self::Float(B::float_scatter(dim, a, indices, b, update)))
            }
            (Self::Int(a), Self::Int(b)) => {
                Ok(Self::Int(B::int_scatter(dim, a, indices, b, update)))
            }
            // "Or" is the only update that burn has for bool.
            (Self::Bool(a), Self::Bool(b)) => {
                Ok(Self::Bool(B::bool_scatter_or(dim, a, indices, b)))
            }
            _ => Err(wrong_kind("scatter")),
        }
    }

    pub(crate) fn select_assign(
        self,
        dim: usize,
        indices: IntTensor<B>,
        value: Self,
        update: IndexingUpdateOp,
    ) -> Result<Self> {
        match (self, value) {
            (Self::Float(a), Self::Float(b)) => {
                Ok(Self::Float(B::float_select_assign(a, dim, indices, b, update)))
            }
            (Self::Int(a), Self::Int(b)) => {
                Ok(Self::Int(B::int_select_assign(a, dim, indices, b, update)))
            }
            (Self::Bool(a), Self::Bool(b)) => Ok(Self::Bool(B::bool_select_or(a, dim, indices, b))),
            _ => Err(wrong_kind("select_assign")),
        }
    }

    pub(crate) fn powi(self, rhs: Self) -> Result<Self> {
        match (self, rhs) {
            (Self::Float(a), Self::Int(b)) => Ok(Self::Float(B::float_powi(a, b))),
            (Self::Int(a), Self::Int(b)) => Ok(Self::Int(B::int_powi(a, b))),
            _ => Err(wrong_kind("powi")),
        }
    }
}

/// The traced graph asks for an operation that a kind does not have: burn never records such a
/// graph, so this guards against a changed recording, not against user input.
fn wrong_kind(operation: &str) -> Error {
    Error::Trace(TraceError::UnsupportedOperation {
        operation: format!("{operation} on this kind of tensor"),
    })
}

impl Value<burn_dispatch::Dispatch> {
    /// The value behind one of burn's tensors.
    pub(crate) fn from_dispatch(tensor: burn_dispatch::DispatchTensor) -> Self {
        let dtype = tensor.dtype();
        if dtype.is_bool() {
            Self::Bool(tensor)
        } else if dtype.is_int() || dtype.is_uint() {
            Self::Int(tensor)
        } else {
            Self::Float(tensor)
        }
    }

    pub(crate) fn into_dispatch(self) -> burn_dispatch::DispatchTensor {
        match self {
            Self::Float(tensor) | Self::Int(tensor) | Self::Bool(tensor) => tensor,
        }
    }
}
