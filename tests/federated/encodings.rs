//! Server optimizers and encodings reach the same solution.

use burn_dp::Result;
use burn_dp::federated::{
    ClientId, Encoding, FederatedPlan, RunId, ServerOptimizer, Training, simulate,
};
use burn_dp::privacy::PrivacyPlan;

use super::{SEED, client, flat, manifest};

const TARGET: f32 = 0.5;

/// Half the way to the target.
fn halfway(_: &ClientId, training: &Training<'_>) -> Result<Vec<f32>> {
    let request = training.request;
    Ok(request.weights.iter().map(|weight| weight + 0.5 * (TARGET - weight)).collect())
}

fn ends_at(optimizer: ServerOptimizer, encoding: Encoding) -> (f32, u64) {
    let privacy = PrivacyPlan::builder()
        .sampling_rate(0.5)
        .expected_batch_size(20.0)
        .steps(100)
        .clipping(flat(10.0))
        .noise_multiplier(0.0)
        .build()
        .expect("a plan");
    let run = RunId::new("run").expect("a name");
    let population = (0..40).map(client).collect();
    let plan = FederatedPlan::builder(run, manifest(), population, privacy)
        .optimizer(optimizer)
        .encoding(encoding)
        .build()
        .expect("a plan");
    let ended = simulate(plan, vec![-1.0; 16], SEED, halfway, |_| ()).expect("a run");
    let worst = ended.weights.iter().map(|weight| (weight - TARGET).abs()).fold(0.0, f32::max);
    (worst, ended.bytes_up)
}

#[test]
fn every_server_optimizer_arrives() {
    let (betas, adaptivity) = ([0.9, 0.99], 1e-3);
    for optimizer in [
        ServerOptimizer::Average { learning_rate: 1.0 },
        ServerOptimizer::Momentum { learning_rate: 0.3, momentum: 0.5 },
        ServerOptimizer::Adam { learning_rate: 0.1, betas, adaptivity },
        ServerOptimizer::Yogi { learning_rate: 0.1, betas, adaptivity },
    ] {
        let (worst, _) = ends_at(optimizer, Encoding::Dense);
        assert!(worst < 0.05, "{optimizer:?} ends {worst} away");
    }
}

#[test]
fn every_encoding_arrives_with_fewer_bytes() {
    let average = ServerOptimizer::Average { learning_rate: 1.0 };
    let (_, dense) = ends_at(average, Encoding::Dense);
    for encoding in
        [Encoding::RandomK { keep: 4 }, Encoding::TopK { keep: 4 }, Encoding::Quantized { bits: 2 }]
    {
        let (worst, bytes) = ends_at(average, encoding);
        assert!(worst < 0.05, "{encoding:?} ends {worst} away");
        assert!(bytes < dense, "{encoding:?}: {bytes} and {dense}");
    }
}
