//! Training only some rows of a parameter.

use std::collections::HashMap;
use std::fmt;

use burn::module::{Module, Param, ParamId, Reparameterization, Reparameterizer};
use burn::tensor::{DType, Int, Tensor, TensorData};

use super::inventory::{Entry, Inventory};
use crate::error::{Error, Result, SelectionError};

/// Rows of parameters. A row is a slice along the first axis: an output channel of a convolution,
/// an input feature of burn's `Linear`, a token of an embedding.
#[derive(Clone, Debug)]
pub struct RowSelection {
    inventory: Inventory,
    /// The selected rows of each parameter, ascending.
    rows: Vec<Vec<usize>>,
}

impl RowSelection {
    pub(super) const fn new(inventory: Inventory, rows: Vec<Vec<usize>>) -> Self {
        Self { inventory, rows }
    }

    /// Freezes every parameter and attaches a trainable change to its selected rows, initially
    /// zero. burn's `materialize` folds the changes into the weights.
    ///
    /// # Errors
    /// [`SelectionError::OfAnotherModel`] where a selected parameter is not in `model`;
    /// [`ModelError::SharedParameter`](crate::error::ModelError::SharedParameter) where its id
    /// occurs in two fields; [`SelectionError::AlreadyReparameterized`] for a model with adapters,
    /// because burn does not nest them.
    pub fn apply<M: Module>(&self, model: M) -> Result<M> {
        let present = Inventory::of(&model)?;
        if let Some(adapter) = present.entries.iter().find(|entry| entry.attached.is_some()) {
            return Err(Error::Selection(SelectionError::AlreadyReparameterized {
                path: adapter.path().to_owned(),
            }));
        }
        let rows: HashMap<ParamId, Vec<usize>> =
            self.entries().map(|(entry, rows)| (entry.id, rows.clone())).collect();
        let known = |id: &ParamId| present.entries.iter().any(|entry| entry.id == *id);
        if !rows.keys().all(known) {
            return Err(Error::Selection(SelectionError::OfAnotherModel));
        }
        // A change is attached by id, so both fields would get it.
        let mut selected = present.entries.iter().filter(|entry| rows.contains_key(&entry.id));
        selected.try_for_each(Entry::check_alone)?;
        Ok(model.apply_reparameterization(Attach { rows }))
    }

    /// Number of selected scalars.
    pub fn trained(&self) -> usize {
        self.entries().map(|(entry, rows)| row_length(entry) * rows.len()).sum()
    }

    /// Number of scalars of the model's parameters.
    pub fn total(&self) -> usize {
        self.inventory.scalars()
    }

    /// The selected rows of each parameter that has some.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.entries().map(|(entry, rows)| (entry.path(), rows.as_slice()))
    }

    fn entries(&self) -> impl Iterator<Item = (&Entry, &Vec<usize>)> {
        self.inventory.entries.iter().zip(&self.rows).filter(|(_, rows)| !rows.is_empty())
    }
}

/// Length of the first axis.
pub(super) fn row_count(entry: &Entry) -> usize {
    entry.shape.as_slice().first().copied().unwrap_or(1)
}

fn row_length(entry: &Entry) -> usize {
    entry.scalars() / row_count(entry).max(1)
}

impl fmt::Display for RowSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (entry, rows) in self.entries() {
            writeln!(f, "{}: {} of {} rows", entry.path(), rows.len(), row_count(entry))?;
        }
        let (trained, total) = (self.trained(), self.total());
        let percent = 100.0 * trained as f64 / total as f64;
        write!(f, "rows: {trained} of {total} parameters are trained ({percent:.3} %)")
    }
}

/// A trainable change of some rows of a frozen parameter. [`RowSelection::apply`] makes it.
#[derive(Module, Debug)]
pub struct SelectedRows {
    /// Which rows, `[k]`.
    rows: Param<Tensor<1, Int>>,
    /// The change that is added to them, `[k, scalars of a row]`.
    change: Param<Tensor<2>>,
}

impl Reparameterization for SelectedRows {
    const NAME: &'static str = "rows";

    /// base + S·change with the 0/1 matrix S `[rows, k]`. This is a product with a shared matrix.
    /// The engine moves it into a factor of the gradient, so that no example's gradient of the
    /// whole base is held.
    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        let shape = base.shape();
        let count = shape.as_slice().first().copied().unwrap_or(1);
        let rows = self.rows.val();
        let selected = rows.dims()[0];
        let all = Tensor::<1, Int>::arange(0..count as i64, (&rows.device(), rows.dtype()));
        let all = all.reshape([count, 1]).expand([count, selected]);
        let chosen = rows.reshape([1, selected]).expand([count, selected]);
        let spread = all.equal(chosen).float().cast(base.dtype());
        base + spread.matmul(self.change.val()).reshape(shape)
    }
}

struct Attach {
    rows: HashMap<ParamId, Vec<usize>>,
}

impl Reparameterizer for Attach {
    type Reparam = SelectedRows;

    fn reparameterize<const D: usize>(
        &mut self,
        _path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<SelectedRows>) {
        let rows = self.rows.get(&param.id);
        let base = param.set_require_grad(false);
        let Some(rows) = rows else { return (base, None) };
        let tensor = base.base();
        let (device, dtype, shape) = (tensor.device(), tensor.dtype(), tensor.shape());
        let count = shape.as_slice().first().copied().unwrap_or(1).max(1);
        let change = [rows.len(), shape.num_elements() / count];
        // The device's default type may be too narrow for the rows, so it is not used.
        let indices: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
        let indices = TensorData::new(indices, [rows.len()]);
        let on = device.clone().without_autodiff();
        let attached = SelectedRows {
            rows: Param::initialized(
                burn::module::ParamId::new(),
                Tensor::from_data(indices, (&on, DType::I32)),
            ),
            change: Param::from_tensor(Tensor::zeros(change, (&device, dtype))),
        };
        (base, Some(attached))
    }
}
