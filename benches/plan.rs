//! Time to plan models of very many operations, and time of a step of each:
//! `cargo bench --bench plan`.

use std::time::{Duration, Instant};

use burn::module::{Module, Param};
use burn::nn::{Lstm, LstmConfig};
use burn::tensor::{Device, Distribution, Tensor};
use burn_dp::Result;
use burn_dp::batch::Batch;
use burn_dp::per_example::{Engine, NormMethod, Traced};

const WIDTH: usize = 16;
const BATCH: usize = 8;

type Matrix = Param<Tensor<2>>;

fn main() -> Result<()> {
    let device = Device::default().autodiff();
    let x = |length| {
        Tensor::<3>::random([BATCH, length, WIDTH], Distribution::Normal(0.0, 1.0), &device)
    };
    let matrix = |width| -> Matrix {
        let spread = Distribution::Normal(0.0, 0.2 / (width as f64).sqrt());
        Param::from_tensor(Tensor::random([width, width], spread, &device))
    };
    row("h <- 0.9 h + hA + x, T = 512", &matrix(WIDTH), x(512), recurrence)?;
    row("leaky network, T = 4096", &(matrix(WIDTH), matrix(WIDTH)), x(4096), leaky)?;
    let layers: Vec<Lstm> =
        (0..4).map(|_| LstmConfig::new(WIDTH, WIDTH, true).init(&device)).collect();
    row("LSTM of 4 layers, T = 128", &layers, x(128), |layers, x| {
        layers.iter().fold(x, |x, lstm| lstm.forward(x, None).0).powi_scalar(2).mean()
    })?;
    row("Björck, 1 iteration", &matrix(WIDTH), x(3), |w, x| used(bjorck(w.val(), 1), x))?;
    row("Björck, 15 iterations", &matrix(WIDTH), x(3), |w, x| used(bjorck(w.val(), 15), x))?;
    row("Newton-Schulz, 15 iterations", &matrix(WIDTH), x(3), |w, x| {
        used(newton_schulz(w.val(), 15), x)
    })
}

/// Prints the time of tracing and planning, and the best of some clipped sums, by each method.
fn row<M, X, F>(name: &str, model: &M, batch: X, loss: F) -> Result<()>
where
    M: Module,
    X: Batch,
    F: Fn(&M, X) -> Tensor<1> + Copy,
{
    println!("{name}");
    for method in [NormMethod::Mixed, NormMethod::Ghost, NormMethod::Materialized] {
        let start = Instant::now();
        let mut engine = Traced::new(loss).with_norm_method(method);
        let operations = engine.explain(model, &batch)?.operations;
        let plan = start.elapsed();
        let mut step = Duration::MAX;
        for _ in 0..7 {
            let start = Instant::now();
            let gradients = engine.per_example(model, batch.clone())?;
            let norms = gradients.clipping_norms()?.into_iter();
            let weights: Vec<f32> = norms.map(|norm| norm.recip().min(1.0) as f32).collect();
            let weights = Tensor::from_data(weights.as_slice(), &gradients.losses().device());
            gradients.weighted_sum(weights)?.into_gradients(model);
            step = step.min(start.elapsed());
        }
        let (method, milliseconds) = (format!("{method:?}"), step.as_secs_f64() * 1e3);
        let plan = plan.as_secs_f64();
        println!(
            "  {method:<12} {operations:>6} operations, plan {plan:.3} s, step {milliseconds:.2} ms"
        );
    }
    Ok(())
}

fn at(x: &Tensor<3>, t: usize) -> Tensor<2> {
    x.clone().slice_dim(1, t..t + 1).squeeze_dim(1)
}

fn recurrence(a: &Matrix, x: Tensor<3>) -> Tensor<1> {
    let [batch, length, width] = x.dims();
    let start = Tensor::<2>::zeros([batch, width], &x.device());
    let step = |h: Tensor<2>, t| h.clone() * 0.9 + h.matmul(a.val()) + at(&x, t);
    (0..length).fold(start, step).powi_scalar(2).mean()
}

fn leaky((w, u): &(Matrix, Matrix), x: Tensor<3>) -> Tensor<1> {
    let [batch, length, width] = x.dims();
    let start = Tensor::<2>::zeros([batch, width], &x.device());
    let step = |h: Tensor<2>, t| {
        let now = h.clone().matmul(w.val()) + at(&x, t).matmul(u.val());
        h * 0.9 + now.tanh() * 0.1
    };
    (0..length).fold(start, step).powi_scalar(2).mean()
}

/// W <- 1.5 W - 0.5 W Wᵀ W
fn bjorck(w: Tensor<2>, iterations: usize) -> Tensor<2> {
    (0..iterations).fold(w, |w, _| {
        let cubed = w.clone().matmul(w.clone().transpose()).matmul(w.clone());
        w * 1.5 - cubed * 0.5
    })
}

fn newton_schulz(w: Tensor<2>, iterations: usize) -> Tensor<2> {
    (0..iterations).fold(w, |w, _| {
        let s = w.clone().matmul(w.clone().transpose());
        let polynomial = s.clone() * -4.775 + s.clone().matmul(s) * 2.0315;
        w.clone() * 3.4445 + polynomial.matmul(w)
    })
}

fn used(w: Tensor<2>, x: Tensor<3>) -> Tensor<1> {
    x.matmul(w.unsqueeze()).powi_scalar(2).mean()
}
