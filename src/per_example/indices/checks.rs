//! Checks whether indices are in range: at once on the host, at the end of the batch on a device
//! with a queue.

use std::collections::{BTreeSet, HashMap};

use burn::tensor::try_read_sync;
use burn_backend::tensor::IntTensor;
use burn_backend::{Backend, DType, TensorMetadata};
use burn_ir::TensorId;

use super::policy::BadRecords;
use super::uses::Bounds;
use super::width::cast;
use crate::device::Capabilities;
use crate::error::{BatchError, Error, Result};

/// The outcome of the checks of one replay.
pub(crate) struct Checks<B: Backend> {
    policy: BadRecords,
    on_host: bool,
    /// The indices that were checked, and whether all of them were found in range.
    pub(super) checked: HashMap<(TensorId, Bounds), bool>,
    /// The checks that the device has not yet computed.
    waiting: Vec<Waiting<B>>,
    /// The examples with an index out of range.
    excluded: BTreeSet<usize>,
}

/// An index tensor on a device with a queue. The least and largest entries of all such tensors are
/// read at the end, all at once.
struct Waiting<B: Backend> {
    column: Column<B>,
    /// `[1]` each.
    extremes: [IntTensor<B>; 2],
}

/// Indices of one operation with one bound.
pub(super) struct Column<B: Backend> {
    pub(super) operation: &'static str,
    pub(super) bound: usize,
    /// `[examples, n]`, or `[1, n]` if the indices belong to no example.
    pub(super) indices: IntTensor<B>,
    pub(super) owned: bool,
    /// The example of the first row.
    pub(super) first: usize,
}

impl<B: Backend> Checks<B> {
    pub(crate) fn new(policy: BadRecords, device: &B::Device) -> Self {
        let on_host = Capabilities::of::<B>(device).computes_on_host;
        let (checked, waiting, excluded) = (HashMap::new(), Vec::new(), BTreeSet::new());
        Self { policy, on_host, checked, waiting, excluded }
    }

    pub(crate) fn policy(&self) -> BadRecords {
        self.policy
    }

    /// Waits for all checks. Returns the examples to leave out, ascending.
    pub(crate) fn finish(mut self) -> Result<Vec<usize>> {
        let waiting = std::mem::take(&mut self.waiting);
        let extremes: Vec<_> = waiting.iter().flat_map(|w| w.extremes.clone()).collect();
        if extremes.is_empty() {
            return Ok(self.excluded.into_iter().collect());
        }
        let types: Vec<DType> = extremes.iter().map(TensorMetadata::dtype).collect();
        let wide = if types.contains(&DType::I64) { DType::I64 } else { DType::I32 };
        let extremes = extremes.into_iter().map(|x| cast::<B>(x, wide)).collect();
        let extremes = read::<B>(B::int_cat(extremes, 0))?;
        for (Waiting { column, .. }, extremes) in waiting.into_iter().zip(extremes.chunks(2)) {
            if !extremes.iter().all(|x| is_below(*x, column.bound)) {
                self.report(&column)?;
            }
        }
        Ok(self.excluded.into_iter().collect())
    }

    /// Takes over the results from the replay of one example.
    pub(crate) fn absorb(&mut self, one: Self, example: usize) {
        if !one.excluded.is_empty() {
            self.excluded.insert(example);
        }
        self.waiting.extend(one.waiting.into_iter().map(|mut waiting| {
            waiting.column.first = example;
            waiting
        }));
    }

    /// Whether all entries are in range, as far as is known so far.
    pub(super) fn check(&mut self, column: Column<B>) -> Result<bool> {
        if column.indices.shape().num_elements() == 0 {
            return Ok(true);
        }
        let indices = || column.indices.clone();
        let extremes = [B::int_min(indices()), B::int_max(indices())];
        if !self.on_host {
            self.waiting.push(Waiting { column, extremes });
            return Ok(false);
        }
        for extreme in extremes {
            if !read::<B>(extreme)?.iter().all(|x| is_below(*x, column.bound)) {
                self.report(&column)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Finds the examples with an index out of range.
    fn report(&mut self, column: &Column<B>) -> Result<()> {
        let Column { operation, bound, first, owned, .. } = *column;
        let rows = column.indices.shape()[0].max(1);
        let all = read::<B>(column.indices.clone())?;
        for (row, indices) in all.chunks((all.len() / rows).max(1)).enumerate() {
            let Some(index) = indices.iter().copied().find(|x| !is_below(*x, bound)) else {
                continue;
            };
            let example = first + row;
            // Indices that belong to no example are a constant of the model or of the loss.
            if self.policy == BadRecords::Refuse || !owned {
                return Err(Error::Batch(BatchError::IndexOutOfRange {
                    operation,
                    index,
                    bound,
                    example,
                }));
            }
            self.excluded.insert(example);
        }
        Ok(())
    }
}

fn is_below(index: i64, bound: usize) -> bool {
    usize::try_from(index).is_ok_and(|index| index < bound)
}

fn read<B: Backend>(x: IntTensor<B>) -> Result<Vec<i64>> {
    let failed = |reason: String| Error::Device { reason };
    let data = try_read_sync(B::int_into_data(x))
        .ok_or_else(|| failed("it cannot be read synchronously".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(data.iter::<i64>().collect())
}
