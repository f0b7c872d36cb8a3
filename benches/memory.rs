//! Peak memory of one linear layer's clipped gradient sum: factors against materialized gradients.
//!
//! `cargo bench --bench memory`. Each row is a process of its own, and its figure is that process's
//! peak resident set (Linux). T = 256 positions, d = p = 768, batch 32: a materialized gradient is
//! `[32, 768, 768]`, 75.5 MB. The factors are `[32, 256, 768]` twice. The model's own forward and
//! backward pass hold them anyway.

use std::process::Command;
use std::time::Instant;

use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor};
use burn_dp::per_example::{Engine, NormMethod, Traced};

const BATCH: usize = 32;
const POSITIONS: usize = 256;
const WIDTH: usize = 768;
const ROWS: [&str; 4] = ["inputs only", "no privacy", "ghost", "materialized"];

fn main() {
    if let Some(row) = std::env::var_os("BURN_DP_MEMORY_ROW") {
        return measure(&row.to_string_lossy());
    }
    println!("T = {POSITIONS}, d = p = {WIDTH}, B = {BATCH}, f32");
    for row in ROWS {
        let exe = std::env::current_exe().expect("the bench knows its own path");
        let out = Command::new(exe).env("BURN_DP_MEMORY_ROW", row).output().expect("it runs");
        print!("{}", String::from_utf8_lossy(&out.stdout));
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

fn loss(model: &Linear, x: Tensor<3>) -> Tensor<1> {
    model.forward(x).powi_scalar(2).mean()
}

fn measure(row: &str) {
    let device = Device::default().autodiff();
    let model = LinearConfig::new(WIDTH, WIDTH).init(&device);
    let x = Tensor::<3>::random([BATCH, POSITIONS, WIDTH], Distribution::Default, &device);
    let mut note = String::new();
    let start = Instant::now();
    match row {
        "inputs only" => drop(x.sum().into_data()),
        "no privacy" => {
            let gradients = loss(&model, x).backward();
            drop(model.weight.grad(&gradients).map(|g| g.sum().into_data()));
        }
        _ => {
            let method = if row == "ghost" { NormMethod::Mixed } else { NormMethod::Materialized };
            let mut engine = Traced::new(loss).with_norm_method(method);
            note = engine.explain(&model, &x).expect("the model traces").to_string();
            let gradients = engine.per_example(&model, x).expect("the model traces");
            drop(gradients.estimated_squared_norms().into_data());
            let weights = Tensor::ones([BATCH], &device.without_autodiff());
            let sum = gradients.weighted_sum(weights).expect("one weight an example");
            drop(sum.into_gradients(&model).get::<2>(model.weight.id).map(|g| g.sum().into_data()));
        }
    }
    let time = start.elapsed();
    println!("{row:>14}: peak {:>6.1} MB, {:.0} ms", peak_megabytes(), time.as_secs_f64() * 1e3);
    for line in note.lines().filter(|line| line.contains("weight")) {
        println!("                plan: {line}");
    }
}

/// The process's peak resident set; NaN if the system does not report it.
fn peak_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kb| kb * 1024.0 / 1e6)
}
