//! Federated training: laws of a round, of the roles when they are killed, and of strangers' bytes.

mod audit;
mod crashes;
mod encodings;
mod hostile;
mod kinds;
mod models;
mod nodes;
mod roles;
mod rounds;
mod sensitivity;
mod strangers;
mod worker;

use burn_dp::error::Result;
use burn_dp::federated::{
    Client, ClientId, Encoding, FederatedPlan, Inbox, Manifest, RunId, Server, Training,
};
use burn_dp::privacy::{Clipping, PrivacyPlan};
use burn_dp::seed::SeedSource;

pub const ROUNDS: u64 = 4;
pub const CLIENTS: usize = 6;
pub const SEED: SeedSource = SeedSource::Reproducible(7);

pub fn client(index: usize) -> ClientId {
    ClientId::new(format!("hospital-{index}")).expect("a name")
}

pub fn manifest() -> Manifest {
    let tensors = vec![("head.weight".into(), vec![3, 4]), ("head.bias".into(), vec![4])];
    Manifest::new(tensors, Manifest::digest([&b"base"[..]])).expect("two parameters")
}

/// Everybody is asked in each round, so that only what is tested is random.
pub fn privacy(clipping: Clipping, noise_multiplier: f64, clients: usize) -> PrivacyPlan {
    PrivacyPlan::builder()
        .sampling_rate(1.0)
        .expected_batch_size(clients as f64)
        .steps(ROUNDS)
        .clipping(clipping)
        .noise_multiplier(noise_multiplier)
        .build()
        .expect("a plan")
}

pub fn plan(clipping: Clipping, noise_multiplier: f64, encoding: Encoding) -> FederatedPlan {
    let run = RunId::new("run-1").expect("a name");
    let population = (0..CLIENTS).map(client).collect();
    let privacy = privacy(clipping, noise_multiplier, CLIENTS);
    FederatedPlan::builder(run, manifest(), population, privacy)
        .encoding(encoding)
        .deadline(60)
        .build()
        .expect("a plan")
}

pub fn flat(norm: f64) -> Clipping {
    Clipping::flat(norm).expect("a norm")
}

/// What a client's training makes of weights: the same each time.
pub fn trained(client: &ClientId, training: &Training<'_>) -> Result<Vec<f32>> {
    let request = training.request;
    let number = client.as_str().bytes().map(f32::from).sum::<f32>() + request.round as f32;
    let moved =
        |(index, weight): (usize, &f32)| weight + ((number + index as f32) % 7.0 - 3.0) / 8.0;
    Ok(request.weights.iter().enumerate().map(moved).collect())
}

pub fn everybody() -> Inbox {
    Inbox { online: (0..CLIENTS).map(client).collect(), ..Inbox::default() }
}

pub fn answer(client: &ClientId, request: &[u8]) -> Vec<u8> {
    let answer = Client::new().answer(request, |training| trained(client, training));
    answer.expect("a request of the run").reply
}

pub fn start(plan: FederatedPlan) -> Server {
    let weights = vec![0.0; plan.terms().manifest().len()];
    Server::start(plan, weights, SEED).expect("weights of the manifest")
}
