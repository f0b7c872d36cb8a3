//! Indices that come from data: tokens, labels, positions.
//!
//! A record may hold any number, in any integer type. Two laws follow, for every operation that reads an index:
//!
//! - *Range.* An index outside of what it points into is found before the operation runs. It is an error that names
//!   operation, index and bound, or its record counts as zero ([`BadRecords`]); it is never moved to an index
//!   that exists, and never reaches another example's numbers.
//! - *Width.* What is computed from an index (an offset, a row in a joint table) is computed in
//!   [`index_type`], never in the type of the data: `example * rows` does not fit into a byte.

use std::collections::{BTreeSet, HashMap};

use burn::tensor::try_read_sync;
use burn_backend::tensor::IntTensor;
use burn_backend::{Backend, DType, Scalar, Shape, Slice, TensorMetadata};
use burn_ir::{BaseOperationIr, ModuleOperationIr, OperationIr, TensorId, TensorIr};

use super::replay::Replay;
use super::value::Value;
use crate::device::Capabilities;
use crate::error::{BatchError, Error, Result};

/// What to do with a record that holds an index out of range, such as a label of a class that does not exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadRecords {
    /// Refuse the batch with [`BatchError::IndexOutOfRange`], before anything is spent.
    #[default]
    Refuse,
    /// Count the record's gradient and loss as zero, like a gradient that is not finite. Which records these are
    /// is [`PerExample::excluded`](super::PerExample::excluded), and as private as the records.
    Exclude,
}

/// The outcome of the checks of one replay.
pub(crate) struct Checks<B: Backend> {
    policy: BadRecords,
    on_host: bool,
    /// What was checked, and whether all of it was found in range.
    checked: HashMap<(TensorId, Bounds), bool>,
    /// What will be known when the device has computed it.
    waiting: Vec<Waiting<B>>,
    /// The examples with an index out of range.
    excluded: BTreeSet<usize>,
}

/// An index tensor on a device with a queue, whose least and largest entry are read at the end, all at once.
struct Waiting<B: Backend> {
    column: Column<B>,
    /// `[1]` each.
    extremes: [IntTensor<B>; 2],
}

/// Indices of one operation with one bound.
struct Column<B: Backend> {
    operation: &'static str,
    bound: usize,
    /// `[examples, n]`, or `[1, n]` where no example owns them.
    indices: IntTensor<B>,
    owned: bool,
    /// The example of the first row.
    first: usize,
}

/// Indices that an operation reads.
struct IndexUse<'o> {
    operation: &'static str,
    indices: &'o TensorIr,
    bounds: Bounds,
}

/// What an index must be below.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Bounds {
    /// One for all.
    All(usize),
    /// One for each entry of the tuples on the last axis.
    Columns(Vec<usize>),
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

    /// Waits for all checks. The examples to leave out, ascending.
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

    /// Takes over what the replay of one example found.
    pub(crate) fn absorb(&mut self, one: Self, example: usize) {
        if !one.excluded.is_empty() {
            self.excluded.insert(example);
        }
        self.waiting.extend(one.waiting.into_iter().map(|mut waiting| {
            waiting.column.first = example;
            waiting
        }));
    }

    /// Whether all entries are in range, as far as that is known now.
    fn check(&mut self, column: Column<B>) -> Result<bool> {
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
            // What no example owns is a constant of the model or of the loss.
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

impl<B: Backend> Replay<'_, B> {
    /// Checks the indices that `op` is about to read.
    pub(crate) fn check_indices(&mut self, op: &OperationIr) -> Result<()> {
        uses(op).into_iter().try_for_each(|indices| self.check(indices))
    }

    /// The rows of a table of `rows` that a factor names, in range and in [`index_type`]: `value` is its form of `tensor`.
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

    /// The operand of a rule as indices below `bound`, in [`index_type`]: `value` is the rule's form of `tensor`.
    ///
    /// What is not known to be in range (its record is left out, or the device has not answered yet) becomes an index
    /// that exists, so that no kernel leaves its memory. Nothing computed from it is ever used.
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

    /// The same for tuples `[..., k]`, each entry with a bound of its own: the entries, `[..., 1]` each.
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

fn cast<B: Backend>(x: IntTensor<B>, dtype: DType) -> IntTensor<B> {
    if x.dtype() == dtype { x } else { B::int_cast(x, dtype.into()) }
}

fn clamped<B: Backend>(indices: IntTensor<B>, bound: usize) -> IntTensor<B> {
    let last = bound.saturating_sub(1) as i64;
    B::int_clamp(indices, Scalar::Int(0), Scalar::Int(last))
}

fn is_below(index: i64, bound: usize) -> bool {
    usize::try_from(index).is_ok_and(|index| index < bound)
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

fn read<B: Backend>(x: IntTensor<B>) -> Result<Vec<i64>> {
    let failed = |reason: String| Error::Device { reason };
    let data = try_read_sync(B::int_into_data(x))
        .ok_or_else(|| failed("it cannot be read synchronously".to_owned()))?
        .map_err(|error| failed(error.to_string()))?;
    Ok(data.iter::<i64>().collect())
}

/// The indices that `op` reads. Indices that only burn itself computes (those of max-pooling) are not among them.
fn uses(op: &OperationIr) -> Vec<IndexUse<'_>> {
    let all = |operation, indices, bound| {
        vec![IndexUse { operation, indices, bounds: Bounds::All(bound) }]
    };
    let tuples = |operation, indices, data| {
        vec![IndexUse { operation, indices, bounds: tuple_bounds(indices, data) }]
    };
    match op {
        OperationIr::BaseFloat(o) | OperationIr::BaseInt(o) | OperationIr::BaseBool(o) => match o {
            BaseOperationIr::Select(o) => all("select", &o.indices, o.tensor.shape[o.dim]),
            BaseOperationIr::SelectAssign(o) => {
                all("select_assign", &o.indices, o.tensor.shape[o.dim])
            }
            BaseOperationIr::Gather(o) => all("gather", &o.indices, o.tensor.shape[o.dim]),
            BaseOperationIr::Scatter(o) => all("scatter", &o.indices, o.tensor.shape[o.dim]),
            BaseOperationIr::GatherNd(o) => tuples("gather_nd", &o.indices, &o.data),
            BaseOperationIr::ScatterNd(o) => tuples("scatter_nd", &o.indices, &o.data),
            _ => Vec::new(),
        },
        OperationIr::Module(o) => match o {
            ModuleOperationIr::Embedding(o) => all("embedding", &o.indices, o.weights.shape[0]),
            ModuleOperationIr::EmbeddingBackward(o) => {
                all("embedding", &o.indices, o.weights.shape[0])
            }
            ModuleOperationIr::CtcLoss(o) => {
                ctc(&o.log_probs, [&o.targets, &o.input_lengths, &o.target_lengths])
            }
            ModuleOperationIr::CtcLossBackward(o) => {
                ctc(&o.log_probs, [&o.targets, &o.input_lengths, &o.target_lengths])
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// The index tensors that `op` reads.
pub(crate) fn read_by(op: &OperationIr) -> Vec<TensorId> {
    uses(op).into_iter().map(|use_| use_.indices.id).collect()
}

fn tuple_bounds(indices: &TensorIr, data: &TensorIr) -> Bounds {
    let length = indices.shape.as_slice().last().copied().unwrap_or(0);
    Bounds::Columns(data.shape.iter().take(length).copied().collect())
}

/// Targets are classes of `[time, rows, classes]`; lengths may be as long as what they are of.
fn ctc<'o>(log_probs: &TensorIr, operands: [&'o TensorIr; 3]) -> Vec<IndexUse<'o>> {
    let [targets, ..] = operands;
    let longest = targets.shape.as_slice().last().copied().unwrap_or(0);
    let bounds = ctc_bounds(log_probs, longest);
    let operations = ["ctc_loss (target)", "ctc_loss (input length)", "ctc_loss (target length)"];
    let of =
        |((operation, indices), bound)| IndexUse { operation, indices, bounds: Bounds::All(bound) };
    operations.into_iter().zip(operands).zip(bounds).map(of).collect()
}

/// What targets, input lengths and target lengths must be below.
pub(crate) fn ctc_bounds(log_probs: &TensorIr, longest: usize) -> [usize; 3] {
    [log_probs.shape[2], log_probs.shape[0] + 1, longest + 1]
}
