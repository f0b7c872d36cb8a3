//! Activation functions. Each element, or each line along one axis, is computed on its own.

use burn_backend::Backend;
use burn_backend::tensor::FloatTensor;
use burn_ir::{ActivationOperationIr, BinaryOpIr, DimOpIr, TensorIr};

use super::flex;
use crate::error::Result;
use crate::per_example::replay::{Applied, Replay};
use crate::per_example::simplify::SoftmaxBackward;
use crate::per_example::value::Value;

pub(super) fn apply<B: Backend>(
    o: &ActivationOperationIr,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    use ActivationOperationIr as A;
    match o {
        A::Relu(o) => unary(&o.input, &o.out, r, B::relu),
        A::ReluBackward(o) => pair(o, r, B::relu_backward),
        A::LeakyRelu(o) => unary(&o.lhs, &o.out, r, |x| B::leaky_relu(x, o.rhs.into())),
        A::PRelu(o) => prelu(o, r),
        A::Gelu(o) if flex::serves(r, &o.input) => {
            let input = r.float(&o.input)?;
            r.put(&o.out, Value::Float(flex::gelu::<B>(input)?))
        }
        A::Gelu(o) => unary(&o.input, &o.out, r, B::gelu),
        A::GeluBackward(o) if flex::serves(r, &o.lhs) => {
            let lhs = r.full(&o.lhs)?.float()?;
            let rhs = r.full(&o.rhs)?.float()?;
            r.put(&o.out, Value::Float(flex::gelu_backward::<B>(lhs, rhs)?))
        }
        A::GeluBackward(o) => pair(o, r, B::gelu_backward),
        A::Sigmoid(o) => unary(&o.input, &o.out, r, B::sigmoid),
        A::SigmoidBackward(o) => pair(o, r, B::sigmoid_backward),
        A::HardSigmoid(o) => {
            unary(&o.tensor, &o.out, r, |x| B::hard_sigmoid(x, o.alpha.into(), o.beta.into()))
        }
        A::LogSigmoid(o) => unary(&o.input, &o.out, r, B::log_sigmoid),
        A::LogSigmoidBackward(o) => pair(o, r, B::log_sigmoid_backward),
        A::Softmax(o) if flex::serves(r, &o.input) => {
            let input = r.float(&o.input)?;
            r.put(&o.out, Value::Float(flex::softmax::<B>(input, o.axis + r.lead())?))
        }
        A::Softmax(o) => along(o, r, B::softmax),
        A::LogSoftmax(o) => along(o, r, B::log_softmax),
        A::Softmin(o) => along(o, r, B::softmin),
    }
}

fn unary<B: Backend>(
    input: &TensorIr,
    out: &TensorIr,
    r: &mut Replay<'_, B>,
    run: impl FnOnce(FloatTensor<B>) -> FloatTensor<B>,
) -> Result<Applied> {
    let input = r.float(input)?;
    r.put(out, Value::Float(run(input)))
}

/// P ⊙ (dP − Σ dP ⊙ P): see [`SoftmaxBackward`].
pub(super) fn softmax_backward<B: Backend>(
    o: &SoftmaxBackward<'_>,
    r: &mut Replay<'_, B>,
) -> Result<Applied> {
    let axis = o.axis + r.lead();
    let serves = flex::serves(r, o.result) && flex::serves(r, o.gradient);
    let result = r.full(o.result)?.float()?;
    let gradient = r.full(o.gradient)?.float()?;
    let out = if serves {
        flex::softmax_backward::<B>(result, gradient, axis)?
    } else {
        let total = B::float_sum_dim(B::float_mul(gradient.clone(), result.clone()), axis);
        B::float_mul(B::float_sub(gradient, total), result)
    };
    r.put(o.out, Value::Float(out))
}

/// Both operands, repeated for every example. Backends mask one by the other, without broadcasting.
fn pair<B: Backend>(
    o: &BinaryOpIr,
    r: &mut Replay<'_, B>,
    run: impl FnOnce(FloatTensor<B>, FloatTensor<B>) -> FloatTensor<B>,
) -> Result<Applied> {
    let lhs = r.full(&o.lhs)?.float()?;
    let rhs = r.full(&o.rhs)?.float()?;
    r.put(&o.out, Value::Float(run(lhs, rhs)))
}

/// The slopes are traced with the input's rank (`[1, channels, 1, ..]`). With the batch axis in
/// front of them too, they broadcast as they are.
fn prelu<B: Backend>(o: &BinaryOpIr, r: &mut Replay<'_, B>) -> Result<Applied> {
    let input = r.full(&o.lhs)?.float()?;
    let slopes = r.float(&o.rhs)?;
    r.put(&o.out, Value::Float(B::prelu(input, slopes)))
}

fn along<B: Backend>(
    o: &DimOpIr,
    r: &mut Replay<'_, B>,
    run: impl FnOnce(FloatTensor<B>, usize) -> FloatTensor<B>,
) -> Result<Applied> {
    let axis = o.axis + r.lead();
    unary(&o.input, &o.out, r, |x| run(x, axis))
}

#[cfg(test)]
mod tests {
    use burn_ir::ActivationOperationIr as A;
    use burn_ir::{HardSigmoidOpIr, OperationIr, ScalarIr, ScalarOpIr, UnaryOpIr};

    use super::super::module::tests::case::{Case, id};
    use super::*;

    /// Compares each of `operations` on the case's tensors: all examples at once, and one at a
    /// time.
    fn check<const N: usize>(c: &Case, operations: [A; N]) {
        operations.into_iter().for_each(|o| c.compare(&OperationIr::Activation(o)));
    }

    #[test]
    fn of_one_tensor() {
        let mut c = Case::new();
        let tensor = c.batched(&[2, 3, 4]);
        let x = UnaryOpIr::create(tensor.clone(), id);
        check(
            &c,
            [A::Relu(x.clone()), A::Gelu(x.clone()), A::Sigmoid(x.clone()), A::LogSigmoid(x)],
        );
        let (alpha, beta) = (ScalarIr::Float(0.2), ScalarIr::Float(0.5));
        let leaky = ScalarOpIr::create(tensor.clone(), alpha, id);
        let out = leaky.out.clone();
        check(
            &c,
            [A::LeakyRelu(leaky), A::HardSigmoid(HardSigmoidOpIr { tensor, alpha, beta, out })],
        );
    }

    #[test]
    fn backward_whichever_operand_is_batched() {
        for (lhs, rhs) in [(true, true), (true, false), (false, true)] {
            let mut c = Case::new();
            let [lhs, rhs] = [lhs, rhs]
                .map(|batched| if batched { c.batched(&[2, 3]) } else { c.shared(&[2, 3]) });
            let o = BinaryOpIr::create(lhs, rhs, id);
            check(
                &c,
                [
                    A::ReluBackward(o.clone()),
                    A::GeluBackward(o.clone()),
                    A::SigmoidBackward(o.clone()),
                    A::LogSigmoidBackward(o),
                ],
            );
        }
    }

    #[test]
    fn prelu_slopes_follow_the_channel_axis() {
        for (channels, slopes_batched) in [(1, false), (3, false), (3, true)] {
            let mut c = Case::new();
            let x = if slopes_batched { c.shared(&[2, 3, 4]) } else { c.batched(&[2, 3, 4]) };
            let dims = [1, channels, 1];
            let slopes = if slopes_batched { c.batched(&dims) } else { c.shared(&dims) };
            check(&c, [A::PRelu(BinaryOpIr::create(x, slopes, id))]);
        }
    }

    #[test]
    fn along_every_axis() {
        let mut c = Case::new();
        let x = c.batched(&[2, 3, 4]);
        for axis in 0..3 {
            let o = DimOpIr::create(x.clone(), axis, id);
            check(&c, [A::Softmax(o.clone()), A::LogSoftmax(o.clone()), A::Softmin(o)]);
        }
    }

    #[test]
    fn softmax_backward_along_every_axis_whichever_operand_is_batched() {
        for (result, gradient) in [(true, true), (true, false), (false, true)] {
            let mut c = Case::new();
            let [result, gradient] = [result, gradient]
                .map(|batched| if batched { c.batched(&[2, 3, 4]) } else { c.shared(&[2, 3, 4]) });
            for axis in 0..3 {
                let out = UnaryOpIr::create(gradient.clone(), id).out;
                let o = SoftmaxBackward { result: &result, gradient: &gradient, axis, out: &out };
                c.compare(&o.operation());
            }
        }
    }
}
