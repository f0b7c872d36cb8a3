//! The effect of a trace's step on a value in factors.

use burn_ir::TensorIr;

/// A linear step that keeps factors.
pub(super) enum Change<'t> {
    Scale(f64),
    Reshape(&'t [usize]),
    Permute(Vec<usize>),
    /// Multiplied by a shared value of the same shape.
    Mask(&'t TensorIr),
    Sum {
        axes: &'t [usize],
        shape: &'t [usize],
    },
    /// `value · matrix`, where the matrix is shared.
    Times {
        matrix: &'t TensorIr,
        out: &'t [usize],
    },
    /// `matrix · value`, where the matrix is shared.
    Under {
        matrix: &'t TensorIr,
        out: &'t [usize],
    },
}
