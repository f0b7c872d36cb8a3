//! Bias-only against full fine-tuning, private and not: time and peak memory of whole processes.
//!
//! ```sh
//! cargo bench -p finetune --bench bitfit
//! ```
//!
//! Each figure is a process of its own that takes whole steps: sampling aside, everything from the forward
//! pass to the optimizer's update of the weights. Weights are random, which changes no time. "full"
//! trains every parameter; "bias" every bias, shift and the head (DP-BiTFiT, Bu et al. 2022, arXiv
//! 2210.00036, which reports 2 to 30 times less time and 2 to 8 times less memory than full private
//! fine-tuning). The memory of a process includes weights and optimizer state, but also this program.

use std::process::Command;
use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_dp::DpOptimizer;
use burn_dp::batch::Batch;
use burn_dp::per_example::Traced;
use burn_dp::privacy::*;
use burn_dp::seed::Seed;
use burn_dp::selection::ParamSelector;
use finetune::memory::peak_megabytes;
use finetune::models::cross_entropy;
use finetune::models::text::{TextClassifier, TextEncoderConfig, TextInputs};
use finetune::models::vision::{SqueezeNet, SqueezeNetConfig};

/// Set in the processes that measure.
const ROW: &str = "FINETUNE_BITFIT_ROW";
const MODES: [&str; 3] = ["ordinary full", "private full", "private bias"];
const TEXT_BATCH: usize = 8;
const IMAGE_BATCH: usize = 16;
/// Steps measured, after one that traces and fills caches.
const STEPS: u64 = 3;

fn main() {
    if let Ok(row) = std::env::var(ROW) {
        return measure(&row);
    }
    println!(
        "| model | ordinary full | private full | private bias | private: full / bias | private bias / ordinary full |"
    );
    println!("|---|---|---|---|---|---|");
    for length in [64, 128, 256, 512] {
        print_row(
            &format!("MiniLM-L6, {length} tokens, batch {TEXT_BATCH}"),
            &format!("text {length}"),
        );
    }
    for pixels in [64, 128, 224] {
        let name = format!("SqueezeNet 1.1, {pixels} pixels, batch {IMAGE_BATCH}");
        print_row(&name, &format!("image {pixels}"));
    }
}

fn print_row(name: &str, row: &str) {
    let [ordinary, full, bias] = MODES.map(|mode| in_a_process(&format!("{mode}:{row}")));
    let cell = |(ms, mb): (f64, f64)| format!("{ms:.0} ms, {mb:.0} MB");
    println!(
        "| {name} | {} | {} | {} | {:.1}x time, {:.1}x memory | {:.2}x time, {:.2}x memory |",
        cell(ordinary),
        cell(full),
        cell(bias),
        full.0 / bias.0,
        full.1 / bias.1,
        bias.0 / ordinary.0,
        bias.1 / ordinary.1,
    );
}

/// Milliseconds a step and peak megabytes.
fn in_a_process(row: &str) -> (f64, f64) {
    let exe = std::env::current_exe().expect("the bench knows its own path");
    let out = Command::new(exe).env(ROW, row).output().expect("it runs");
    assert!(out.status.success(), "{row}: {}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8_lossy(&out.stdout);
    let mut numbers = text.split_whitespace().filter_map(|word| word.parse().ok());
    (numbers.next().expect("milliseconds"), numbers.next().expect("megabytes"))
}

fn measure(row: &str) {
    let (mode, shape) = row.split_once(':').expect("a mode");
    let (kind, size) = shape.split_once(' ').expect("a size");
    let size: usize = size.parse().expect("a number");
    let device = Device::default().autodiff();
    let ms = match kind {
        "text" => {
            let encoder = TextEncoderConfig::minilm_l6().init(&device).expect("sizes that fit");
            let model = TextClassifier::new(encoder, 2, &device).expect("two classes");
            let tokens = (0..(TEXT_BATCH * size) as i32).map(|i| i * 7919 % 30000);
            let tokens = tokens.collect::<Vec<_>>();
            let tokens = Tensor::<1, Int>::from_data(tokens.as_slice(), &device);
            let mask = Tensor::<2>::ones([TEXT_BATCH, size], &device);
            let labels = Tensor::<1, Int>::zeros([TEXT_BATCH], &device);
            steps(mode, model, (tokens.reshape([TEXT_BATCH, size]), mask, labels), text_loss)
        }
        _ => {
            let model = SqueezeNetConfig::new(10).init(&device);
            let shape = [IMAGE_BATCH, 3, size, size];
            let images = Tensor::<4>::random(shape, Distribution::Normal(0.0, 50.0), &device);
            let labels = Tensor::<1, Int>::zeros([IMAGE_BATCH], &device);
            steps(mode, model, (images, labels), image_loss)
        }
    };
    println!("{ms} {}", peak_megabytes().unwrap_or(f64::NAN));
}

type Texts = (Tensor<2, Int>, Tensor<2>, Tensor<1, Int>);

fn text_loss(model: &TextClassifier, (tokens, mask, labels): Texts) -> Tensor<1> {
    cross_entropy(model.forward(TextInputs::new(tokens, mask)), labels)
}

fn image_loss(model: &SqueezeNet, (images, labels): (Tensor<4>, Tensor<1, Int>)) -> Tensor<1> {
    cross_entropy(model.forward(images), labels)
}

/// The median time of a step.
fn steps<M: Module, X: Batch>(
    mode: &str,
    mut model: M,
    batch: X,
    loss: fn(&M, X) -> Tensor<1>,
) -> f64 {
    let mut times = Vec::new();
    if mode == "ordinary full" {
        let mut optimizer = AdamConfig::new().init();
        for _ in 0..=STEPS {
            let start = Instant::now();
            let gradients = loss(&model, batch.clone()).backward();
            let gradients = GradientsParams::from_grads(gradients, &model);
            model = optimizer.step(1e-4, model, gradients);
            times.push(start.elapsed());
        }
    } else {
        let selector = match mode {
            "private bias" => ParamSelector::bias().union(ParamSelector::path("head")),
            _ => ParamSelector::all(),
        };
        model = selector.select(&model).and_then(|s| s.apply(model)).expect("a selection");
        let seed = Seed::reproducible(1);
        let engine = Traced::new(loss);
        let mut optimizer = DpOptimizer::with_seed(plan(), AdamConfig::new().init(), engine, seed);
        for _ in 0..=STEPS {
            let start = Instant::now();
            let logical = optimizer.vouch_for_poisson([batch.clone()]);
            optimizer.step(1e-4, &mut model, logical).expect("a step");
            times.push(start.elapsed());
        }
    }
    let mut times = times.split_off(1);
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

fn plan() -> PrivacyPlan {
    let build = || -> burn_dp::Result<PrivacyPlan> {
        PrivacyPlan::builder()
            .noise_multiplier(NoiseMultiplier::new(1.0)?)
            .sampling_rate(SamplingRate::new(0.01)?)
            .expected_batch_size(ExpectedBatchSize::new(16.0)?)
            .steps(Steps::from(STEPS + 1))
            .clipping(Clipping::flat(ClippingNorm::new(1.0)?))
            .build()
    };
    build().expect("a plan")
}
