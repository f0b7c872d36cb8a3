//! Random graphs of operations, compared with the batch-of-one engine.
//!
//! A graph is a list of steps on a stack of values. All values have shape `[batch, 4, 4]`, so that
//! every axis can be position or feature. Each step pops one or two of them and pushes its result.
//! Parameters of shape `[4, 4]` and `[4]` are read anywhere, any number of times.

use burn::module::Param;
use burn::tensor::activation::{gelu, relu, sigmoid, softmax};
use burn::tensor::{IndexingUpdateOp, Int, Tensor};
use proptest::prelude::*;

use crate::harness::{Bench, EXAMPLES, Law, device, score};

const WIDTH: usize = 4;

/// Two matrices and a vector.
type Parameters = (Param<Tensor<2>>, Param<Tensor<2>>, Param<Tensor<1>>);

#[derive(Clone, Debug)]
enum Step {
    /// Pushes the example again.
    Input,
    /// Pushes the vector parameter.
    Vector,
    Unary(u8),
    Binary(u8),
    /// Product with the first matrix, the second, their sum or a transpose.
    Matrix(u8),
    /// A change of shape, and back.
    Shape(u8),
    Index(u8),
    Reduce(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Step::Input),
        Just(Step::Vector),
        (0..9u8).prop_map(Step::Unary),
        (0..9u8).prop_map(Step::Binary),
        (0..9u8).prop_map(Step::Matrix),
        (0..5u8).prop_map(Step::Shape),
        (0..7u8).prop_map(Step::Index),
        (0..6u8).prop_map(Step::Reduce),
    ];
    prop::collection::vec(step, 1..14)
}

fn loss(steps: &[Step], (a, b, v): &Parameters, (x, i): (Tensor<3>, Tensor<3, Int>)) -> Tensor<1> {
    let full = x.dims();
    let vector = || v.val().unsqueeze::<3>().expand(full);
    // At least one parameter of each shape takes part.
    let mut stack = vec![x.clone(), x.clone().matmul(a.val().unsqueeze()) + vector()];
    for step in steps {
        let top = stack.pop().unwrap_or_else(|| x.clone());
        let next = match step {
            Step::Input => {
                stack.push(top);
                x.clone()
            }
            Step::Vector => {
                stack.push(top);
                vector()
            }
            Step::Unary(n) => unary(*n, top),
            Step::Binary(n) => {
                let under = stack.pop().unwrap_or_else(vector);
                binary(*n, top, under)
            }
            Step::Matrix(n) => matrix(*n, top, a.val(), b.val()),
            Step::Shape(n) => reshape(*n, top),
            Step::Index(n) => index(*n, top, i.clone(), b.val()),
            Step::Reduce(n) => reduce(*n, top),
        };
        // Keeps values in a range where no function is steep.
        stack.push(next.tanh());
    }
    // Steps may cancel everything (such as the mean taken from rows that are constant). A gradient
    // that is zero in exact arithmetic is all rounding. One more use makes it nonzero, and
    // differences are measured relative to that.
    let used = x.clone().matmul(a.val().unsqueeze()) * 0.3 + vector();
    score(stack.into_iter().fold(used, |sum, y| sum * 0.7 + y))
}

fn unary(n: u8, x: Tensor<3>) -> Tensor<3> {
    match n {
        0 => x.exp(),
        1 => (x.abs() + 0.5).log(),
        2 => sigmoid(x),
        3 => relu(x),
        4 => gelu(x),
        5 => softmax(x, 2),
        6 => x.powi_scalar(2),
        7 => -x,
        _ => x.clone() * 0.5 + (x * 1.5 + 0.1).detach(),
    }
}

fn binary(n: u8, x: Tensor<3>, y: Tensor<3>) -> Tensor<3> {
    match n {
        0 => x + y,
        1 => x - y,
        2 => x * y,
        3 => x / (y.abs() + 0.5),
        4 => x.max_pair(y),
        5 => x.clone().mask_where(x.lower(y.clone()), y),
        6 => x.matmul(y),
        7 => x.matmul(y.transpose()),
        _ => Tensor::cat(vec![x, y], 2).slice_dim(2, 2..2 + WIDTH),
    }
}

fn matrix(n: u8, x: Tensor<3>, a: Tensor<2>, b: Tensor<2>) -> Tensor<3> {
    match n {
        0 => x.matmul(a.unsqueeze()),
        1 => x.matmul(b.unsqueeze()),
        2 => x.matmul((a + b).unsqueeze()),
        3 => x.matmul(a.transpose().unsqueeze()),
        4 => x.matmul(a.matmul(b).unsqueeze()),
        5 => {
            // Every position is a group of its own.
            let stacked = x.unsqueeze_dim::<4>(2).matmul((a * 2.0).unsqueeze());
            stacked.squeeze_dim(2)
        }
        6 => b.unsqueeze::<3>().matmul(x),
        7 => x.clone().matmul((x * b.unsqueeze()).transpose()),
        _ => x * a.unsqueeze(),
    }
}

fn reshape(n: u8, x: Tensor<3>) -> Tensor<3> {
    let full = x.dims();
    match n {
        0 => x.swap_dims(1, 2),
        1 => x.flip([1]),
        2 => x.cumsum(1),
        3 => x.reshape([full[0], 2, 4, 2]).permute([0, 3, 1, 2]).reshape(full),
        _ => x.repeat_dim(2, 2).slice_dim(2, 3..3 + WIDTH),
    }
}

fn index(n: u8, x: Tensor<3>, i: Tensor<3, Int>, table: Tensor<2>) -> Tensor<3> {
    let first: Tensor<1, Int> = i.clone().slice_dim(1, 0..1).reshape([-1]);
    match n {
        0 => x.gather(1, i),
        1 => x.zeros_like().scatter(2, i, x, IndexingUpdateOp::Add),
        2 => x * table.select(0, first).unsqueeze(),
        3 => x.sort(2),
        4 => {
            let rows = x.clone().slice_dim(1, 0..2);
            x.clone().slice_assign([0..x.dims()[0], 1..3], rows)
        }
        5 => x.clone() + x.select_assign(1, first, table.unsqueeze(), IndexingUpdateOp::Add),
        _ => x.select(1, Tensor::from_data([3, 1, 1, 0], &i.device())),
    }
}

fn reduce(n: u8, x: Tensor<3>) -> Tensor<3> {
    let full = x.dims();
    match n {
        0 => x.clone() - x.mean_dim(2),
        1 => x.sum_dim(1).expand(full),
        2 => x.max_dim(2).expand(full),
        3 => x.clone() / (x.powi_scalar(2).sum_dim(2) + 0.1).sqrt(),
        4 => x.var(2).expand(full),
        _ => x.clone() * x.prod_dim(1),
    }
}

/// A Gram sum rounds relative to the lengths of its factors, not to the norm that remains when they
/// cancel. Some random graph always makes them cancel. No case of the table needs this.
const NORM_FLOOR: f64 = 1e-3;

/// The number of graphs per law. `PROPTEST_CASES` sets another.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn traced_equals_batch_of_one_on_random_graphs(steps in steps()) {
        let bench = Bench::new(device().autodiff(), Law::Equality).with_norm_floor(NORM_FLOOR);
        let outcome = run(&bench, steps);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }

    #[test]
    fn no_example_reaches_another_on_random_graphs(steps in steps()) {
        let bench = Bench::new(device().autodiff(), Law::Separation);
        let outcome = run(&bench, steps);
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    }
}

fn run(bench: &Bench, steps: Vec<Step>) -> crate::harness::Outcome {
    let square = [WIDTH, WIDTH];
    let model = (bench.parameter(square), bench.parameter(square), bench.parameter([WIDTH]));
    let shape = [EXAMPLES, WIDTH, WIDTH];
    let batch = (bench.floats(shape), bench.ints(shape, WIDTH));
    bench.run(model, batch, |model, batch| loss(&steps, model, batch))
}
