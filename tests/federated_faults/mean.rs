//! The smallest task: clients agree on the mean of four numbers, and every training is another.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use burn_dp::federated::worker::{Task, TaskError};
use burn_dp::federated::{ClientId, FederatedPlan, Manifest, RunId, Server, Trained, Training};
use burn_dp::privacy::{Clipping, PrivacyPlan};
use burn_dp::seed::SeedSource;

pub const ROUNDS: u64 = 2;
pub const DEADLINE: u64 = 60;
pub const CLIENTS: [&str; 2] = ["hospital-0", "hospital-1"];

pub struct Mean {
    pub state: PathBuf,
}

pub fn plan() -> burn_dp::Result<FederatedPlan> {
    let clients: Vec<ClientId> =
        CLIENTS.into_iter().map(ClientId::new).collect::<Result<_, _>>()?;
    // Everybody is asked in each round, so that only what is tested is random.
    let privacy = PrivacyPlan::builder()
        .sampling_rate(1.0)
        .expected_batch_size(clients.len() as f64)
        .steps(ROUNDS)
        .clipping(Clipping::flat(1.0))
        .noise_multiplier(0.7)
        .build()?;
    let manifest = Manifest::new(vec![("mean".into(), vec![4])], [0; 32])?;
    FederatedPlan::builder(RunId::new("means")?, manifest, clients, privacy)
        .deadline(DEADLINE)
        .build()
}

/// Unless the environment says a number, noise is drawn anew by each process: two releases of one round would differ.
pub fn seed() -> SeedSource {
    let number = std::env::var("BURN_DP_SEED").ok().and_then(|number| number.parse().ok());
    number.map_or(SeedSource::OperatingSystem, SeedSource::Reproducible)
}

impl Task for Mean {
    fn plan(&self, state: &Path) -> Result<FederatedPlan, TaskError> {
        wait_while_held(state)?;
        Ok(plan()?)
    }

    fn weights(&self) -> Result<Vec<f32>, TaskError> {
        Ok(vec![0.0; 4])
    }

    /// Towards the client's number, or anywhere where it has none: two trainings of one round would differ.
    fn train(&self, training: &Training<'_>, state: &Path) -> Result<Trained, TaskError> {
        let request = training.request;
        wait_while_held(state)?;
        let number = match fs::read_to_string(state.join("number")) {
            Ok(number) => number.trim().parse()?,
            Err(_) => rand::random::<f32>(),
        };
        let moved = request.weights.iter().map(|weight| weight + 0.3 * (number - weight));
        Ok(Trained::new(moved.collect()))
    }

    /// A line for each release, for all to see: round, rounds in the ledger, weights.
    fn released(&self, server: &Server) -> Result<(), TaskError> {
        let bits: Vec<String> = server.weights().iter().map(|x| x.to_bits().to_string()).collect();
        let (round, spent) = (server.round(), server.ledger()?.steps().value());
        let mut file =
            File::options().create(true).append(true).open(self.state.join("releases"))?;
        Ok(writeln!(file, "{round} {spent} {}", bits.join(" "))?)
    }

    fn seed(&self) -> SeedSource {
        seed()
    }
}

/// A training that takes as long as a test wants.
fn wait_while_held(state: &Path) -> Result<(), TaskError> {
    while state.join("hold").exists() {
        fs::write(state.join("held"), [])?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
