//! Rules of the operations that only one kind of tensor has.

use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_backend::{Backend, Scalar};
use burn_ir::{
    BinaryOpIr, BoolOperationIr, FloatOperationIr, IntOperationIr, OperationIr, ScalarOpIr,
    UnaryOpIr,
};

use super::numeric::{binary, unary};
use super::{matmul, refused};
use crate::error::Result;
use crate::per_example::replay::{Applied, Replay};
use crate::per_example::value::Value;

pub(super) fn float<B: Backend>(
    op: &FloatOperationIr,
    whole: &OperationIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    use FloatOperationIr as Op;
    match op {
        Op::Exp(o) => float_unary(o, r, B::float_exp),
        Op::Log(o) => float_unary(o, r, B::float_log),
        Op::Log1p(o) => float_unary(o, r, B::float_log1p),
        Op::Erf(o) => float_unary(o, r, B::float_erf),
        Op::Sqrt(o) => float_unary(o, r, B::float_sqrt),
        Op::Recip(o) => float_unary(o, r, B::float_recip),
        Op::Cos(o) => float_unary(o, r, B::float_cos),
        Op::Cosh(o) => float_unary(o, r, B::float_cosh),
        Op::Sin(o) => float_unary(o, r, B::float_sin),
        Op::Sinh(o) => float_unary(o, r, B::float_sinh),
        Op::Tan(o) => float_unary(o, r, B::float_tan),
        Op::Tanh(o) => float_unary(o, r, B::float_tanh),
        Op::ArcCos(o) => float_unary(o, r, B::float_acos),
        Op::ArcCosh(o) => float_unary(o, r, B::float_acosh),
        Op::ArcSin(o) => float_unary(o, r, B::float_asin),
        Op::ArcSinh(o) => float_unary(o, r, B::float_asinh),
        Op::ArcTan(o) => float_unary(o, r, B::float_atan),
        Op::ArcTanh(o) => float_unary(o, r, B::float_atanh),
        Op::Round(o) => float_unary(o, r, B::float_round),
        Op::Floor(o) => float_unary(o, r, B::float_floor),
        Op::Ceil(o) => float_unary(o, r, B::float_ceil),
        Op::Trunc(o) => float_unary(o, r, B::float_trunc),

        Op::ArcTan2(o) => float_binary(o, r, B::float_atan2),
        Op::Powf(o) => float_binary(o, r, B::float_powf),
        Op::Hypot(o) => float_binary(o, r, B::float_hypot),
        Op::PowfScalar(o) => {
            let x = r.float(&o.lhs)?;
            r.put(&o.out, Value::Float(B::float_powf_scalar(x, o.rhs.into())))
        }

        Op::IntoInt(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.cast(o.out.dtype)?)
        }
        Op::IsNan(o) => {
            let x = r.float(&o.input)?;
            r.put(&o.out, Value::Bool(B::float_is_nan(x, o.out.dtype.into())))
        }
        Op::IsInf(o) => {
            let x = r.float(&o.input)?;
            r.put(&o.out, Value::Bool(B::float_is_inf(x, o.out.dtype.into())))
        }

        Op::Matmul(o) => matmul::float(o, r),
        Op::Cross(o) => {
            let (a, b) = (r.full(&o.lhs)?.float()?, r.full(&o.rhs)?.float()?);
            r.put(&o.out, Value::Float(B::float_cross(a, b, o.dim + r.lead())))
        }
        // A random value is always batched, so every example draws its own.
        Op::Random(o) => {
            let shape = r.shape(&o.out);
            let random = B::float_random(shape, o.distribution, r.device(), o.out.dtype.into());
            r.put(&o.out, Value::Float(random))
        }
        Op::GridSample2d(o) if r.lead() == 1 => {
            // Images and grids both have a batch axis of their own, so examples fold into it.
            let (x, grid) = (r.full(&o.tensor)?, r.full(&o.grid)?);
            let out = r.shape(&o.out);
            let (x, grid) = (fold(x)?, fold(grid)?);
            let sampled = B::float_grid_sample_2d(x, grid, o.options.clone().into());
            r.put(&o.out, Value::Float(sampled).reshape(out))
        }
        Op::GridSample2d(o) => {
            let (x, grid) = (r.float(&o.tensor)?, r.float(&o.grid)?);
            let sampled = B::float_grid_sample_2d(x, grid, o.options.clone().into());
            r.put(&o.out, Value::Float(sampled))
        }
        Op::Quantize(_) | Op::Dequantize(_) => {
            Err(refused(&format!("quantized tensors ({})", name(whole))))
        }
    }
}

pub(super) fn int<B: Backend>(op: &IntOperationIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    use IntOperationIr as Op;
    match op {
        Op::IntoFloat(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.cast(o.out.dtype)?)
        }
        Op::BitwiseAnd(o) => int_binary(o, r, B::bitwise_and),
        Op::BitwiseOr(o) => int_binary(o, r, B::bitwise_or),
        Op::BitwiseXor(o) => int_binary(o, r, B::bitwise_xor),
        Op::BitwiseLeftShift(o) => int_binary(o, r, B::bitwise_left_shift),
        Op::BitwiseRightShift(o) => int_binary(o, r, B::bitwise_right_shift),
        Op::BitwiseAndScalar(o) => int_scalar(o, r, B::bitwise_and_scalar),
        Op::BitwiseOrScalar(o) => int_scalar(o, r, B::bitwise_or_scalar),
        Op::BitwiseXorScalar(o) => int_scalar(o, r, B::bitwise_xor_scalar),
        Op::BitwiseLeftShiftScalar(o) => int_scalar(o, r, B::bitwise_left_shift_scalar),
        Op::BitwiseRightShiftScalar(o) => int_scalar(o, r, B::bitwise_right_shift_scalar),
        Op::BitwiseNot(o) => unary(o, r, |x| Ok(Value::Int(B::bitwise_not(x.int()?)))),
        Op::Matmul(o) => {
            let (a, b) = (r.arg(&o.lhs)?.int()?, r.arg(&o.rhs)?.int()?);
            r.put(&o.out, Value::Int(B::int_matmul(a, b)))
        }
    }
}

pub(super) fn bool<B: Backend>(op: &BoolOperationIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    use BoolOperationIr as Op;
    match op {
        Op::IntoFloat(o) | Op::IntoInt(o) => {
            let x = r.arg(&o.input)?;
            r.put(&o.out, x.cast(o.out.dtype)?)
        }
        Op::Not(o) => unary(o, r, |x| Ok(Value::Bool(B::bool_not(x.bool()?)))),
        Op::And(o) => binary(o, r, |a, b| Ok(Value::Bool(B::bool_and(a.bool()?, b.bool()?)))),
        Op::Or(o) => binary(o, r, |a, b| Ok(Value::Bool(B::bool_or(a.bool()?, b.bool()?)))),
        Op::Xor(o) => binary(o, r, |a, b| Ok(Value::Bool(B::bool_xor(a.bool()?, b.bool()?)))),
    }
}

pub(super) fn float_unary<B: Backend>(
    o: &UnaryOpIr,
    r: &mut Replay<'_, B>,
    f: impl FnOnce(FloatTensor<B>) -> FloatTensor<B>,
) -> Result<Applied> {
    unary(o, r, |x| Ok(Value::Float(f(x.float()?))))
}

pub(super) fn float_binary<B: Backend>(
    o: &BinaryOpIr,
    r: &mut Replay<'_, B>,
    f: impl FnOnce(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) -> Result<Applied> {
    binary(o, r, |a, b| Ok(Value::Float(f(a.float()?, b.float()?))))
}

fn int_binary<B: Backend>(
    o: &BinaryOpIr,
    r: &mut Replay<'_, B>,
    f: impl FnOnce(IntTensor<B>, IntTensor<B>) -> IntTensor<B>,
) -> Result<Applied> {
    binary(o, r, |a, b| Ok(Value::Int(f(a.int()?, b.int()?))))
}

fn int_scalar<B: Backend>(
    o: &ScalarOpIr,
    r: &mut Replay<'_, B>,
    f: impl FnOnce(IntTensor<B>, Scalar) -> IntTensor<B>,
) -> Result<Applied> {
    let x = r.arg(&o.lhs)?.int()?;
    r.put(&o.out, Value::Int(f(x, o.rhs.into())))
}

/// `[batch, n, ...]` as `[batch * n, ...]`.
fn fold<B: Backend>(x: Value<B>) -> Result<FloatTensor<B>> {
    let shape = x.shape();
    let dims = shape.as_slice();
    let mut folded = vec![dims[0] * dims[1]];
    folded.extend_from_slice(&dims[2..]);
    x.reshape(folded.into()).float()
}

fn name(op: &OperationIr) -> String {
    let text = format!("{op:?}");
    text.chars().take_while(|c| *c != '{').collect::<String>().trim().to_owned()
}
