//! What each step between a parameter's gradient and its products does to the factors.

use burn_ir::TensorIr;

use super::{Factored, Layout, Shared, Side, Source, Use};

impl Use {
    pub(super) fn new(left: Source, right: Source, length: usize) -> Self {
        let side = |source| Side { source, then: Vec::new() };
        Self { left: side(left), right: side(right), length, scale: 1.0 }
    }
}

impl Factored {
    pub(super) fn leaf(
        use_: Use,
        groups: usize,
        rows: usize,
        cols: usize,
        shape: Vec<usize>,
    ) -> Self {
        Self { uses: vec![use_], groups, rows, cols, layout: Vec::new(), shape }
    }

    /// Whether the traced value still is the stack of matrices, up to axes of size one in front.
    fn is_matrix(&self) -> bool {
        self.layout.is_empty()
    }

    pub(super) fn scaled(mut self, factor: f64) -> Self {
        for u in &mut self.uses {
            u.scale *= factor;
        }
        self
    }

    /// Times a shared value, entry by entry.
    pub(super) fn masked(mut self, shared: &TensorIr) -> Self {
        self.begin_layout();
        self.layout.push(Layout::Times(shared.clone()));
        self
    }

    pub(super) fn reshaped(mut self, shape: &[usize]) -> Self {
        let depth = shape.len().saturating_sub(2);
        let same_matrices = self.is_matrix()
            && shape.len() >= 2
            && shape[depth..] == [self.rows, self.cols]
            // An operand's stack axes are named by position, so they may only change where that
            // no longer matters: when there is one matrix.
            && self.groups == 1;
        // Reshapes that lead back to the one matrix cancel: an adapter of a convolution's kernel.
        let back_to_matrix = self.groups == 1
            && shape == [self.rows, self.cols]
            && self.layout.iter().all(|layout| matches!(layout, Layout::Reshape(_)));
        if back_to_matrix {
            self.layout.clear();
        } else if !same_matrices {
            self.begin_layout();
            self.layout.push(Layout::Reshape(shape.to_vec()));
        }
        self.shape = shape.to_vec();
        self
    }

    pub(super) fn permuted(mut self, axes: &[usize]) -> Self {
        let rank = axes.len();
        let transposes = rank >= 2
            && axes[..rank - 2].iter().enumerate().all(|(i, axis)| i == *axis)
            && axes[rank - 2..] == [rank - 1, rank - 2];
        if self.is_matrix() && transposes {
            for u in &mut self.uses {
                std::mem::swap(&mut u.left, &mut u.right);
            }
            std::mem::swap(&mut self.rows, &mut self.cols);
        } else {
            self.begin_layout();
            self.layout.push(Layout::Permute(axes.to_vec()));
        }
        self.shape = axes.iter().map(|axis| self.shape[*axis]).collect();
        self
    }

    /// From here on the value is no stack of matrices: layouts apply to its traced shape.
    fn begin_layout(&mut self) {
        if self.layout.is_empty() {
            self.layout.push(Layout::Reshape(self.shape.clone()));
        }
    }

    /// A sum over stack axes of the product moves them from groups to positions.
    pub(super) fn summed(mut self, axes: &[usize]) -> Option<Self> {
        let depth = self.shape.len().checked_sub(2)?;
        if !self.is_matrix() || axes.iter().any(|axis| *axis >= depth) {
            return None;
        }
        for axis in axes {
            let size = self.shape[*axis];
            if size == 1 {
                continue;
            }
            for u in &mut self.uses {
                for side in [&mut u.left, &mut u.right] {
                    let Source::Operand(operand) = &mut side.source else { return None };
                    if operand.stack.get(*axis) != Some(&size) || operand.summed[*axis] {
                        return None;
                    }
                    operand.summed[*axis] = true;
                }
                u.length *= size;
            }
            self.groups /= size;
            self.shape[*axis] = 1;
        }
        Some(self)
    }

    /// `self · matrix`: the shared matrix moves into the right factor.
    pub(super) fn times(mut self, matrix: &TensorIr, out: &[usize]) -> Option<Self> {
        if !self.is_matrix() || self.groups != 1 || !is_one_matrix(matrix) {
            return None;
        }
        for u in &mut self.uses {
            u.right.then.push(Shared { matrix: matrix.clone(), transposed: false });
        }
        self.cols = *out.last()?;
        self.shape = out.to_vec();
        Some(self)
    }

    /// `matrix · self`: the shared matrix moves, transposed, into the left factor.
    pub(super) fn under(mut self, matrix: &TensorIr, out: &[usize]) -> Option<Self> {
        if !self.is_matrix() || self.groups != 1 || !is_one_matrix(matrix) {
            return None;
        }
        for u in &mut self.uses {
            u.left.then.push(Shared { matrix: matrix.clone(), transposed: true });
        }
        self.rows = out[out.len().checked_sub(2)?];
        self.shape = out.to_vec();
        Some(self)
    }
}

fn is_one_matrix(tensor: &TensorIr) -> bool {
    let shape = tensor.shape.as_slice();
    shape.len() >= 2 && shape[..shape.len() - 2].iter().all(|n| *n == 1)
}
