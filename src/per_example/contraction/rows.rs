//! Turns the values of a replay into rows: the two factors of every use of a parameter.

use burn_backend::ops::UnfoldOptions;
use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, DType, Scalar, Shape, TensorMetadata};

use super::{Factor, Factors, in_f32};
use crate::error::{Error, Result, TraceError};
use crate::per_example::factor::{Conv, Operand, Shared, Side, Source, Use};
use crate::per_example::replay::Replay;
use crate::per_example::rules::flex::{self, Windows};

impl<B: Backend> Factors<B> {
    pub(super) fn new(u: &Use, replay: &mut Replay<'_, B>) -> Result<Self> {
        let left = Factor::new(&u.left, u.length, replay)?;
        let right = Factor::new(&u.right, u.length, replay)?;
        // The scale multiplies whichever factor has entries.
        let scale = Scalar::Float(u.scale);
        Ok(match (left, right) {
            (left, Factor::Dense(right)) if u.scale != 1.0 => {
                Self { left, right: Factor::Dense(B::float_mul_scalar(right, scale)) }
            }
            (Factor::Dense(left), right) if u.scale != 1.0 => {
                Self { left: Factor::Dense(B::float_mul_scalar(left, scale)), right }
            }
            (left, right) => Self { left, right },
        })
    }
}

impl<B: Backend> Factor<B> {
    fn new(side: &Side, length: usize, replay: &mut Replay<'_, B>) -> Result<Self> {
        let batch = replay.batch();
        let mut matrices = side.then.iter();
        let rows = match &side.source {
            Source::Operand(operand) => operand_rows(operand, length, replay)?,
            Source::Patches { x, conv } => {
                let on_flex = replay.is_on_flex() && x.dtype == DType::F32;
                patches::<B>(replay.repeated(x)?.float()?, conv, batch, on_flex)?
            }
            Source::Channels { grad, groups } => {
                let grad = replay.repeated(grad)?;
                let width = grad.shape().num_elements() / (batch * groups * length).max(1);
                let shape = Shape::from(vec![batch, *groups, width, length]);
                B::float_swap_dims(grad.reshape(shape).float()?, 2, 3)
            }
            Source::OneHot { indices, classes } => {
                let value = replay.repeated(indices)?;
                let value = value.reshape(Shape::from(vec![batch, length])).int()?;
                let indices = replay.rows(indices, value, *classes)?;
                let Some(first) = matrices.next() else {
                    return Ok(Self::OneHot(indices));
                };
                // A one-hot row times a matrix is a row of that matrix.
                let matrix = shared_matrix(first, replay)?;
                let width = matrix.shape()[1];
                let indices = B::int_reshape(indices, Shape::from(vec![batch * length]));
                let rows = B::float_select(matrix, 0, indices);
                B::float_reshape(rows, Shape::from(vec![batch, 1, length, width]))
            }
        };
        matrices.try_fold(in_f32::<B>(rows), |x, m| times(x, m, replay)).map(Self::Dense)
    }
}

/// `[b, ...stack, a, w]` (or `[..., w, a]`) as `[b, groups, positions, w]`.
fn operand_rows<B: Backend>(
    operand: &Operand,
    length: usize,
    replay: &mut Replay<'_, B>,
) -> Result<FloatTensor<B>> {
    let batch = replay.batch();
    let x = replay.stored(&operand.tensor)?.float()?;
    // This comes first, because it mostly undoes a transposition. Then nothing below copies.
    let x = if operand.positions_last {
        let last = x.shape().num_dims() - 1;
        B::float_swap_dims(x, last - 1, last)
    } else {
        x
    };
    let have = x.shape();
    let rank = operand.stack.len() + 3;
    // Operands of one product may have fewer stack axes, or axes of size one that broadcast.
    let mut dims = vec![1; rank];
    dims[0] = have[0];
    let own = have.as_slice();
    for (to, from) in (1..rank).rev().zip((1..own.len()).rev()) {
        dims[to] = own[from];
    }
    let mut full = dims.clone();
    full[0] = batch;
    full[1..rank - 2].copy_from_slice(&operand.stack);
    let x = B::float_reshape(x, Shape::from(dims.clone()));
    let x = if dims == full { x } else { B::float_expand(x, Shape::from(full)) };

    let stack_axes = || operand.summed.iter().enumerate().map(|(axis, summed)| (axis + 1, *summed));
    let groups: Vec<usize> = stack_axes().filter(|(_, s)| !s).map(|(axis, _)| axis).collect();
    let summed: Vec<usize> = stack_axes().filter(|(_, s)| *s).map(|(axis, _)| axis).collect();
    let group_count: usize = groups.iter().map(|axis| operand.stack[axis - 1]).product();
    let width = x.shape()[rank - 1];
    let mut axes = vec![0];
    axes.extend(groups);
    axes.extend(summed);
    axes.extend([rank - 2, rank - 1]);
    let x = B::float_permute(x, &axes);
    Ok(B::float_reshape(x, Shape::from(vec![batch, group_count, length, width])))
}

/// The patches that a kernel sees: `[b, 1, channels, h, w]` as `[b, groups, positions, patch]`.
fn patches<B: Backend>(
    x: FloatTensor<B>,
    conv: &Conv,
    batch: usize,
    on_flex: bool,
) -> Result<FloatTensor<B>> {
    let shape = x.shape();
    let rank = shape.num_dims();
    let (channels, height, width) = (shape[rank - 3], shape[rank - 2], shape[rank - 1]);
    let mut x = B::float_reshape(x, Shape::from(vec![batch, channels, height, width]));
    let [(top, bottom), (left, right)] = conv.padding;
    let symmetric = top == bottom && left == right;
    if !symmetric {
        let padding = [(0, 0), (0, 0), (top, bottom), (left, right)];
        let zero = burn_backend::ops::PadMode::Constant(0.0);
        x = B::float_pad(x, &padding, zero);
    }
    let padding = if symmetric { [top, left] } else { [0, 0] };
    // A kernel of one pixel sees each pixel, so nothing needs to be copied.
    let pixels = conv.kernel == [1, 1] && conv.stride == [1, 1] && symmetric && padding == [0, 0];
    let columns = if pixels {
        x
    } else if on_flex {
        let (kernel, stride, dilation) = (conv.kernel, conv.stride, conv.dilation);
        flex::windows::<B>(x, &Windows { kernel, stride, padding, dilation, output: conv.output })?
    } else {
        let options = UnfoldOptions::new(conv.stride, padding, conv.dilation);
        B::unfold4d(x, conv.kernel, options)
    };
    // Rows of the last, incomplete stride may add positions that are not in the output.
    let positions = conv.output[0] * conv.output[1];
    let patch = channels / conv.groups * conv.kernel[0] * conv.kernel[1];
    let columns =
        B::float_reshape(columns, Shape::from(vec![batch, conv.groups, patch, positions]));
    Ok(B::float_swap_dims(columns, 2, 3))
}

fn times<B: Backend>(
    x: FloatTensor<B>,
    shared: &Shared,
    replay: &mut Replay<'_, B>,
) -> Result<FloatTensor<B>> {
    let matrix = shared_matrix(shared, replay)?;
    let shape = x.shape();
    let [b, g, t, width] = *shape.as_slice() else { return Err(broken()) };
    let out = matrix.shape()[1];
    let x = B::float_reshape(x, Shape::from(vec![b * g * t, width]));
    let product = B::float_matmul(x, matrix);
    Ok(B::float_reshape(product, Shape::from(vec![b, g, t, out])))
}

fn shared_matrix<B: Backend>(
    shared: &Shared,
    replay: &mut Replay<'_, B>,
) -> Result<FloatTensor<B>> {
    let shape = shared.matrix.shape.as_slice();
    let (rows, cols) = (shape[shape.len() - 2], shape[shape.len() - 1]);
    let matrix = replay.shared(&shared.matrix)?.reshape(Shape::from(vec![rows, cols])).float()?;
    let matrix = in_f32::<B>(matrix);
    Ok(if shared.transposed { B::float_swap_dims(matrix, 0, 1) } else { matrix })
}

fn broken() -> Error {
    Error::Trace(TraceError::Broken { tensor: 0 })
}
