//! What a step of a trace does to a value in factors.

use burn_ir::TensorIr;

/// Something linear that keeps factors.
pub(super) enum Change<'t> {
    Scale(f64),
    Reshape(&'t [usize]),
    Permute(Vec<usize>),
    /// Times a shared value of the same shape.
    Mask(&'t TensorIr),
    Sum {
        axes: &'t [usize],
        shape: &'t [usize],
    },
    /// `value · matrix`, the matrix shared.
    Times {
        matrix: &'t TensorIr,
        out: &'t [usize],
    },
    /// `matrix · value`, the matrix shared.
    Under {
        matrix: &'t TensorIr,
        out: &'t [usize],
    },
}
