//! The quickstart gives, step by step, the same bits as when `data/golden_steps.json` was written.
//!
//! Sampling, noise and accounting are the same everywhere. A model's last digits depend on the
//! processor and the mathematical library. The file records what burn alone computed on the machine
//! where it was written. On machines where burn computes something else, weights are compared to a
//! few digits.
//!
//! The model is a copy of the quickstart's on purpose: this file must not change with the example.
//!
//! `BURN_DP_WRITE_GOLDEN=1 cargo test --test golden` writes the file anew. Do that for a change that is meant to change
//! results, and say so in CHANGELOG.md.

use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::optim::AdamConfig;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_dp::noise::gaussian;
use burn_dp::per_example::Traced;
use burn_dp::privacy::{
    AdaptiveClipping, Clipping, ClippingNorm, Delta, ExpectedBatchSize, NoiseMultiplier,
    PrivacyPlan, PrivateSelection, SamplingRate, Steps,
};
use burn_dp::seed::{Domain, Seed};
use burn_dp::selection::TopGradientNorm;
use burn_dp::{DpOptimizer, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const FILE: &str = "tests/data/golden_steps.json";
const STEPS: u64 = 6;
const RECORDS: usize = 1437;

#[derive(Module, Debug)]
struct Cnn {
    conv1: Conv2d,
    norm1: GroupNorm,
    conv2: Conv2d,
    norm2: GroupNorm,
    pool: MaxPool2d,
    out: Linear,
}

impl Cnn {
    fn new(device: &Device) -> Self {
        let conv = |channels| {
            Conv2dConfig::new(channels, [3, 3]).with_padding(PaddingConfig2d::Same).init(device)
        };
        Self {
            conv1: conv([1, 16]),
            norm1: GroupNormConfig::new(4, 16).init(device),
            conv2: conv([16, 16]),
            norm2: GroupNormConfig::new(4, 16).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            out: LinearConfig::new(16 * 4 * 4, 10).init(device),
        }
    }

    fn loss(&self, (images, labels): (Tensor<4>, Tensor<1, Int>)) -> Tensor<1> {
        let x = relu(self.norm1.forward(self.conv1.forward(images)));
        let x = relu(self.norm2.forward(self.conv2.forward(x)));
        let logits = self.out.forward(self.pool.forward(x).flatten(1, 3));
        CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels)
    }
}

/// The quickstart's training set, batched.
fn digits(records: &[usize], device: &Device) -> (Tensor<4>, Tensor<1, Int>) {
    let lines = include_str!("../examples/data/digits.csv").lines();
    let train: Vec<&str> =
        lines.enumerate().filter(|(i, _)| i % 5 != 0).map(|(_, line)| line).collect();
    assert_eq!(train.len(), RECORDS);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for record in records {
        let numbers: Vec<i32> = train[*record].split(',').map(|n| n.parse().unwrap()).collect();
        pixels.extend(numbers[..64].iter().map(|p| *p as f32 / 8.0 - 1.0));
        labels.push(numbers[64]);
    }
    let images = Tensor::from_data(TensorData::new(pixels, [records.len(), 1, 8, 8]), device);
    (images, Tensor::from_data(TensorData::new(labels, [records.len()]), device))
}

/// All weights of a model, in the model's order.
fn weights(model: &Cnn) -> Vec<f32> {
    struct Weights(Vec<f32>);
    impl ModuleVisitor for Weights {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let mut weights = Weights(Vec::new());
    model.visit(&mut weights);
    weights.0
}

fn hash(bytes: impl IntoIterator<Item = u8>) -> String {
    let digest = Sha256::digest(bytes.into_iter().collect::<Vec<u8>>());
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn hash_of(numbers: &[f32]) -> String {
    hash(numbers.iter().flat_map(|x| x.to_bits().to_le_bytes()))
}

/// What burn alone computes from the first records. It is the same only where burn's kernels are.
fn burn_alone(device: &Device) -> String {
    let model = initial(device);
    let records: Vec<usize> = (0..64).collect();
    let gradients = model.loss(digits(&records, device)).backward();
    let gradient = model.conv1.weight.grad(&gradients).unwrap().into_data();
    hash_of(&gradient.iter::<f32>().collect::<Vec<_>>())
}

/// Weights that no generator draws, so that a release of burn with another generator changes
/// nothing here.
fn initial(device: &Device) -> Cnn {
    struct Fill(u32);
    impl burn::module::ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (device, dims) = (param.val().device(), param.val().dims());
            let entries = dims.iter().product::<usize>();
            let fan_in = (entries / dims[D - 1].max(1)).max(1) as f32;
            let numbers: Vec<f32> = (0..entries)
                .map(|_| {
                    self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    ((self.0 >> 8) as f32 / 8_388_608.0 - 1.0) / fan_in.sqrt()
                })
                .collect();
            param.map(|_| Tensor::from_data(TensorData::new(numbers, dims), &device).require_grad())
        }
    }
    Cnn::new(device).map(&mut Fill(7))
}

fn norm(value: f64) -> ClippingNorm {
    ClippingNorm::new(value).unwrap()
}

fn clippings() -> Result<Vec<(&'static str, Clipping)>> {
    let groups = vec![("conv1", norm(0.5)), ("", norm(1.0))];
    let noise = 16.0;
    Ok(vec![
        ("flat", Clipping::flat(norm(1.0))?),
        ("automatic", Clipping::automatic(norm(1.0), 0.01)?),
        ("per group", Clipping::per_group(groups)?),
        ("adaptive", Clipping::Adaptive(AdaptiveClipping::new(norm(0.5), 0.5, 0.2, noise)?)),
    ])
}

/// One run of some steps with a private selection before them.
fn run(clipping: Clipping, device: &Device) -> Result<Value> {
    let delta = Delta::new(1e-5)?;
    let rate = SamplingRate::new(0.2)?;
    let plan = PrivacyPlan::builder()
        .noise_multiplier(NoiseMultiplier::new(1.3)?)
        .sampling_rate(rate)
        .expected_batch_size(ExpectedBatchSize::new(287.4)?)
        .steps(Steps::from(STEPS))
        .clipping(clipping)
        .selection(PrivateSelection {
            sampling_rate: rate,
            noise_multiplier: NoiseMultiplier::new(2.0)?,
            clipping_norm: norm(1.0),
        })
        .build()?;
    let statement = plan.statement(delta).to_string();
    let seed = Seed::reproducible(11);
    let mut model = initial(device);
    let mut optimizer =
        DpOptimizer::with_seed(plan, AdamConfig::new().init(), Traced::new(Cnn::loss), seed);

    let batch =
        optimizer.sample_for_selection(RECORDS)?.batches(200, |records| digits(records, device))?;
    let selection = optimizer.select_top(&TopGradientNorm::share(0.4)?, &model, batch)?;

    let mut steps = Vec::new();
    while optimizer.steps_left().value() > 0 {
        let sample = optimizer.sample(RECORDS)?;
        let records = hash(sample.indices().iter().flat_map(|record| record.to_le_bytes()));
        let batch = sample.batches(200, |records| digits(records, device))?;
        optimizer.step(0.01, &mut model, batch)?;
        let weights = weights(&model);
        steps.push(json!({
            "records": records,
            "epsilon": optimizer.epsilon(delta)?.value(),
            "weights": hash_of(&weights),
            "some": weights.iter().step_by(997).collect::<Vec<_>>(),
        }));
    }
    Ok(json!({ "statement": statement, "selection": selection.to_string(), "steps": steps }))
}

fn computed() -> Result<Value> {
    let device = Device::default().autodiff();
    let seed = Seed::reproducible(11);
    let noise = gaussian(&seed, Domain::GradientNoise, 3, 1, 100_000, 0.7)?;
    let mut runs = serde_json::Map::new();
    for (name, clipping) in clippings()? {
        runs.insert(name.to_owned(), run(clipping, &device)?);
    }
    Ok(json!({ "burn alone": burn_alone(&device), "noise": hash_of(&noise), "runs": runs }))
}

/// Compares everything except the last digits that burn's kernels decide.
fn assert_close(found: &Value, expected: &Value, exact: bool, place: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
            for (key, value) in found {
                let of_kernels = ["burn alone", "weights"].contains(&key.as_str());
                if exact || !of_kernels {
                    assert_close(value, &expected[key], exact, &format!("{place}/{key}"));
                }
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{place}");
            for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_close(found, expected, exact, &format!("{place}/{index}"));
            }
        }
        (Value::Number(a), Value::Number(b)) if !exact => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            assert!((a - b).abs() <= 1e-3 * b.abs().max(0.1), "{place}: {a}, not {b}");
        }
        _ => assert_eq!(found, expected, "{place}"),
    }
}

#[test]
fn every_step_has_the_bits_that_it_always_had() -> Result<()> {
    // The last digits of a sum depend on the number of threads.
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let found = one.install(computed)?;
    if std::env::var_os("BURN_DP_WRITE_GOLDEN").is_some() {
        std::fs::write(FILE, serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(FILE).unwrap()).unwrap();
    let exact = found["burn alone"] == expected["burn alone"];
    assert_close(&found, &expected, exact, "");
    Ok(())
}
