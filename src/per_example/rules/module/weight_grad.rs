//! The weight and bias gradients of convolutions, for every example by itself.
//!
//! A convolution multiplies, for every tap `k` of its window, the output position `p` with the
//! input position `p * stride + k * dilation - padding`. Its weight gradient is therefore
//!
//! ```text
//! dW[o, i, k] = sum over rows and p of  grad[o, p] * x[i, p * stride + k * dilation - padding]
//! ```
//!
//! one matrix product per example (and group) of the gradient with the windows of the input. For a
//! transposed convolution, input and output change places.

use burn_backend::ops::PadMode;
use burn_backend::{Backend, Shape, Slice};
use burn_ir::{
    Conv1dOptionsIr, Conv2dOptionsIr, Conv3dOptionsIr, ConvTranspose1dOptionsIr,
    ConvTranspose2dOptionsIr, ConvTranspose3dOptionsIr, TensorIr,
};

use crate::error::Result;
use crate::per_example::replay::{Applied, Replay};
use crate::per_example::rules::flex::{self, Windows};
use crate::per_example::value::Value;

/// How a window moves, one entry per spatial axis.
pub(super) struct Window {
    stride: Vec<usize>,
    padding: Vec<(usize, usize)>,
    dilation: Vec<usize>,
    groups: usize,
}

macro_rules! window {
    ($($options:ty, $pair:expr;)*) => {$(
        impl From<&$options> for Window {
            fn from(o: &$options) -> Self {
                Self {
                    stride: o.stride.to_vec(),
                    padding: o.padding.map($pair).to_vec(),
                    dilation: o.dilation.to_vec(),
                    groups: o.groups,
                }
            }
        }
    )*};
}

window! {
    Conv1dOptionsIr, |sides| sides;
    Conv2dOptionsIr, |sides| sides;
    Conv3dOptionsIr, |side| (side, side);
    ConvTranspose1dOptionsIr, |side| (side, side);
    ConvTranspose2dOptionsIr, |side| (side, side);
    ConvTranspose3dOptionsIr, |side| (side, side);
}

pub(super) fn conv_weight_grad<B: Backend>(
    x: &TensorIr,
    grad: &TensorIr,
    out: &TensorIr,
    window: &Window,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    correlate(grad, x, out, window, r)
}

pub(super) fn transposed_weight_grad<B: Backend>(
    x: &TensorIr,
    grad: &TensorIr,
    out: &TensorIr,
    window: &Window,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    correlate(x, grad, out, window, r)
}

/// The product of `coarse` (one position per window) with the windows of `fine`.
fn correlate<B: Backend>(
    coarse: &TensorIr,
    fine: &TensorIr,
    out: &TensorIr,
    window: &Window,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    let kernel = &out.shape.as_slice()[2..];
    let positions = &coarse.shape.as_slice()[2..];
    let coarse = grouped(r.full(coarse)?, window.groups);
    let coarse = matrix(coarse);
    let windows = match window.in_two_axes(kernel, positions) {
        // With one row, the spatial axes come right after the channels.
        Some(windows) if flex::serves(r, fine) && fine.shape[0] == 1 => {
            let fine = grouped(r.full(fine)?, window.groups);
            let dims = fine.shape();
            let [groups, channels, _, height, width] = dims.dims();
            let fine = fine.reshape(Shape::new([groups, channels, height, width]));
            Value::Float(flex::windows::<B>(fine.float()?, &windows)?)
        }
        _ => {
            let fine = grouped(pad(r.full(fine)?, &window.padding)?, window.groups);
            windows_of(fine, window, kernel, positions)?
        }
    };
    let product = B::float_matmul(coarse.float()?, windows.swap_dims(1, 2).float()?);
    let shape = r.shape(out);
    r.put(out, Value::Float(product).reshape(shape))
}

/// `[groups, channels, rows, ..]`, padded, as `[groups, channels · taps, rows · positions]`.
fn windows_of<B: Backend>(
    fine: Value<B>,
    window: &Window,
    kernel: &[usize],
    positions: &[usize],
) -> Result<Value<B>> {
    let taps = taps(kernel).into_iter().map(|tap| {
        let windows = matrix(fine.clone().slice(&window.ranges(&tap, positions)));
        let [groups, channels, places] = windows.shape().dims();
        windows.reshape(Shape::new([groups, channels, 1, places]))
    });
    let windows = Value::cat(taps.collect(), 2)?;
    let [groups, channels, taps, places] = windows.shape().dims();
    Ok(windows.reshape(Shape::new([groups, channels * taps, places])))
}

impl Window {
    /// The window as one that moves over two axes, if it is one.
    fn in_two_axes(&self, kernel: &[usize], positions: &[usize]) -> Option<Windows> {
        let [(top, _), (left, _)] = self.padding[..] else { return None };
        Some(Windows {
            kernel: kernel.try_into().ok()?,
            stride: self.stride[..].try_into().ok()?,
            padding: [top, left],
            dilation: self.dilation[..].try_into().ok()?,
            output: positions.try_into().ok()?,
        })
    }

    /// The places in a padded `[_, channels, rows, ..]` where every window has its tap `tap`.
    fn ranges(&self, tap: &[usize], positions: &[usize]) -> Vec<Slice> {
        let mut ranges = vec![Slice::full(); 3];
        for (axis, (&tap, &count)) in tap.iter().zip(positions).enumerate() {
            let (start, step) = (tap * self.dilation[axis], self.stride[axis]);
            let end = start + (count - 1) * step + 1;
            ranges.push(Slice::new(start as isize, Some(end as isize), step as isize));
        }
        ranges
    }
}

/// All taps of a window, in the order of the weight in memory: the last axis varies fastest.
fn taps(kernel: &[usize]) -> Vec<Vec<usize>> {
    kernel.iter().fold(vec![Vec::new()], |taps, &size| {
        taps.iter().flat_map(|tap| (0..size).map(|k| [tap.as_slice(), &[k]].concat())).collect()
    })
}

/// Adds zeros around the spatial axes of `[batch, rows, channels, ..]`.
fn pad<B: Backend>(value: Value<B>, padding: &[(usize, usize)]) -> Result<Value<B>> {
    if padding.iter().all(|sides| *sides == (0, 0)) {
        return Ok(value);
    }
    value.pad(&[&[(0, 0); 3], padding].concat(), PadMode::Constant(0.0))
}

/// `[batch, rows, groups * channels, ..]` as `[batch * groups, channels, rows, ..]`.
fn grouped<B: Backend>(value: Value<B>, groups: usize) -> Value<B> {
    let shape = value.shape();
    let (&[batch, rows, all, ..], space) = (shape.as_slice(), &shape.as_slice()[3..]) else {
        return value;
    };
    let channels = all / groups;
    let places = space.iter().product();
    let mut value = value.reshape(Shape::new([batch, rows, groups, channels, places]));
    // With one row the order in memory is already right.
    if rows > 1 {
        value = value.permute(&[0, 2, 3, 1, 4]);
    }
    value.reshape(Shape::from([&[batch * groups, channels, rows], space].concat()))
}

/// `[_, channels, rows, ..]` as `[_, channels, rows * positions]`.
fn matrix<B: Backend>(value: Value<B>) -> Value<B> {
    let shape = value.shape();
    let (front, places) = shape.as_slice().split_at(2);
    let dims = [front, &[places.iter().product()]].concat();
    value.reshape(Shape::from(dims))
}

/// The sum over everything but the channels: `[(batch,) rows, channels, ..] -> [(batch,) channels]`.
pub(super) fn bias_grad<B: Backend>(
    grad: &TensorIr,
    out: &TensorIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    let lead = r.lead();
    let shape = r.shape(grad);
    let (front, places) = shape.as_slice().split_at(lead + 2);
    let dims = [front, &[places.iter().product()]].concat();
    let sum = r.full(grad)?.reshape(Shape::from(dims)).sum_dim(lead + 2)?.sum_dim(lead)?;
    let shape = r.shape(out);
    r.put(out, sum.reshape(shape))
}
