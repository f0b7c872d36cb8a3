//! The form of a value of the trace, apart from the content of its factors, and how a step changes
//! the form.

use std::rc::Rc;

use burn_ir::TensorIr;

use super::change::Change;
use super::factored::{Layout, Shared};

/// The most changes of layout through which a gradient is followed. Consecutive changes of one kind
/// are folded into one, so only alternations and masks count.
const MAX_LAYOUT: usize = 16;

/// A stack of matrices `[groups, rows, cols]` and its layout in the traced shape. If two values
/// have equal forms, they can be added in factors.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StackedMatrices {
    pub(super) groups: usize,
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) layout: Vec<Layout>,
    /// The traced shape after `layout`.
    pub(super) shape: Vec<usize>,
}

/// The effect of a step on every use.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    Scaled(f64),
    /// Transposed: left and right change places.
    Swapped,
    /// These stack axes move from groups to positions.
    Summed(Vec<usize>),
    Left(Shared),
    Right(Shared),
}

impl Effect {
    const NOTHING: Self = Self::Scaled(1.0);
}

impl StackedMatrices {
    /// The form after the change, and the effect on the uses; `None` where the value no longer
    /// factors.
    pub(super) fn after(self: &Rc<Self>, change: &Change<'_>) -> Option<(Rc<Self>, Effect)> {
        let (matrices, effect) = match change {
            Change::Scale(factor) => return Some((self.clone(), Effect::Scaled(*factor))),
            Change::Reshape(shape) if *shape == self.shape => {
                return Some((self.clone(), Effect::NOTHING));
            }
            Change::Reshape(shape) => (self.reshaped(shape)?, Effect::NOTHING),
            Change::Permute(axes) if is_identity(axes) => {
                return Some((self.clone(), Effect::NOTHING));
            }
            Change::Permute(axes) => self.permuted(axes)?,
            Change::Mask(shared) => (self.masked(shared)?, Effect::NOTHING),
            Change::Sum { axes, shape } => {
                let (matrices, summed) = self.summed(axes)?;
                let nothing = summed.is_empty();
                let effect = if nothing { Effect::NOTHING } else { Effect::Summed(summed) };
                (matrices.reshaped(shape)?, effect)
            }
            Change::Times { matrix, out } => self.times(matrix, out)?,
            Change::Under { matrix, out } => self.under(matrix, out)?,
        };
        Some((Rc::new(matrices), effect))
    }

    /// Whether the traced value is still the stack of matrices, up to axes of size one in front.
    fn is_matrix(&self) -> bool {
        self.layout.is_empty()
    }

    /// Whether `shape` is that of the matrix, up to axes of size one in front. An operand's stack
    /// axes are identified by position. They may therefore change only if there is one matrix,
    /// where the position does not matter.
    fn is_shape_of_matrix(&self, shape: &[usize]) -> bool {
        self.groups == 1 && shape.len() >= 2 && shape.ends_with(&[self.rows, self.cols])
    }

    fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        // Reshapes that lead back to the one matrix cancel. This happens with an adapter of a
        // convolution's kernel.
        let reshapes = self.layout.iter().all(|step| matches!(step, Layout::Reshape(_)));
        let layout = if reshapes && self.is_shape_of_matrix(shape) {
            Vec::new()
        } else {
            self.with_step(Layout::Reshape(shape.to_vec()))?
        };
        Some(Self { layout, shape: shape.to_vec(), ..*self })
    }

    fn permuted(&self, axes: &[usize]) -> Option<(Self, Effect)> {
        let shape: Vec<usize> =
            axes.iter().map(|axis| self.shape.get(*axis).copied()).collect::<Option<_>>()?;
        let rank = axes.len();
        let transposes =
            rank >= 2 && is_identity(&axes[..rank - 2]) && axes[rank - 2..] == [rank - 1, rank - 2];
        if self.is_matrix() && transposes {
            let (rows, cols) = (self.cols, self.rows);
            let matrices = Self { rows, cols, layout: Vec::new(), shape, ..*self };
            return Some((matrices, Effect::Swapped));
        }
        let layout = self.with_step(Layout::Permute(axes.to_vec()))?;
        let mut matrices = Self { layout, shape, ..*self };
        // After permutations that undo one another, the matrix may remain.
        if matches!(&matrices.layout[..], [Layout::Reshape(_)])
            && matrices.is_shape_of_matrix(&matrices.shape)
        {
            matrices.layout.clear();
        }
        Some((matrices, Effect::NOTHING))
    }

    /// The value multiplied by a shared value, entry by entry.
    fn masked(&self, shared: &TensorIr) -> Option<Self> {
        let layout = self.with_step(Layout::Times(shared.clone()))?;
        Some(Self { layout, shape: self.shape.clone(), ..*self })
    }

    /// The layout with one more step. A step after one of its own kind is folded into it.
    fn with_step(&self, step: Layout) -> Option<Vec<Layout>> {
        let mut layout = self.layout.clone();
        // From here on the value is not a stack of matrices: layouts apply to its traced shape.
        if layout.is_empty() {
            layout.push(Layout::Reshape(self.shape.clone()));
        }
        match (layout.last_mut(), step) {
            (Some(Layout::Reshape(last)), Layout::Reshape(shape)) => *last = shape,
            (Some(Layout::Permute(last)), Layout::Permute(axes)) => {
                let both = axes.iter().map(|axis| last.get(*axis).copied());
                *last = both.collect::<Option<_>>()?;
                if is_identity(last) {
                    layout.pop();
                }
            }
            (_, step) => layout.push(step),
        }
        (layout.len() <= MAX_LAYOUT).then_some(layout)
    }

    /// A sum over stack axes of the product moves them from groups to positions.
    fn summed(&self, axes: &[usize]) -> Option<(Self, Vec<usize>)> {
        let depth = self.shape.len().checked_sub(2)?;
        if !self.is_matrix() || axes.iter().any(|axis| *axis >= depth) {
            return None;
        }
        let mut matrices = self.clone();
        let mut summed = Vec::new();
        for axis in axes {
            let size = std::mem::replace(&mut matrices.shape[*axis], 1);
            if size != 1 {
                matrices.groups = matrices.groups.checked_div(size)?;
                summed.push(*axis);
            }
        }
        Some((matrices, summed))
    }

    /// `self · matrix`: the shared matrix moves into the right factor.
    fn times(&self, matrix: &TensorIr, out: &[usize]) -> Option<(Self, Effect)> {
        let shared = Shared { matrix: matrix.clone(), transposed: false };
        let cols = *out.last()?;
        let matrices = Self { cols, layout: Vec::new(), shape: out.to_vec(), ..*self };
        self.multiplies(matrix).then_some((matrices, Effect::Right(shared)))
    }

    /// `matrix · self`: the shared matrix moves, transposed, into the left factor.
    fn under(&self, matrix: &TensorIr, out: &[usize]) -> Option<(Self, Effect)> {
        let shared = Shared { matrix: matrix.clone(), transposed: true };
        let rows = out[out.len().checked_sub(2)?];
        let matrices = Self { rows, layout: Vec::new(), shape: out.to_vec(), ..*self };
        self.multiplies(matrix).then_some((matrices, Effect::Left(shared)))
    }

    fn multiplies(&self, matrix: &TensorIr) -> bool {
        let shape = matrix.shape.as_slice();
        let is_one = shape.len() >= 2 && shape[..shape.len() - 2].iter().all(|n| *n == 1);
        self.is_matrix() && self.groups == 1 && is_one
    }
}

fn is_identity(axes: &[usize]) -> bool {
    axes.iter().enumerate().all(|(i, axis)| i == *axis)
}
