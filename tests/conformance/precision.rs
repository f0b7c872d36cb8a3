//! What norms assume about a backend's arithmetic, and models in half precision.

use burn::module::{Module, Param};
use burn::tensor::activation::{gelu, softmax};
use burn::tensor::{DType, Tensor};
use burn_dp::per_example::{Engine, Loop, NormMethod, PerExample, Traced};

use crate::harness::{Bench, EXAMPLES, Law, device, device_is, host};

/// Tensor cores keep ten bits of each operand's fraction. Everything else multiplies in f32.
fn product_error(terms: usize) -> f64 {
    let tf32 = if device_is("cuda") { 2.0 / 1024.0 } else { 0.0 };
    tf32 + f64::from(f32::EPSILON) * (terms as f64).sqrt()
}

#[test]
fn a_product_is_as_exact_as_norms_assume() {
    let b = Bench::new(device(), Law::Equality);
    for [batch, rows, terms, columns] in [
        [1, 5, 7, 3],
        [1, 128, 128, 128],
        [7, 128, 384, 128],
        [1, 384, 1024, 256],
        [1, 1, 2048, 64],
    ] {
        let (x, y) = (b.floats([batch, rows, terms]), b.others([batch, terms, columns]));
        let product = host(x.clone().matmul(y.clone()));
        let (x, y) = (host(x), host(y));
        let mut worst = 0.0f64;
        for (place, given) in product.into_iter().enumerate() {
            let (i, column) = (place / columns, place % columns);
            let row = &x[i * terms..(i + 1) * terms];
            let first = i / rows * terms * columns + column;
            let column = y[first..].iter().step_by(columns).take(terms);
            let (mut exact, mut lengths) = (0.0, [0.0; 2]);
            for (x, y) in row.iter().zip(column) {
                exact += x * y;
                lengths = [lengths[0] + x * x, lengths[1] + y * y];
            }
            worst = worst.max((given - exact).abs() / (lengths[0] * lengths[1]).sqrt());
        }
        println!("{batch} x {rows} x {terms} x {columns}: {worst:.1e}");
        assert!(worst <= product_error(terms), "{worst:e} for {terms} terms");
    }
}

/// One of each: dense maps, softmax, GELU, and a parameter that broadcasts.
#[derive(Module, Debug)]
struct Model {
    into: Param<Tensor<2>>,
    shift: Param<Tensor<1>>,
    out: Param<Tensor<2>>,
}

fn model(b: &Bench) -> Model {
    Model {
        into: Param::from_tensor(half(b.floats([8, 16]))),
        shift: Param::from_tensor(half(b.floats([16]))),
        out: Param::from_tensor(half(b.others([16, 4]))),
    }
}

fn half<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let device = x.device();
    Tensor::from_data(x.into_data(), (&device, DType::BF16))
}

fn loss(model: &Model, x: Tensor<3>) -> Tensor<1> {
    let y = gelu(x.matmul(model.into.val().unsqueeze()) + model.shift.val().unsqueeze());
    let y = softmax(y.matmul(model.out.val().unsqueeze()), 2);
    y.powi_scalar(2).sum_dim(1).sum_dim(2).mean()
}

#[test]
fn norms_and_sums_of_a_model_in_half_precision_are_in_single() {
    let b = Bench::new(device().autodiff(), Law::Equality);
    if !device().supports_dtype(DType::BF16) {
        println!("left out on this backend: it has no bf16");
        return;
    }
    let model = model(&b);
    let x = half(b.floats([EXAMPLES, 5, 8]));
    let oracle = Loop::new(loss).per_example(&model, x.clone()).unwrap();
    for method in [NormMethod::Ghost, NormMethod::Materialized] {
        let mut engine = Traced::new(loss).with_norm_method(method);
        let given = engine.per_example(&model, x.clone()).unwrap();
        compare(&given, &oracle, &model.into);
        compare(&given, &oracle, &model.shift);
        compare(&given, &oracle, &model.out);
    }
}

fn compare<const D: usize>(given: &PerExample, oracle: &PerExample, param: &Param<Tensor<D>>) {
    let gradients = |of: &PerExample| match D {
        1 => host(of.gradient::<2>(param.id).unwrap()),
        _ => host(of.gradient::<3>(param.id).unwrap()),
    };
    let (gradient, expected) = (gradients(given), gradients(oracle));
    let largest = expected.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    for (a, b) in gradient.iter().zip(&expected) {
        // Eight bits, and a few roundings.
        assert!((a - b).abs() < 0.04 * largest, "{a} and {b} of {largest}");
    }
    let norms = host(given.estimated_squared_norms_of(param.id).unwrap());
    let row = gradient.len() / EXAMPLES;
    for (norm, gradient) in norms.iter().zip(gradient.chunks(row)) {
        let exact: f64 = gradient.iter().map(|x| x * x).sum();
        let allowed = 4.0 * product_error(row) * exact;
        assert!((norm - exact).abs() <= allowed, "{norm} and {exact}, within {allowed:e}");
    }
}
