//! Checks the indices of an operation against the values of a replay.

use burn_backend::tensor::IntTensor;
use burn_backend::{Backend, DType, Shape, Slice, TensorMetadata};
use burn_ir::{OperationIr, TensorIr};

use super::checks::Column;
use super::uses::{Bounds, IndexUse, tuple_bounds, uses};
use super::width::{clamped, widened};
use crate::error::Result;
use crate::per_example::replay::Replay;
use crate::per_example::value::Value;

impl<B: Backend> Replay<'_, B> {
    /// Checks the indices that `op` is about to read.
    pub(crate) fn check_indices(&mut self, op: &OperationIr) -> Result<()> {
        uses(op).into_iter().try_for_each(|indices| self.check(indices))
    }

    /// The rows of a table of `rows` that a factor names, in range and in [`index_type`]. `value`
    /// is the factor's form of `tensor`.
    pub(crate) fn rows(
        &mut self,
        tensor: &TensorIr,
        value: IntTensor<B>,
        rows: usize,
    ) -> Result<IntTensor<B>> {
        let (operation, bounds) = ("embedding", Bounds::All(rows));
        self.check(IndexUse { operation, indices: tensor, bounds })?;
        Ok(self.indices(tensor, value, rows))
    }

    fn check(&mut self, IndexUse { operation, indices, bounds }: IndexUse<'_>) -> Result<()> {
        let key = (indices.id, bounds);
        if self.checks().checked.contains_key(&key) {
            return Ok(());
        }
        let owned = self.is_batched(indices) || self.is_of_one_example();
        let rows = if self.is_batched(indices) { self.batch() } else { 1 };
        let value = self.shared(indices)?.int()?;
        let mut in_range = true;
        for (indices, bound) in columns::<B>(value, rows, &key.1)? {
            if holds_only_less(indices.dtype(), bound) {
                continue;
            }
            let indices = widened::<B>(indices);
            let column = Column { operation, bound, indices, owned, first: 0 };
            in_range &= self.checks_mut().check(column)?;
        }
        self.checks_mut().checked.insert(key, in_range);
        Ok(())
    }

    /// A rule's operand as indices below `bound`, in [`index_type`]. `value` is the rule's form of
    /// `tensor`.
    ///
    /// An index that is not known to be in range becomes an index that exists, so that no kernel
    /// leaves its memory. (Its record is left out, or the device has not answered yet.) No result
    /// computed from it is ever used.
    pub(crate) fn indices(
        &self,
        tensor: &TensorIr,
        value: IntTensor<B>,
        bound: usize,
    ) -> IntTensor<B> {
        let value = widened::<B>(value);
        if self.is_in_range(tensor, Bounds::All(bound)) {
            value
        } else {
            clamped::<B>(value, bound)
        }
    }

    /// The same for tuples `[..., k]`, where each entry has its own bound. Returns the entries,
    /// `[..., 1]` each.
    pub(crate) fn index_columns(
        &self,
        tensor: &TensorIr,
        tuples: IntTensor<B>,
        data: &TensorIr,
    ) -> Result<Vec<IntTensor<B>>> {
        let in_range = self.is_in_range(tensor, tuple_bounds(tensor, data));
        let last = tuples.shape().num_dims() - 1;
        let length = tuples.shape()[last];
        let tuples = Value::<B>::Int(widened::<B>(tuples));
        let columns = data.shape.iter().take(length).enumerate().map(|(axis, size)| {
            let mut ranges = vec![Slice::full(); last + 1];
            ranges[last] = Slice::from(axis..axis + 1);
            let column = tuples.clone().slice(&ranges).int()?;
            Ok(if in_range { column } else { clamped::<B>(column, *size) })
        });
        columns.collect()
    }

    fn is_in_range(&self, tensor: &TensorIr, bounds: Bounds) -> bool {
        self.checks().checked.get(&(tensor.id, bounds)).copied().unwrap_or(false)
    }
}

/// Whether every number of an unsigned type is below `bound`.
fn holds_only_less(dtype: DType, bound: usize) -> bool {
    match dtype {
        DType::U8 => bound > usize::from(u8::MAX),
        DType::U16 => bound > usize::from(u16::MAX),
        _ => false,
    }
}

/// The entries as `[rows, n]`, one for each bound.
fn columns<B: Backend>(
    value: IntTensor<B>,
    rows: usize,
    bounds: &Bounds,
) -> Result<Vec<(IntTensor<B>, usize)>> {
    let count = value.shape().num_elements() / rows.max(1);
    let matrix = |x: Value<B>, n: usize| x.reshape(Shape::from(vec![rows, n])).int();
    match bounds {
        Bounds::All(bound) => Ok(vec![(matrix(Value::Int(value), count)?, *bound)]),
        Bounds::Columns(bounds) => {
            let length = value.shape().as_slice().last().copied().unwrap_or(0);
            let tuples = count / length.max(1);
            let value = Value::<B>::Int(value).reshape(Shape::from(vec![rows, tuples, length]));
            let column = |(axis, bound): (usize, &usize)| {
                let ranges = [Slice::full(), Slice::full(), Slice::from(axis..axis + 1)];
                Ok((matrix(value.clone().slice(&ranges), tuples)?, *bound))
            };
            bounds.iter().enumerate().map(column).collect()
        }
    }
}
