//! Two worlds, with and without one client, through the worker's files: what an observer of releases can tell.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use burn_dp::federated::worker::{Task, TaskError, run};
use burn_dp::federated::{
    ClientId, FederatedPlan, Manifest, RunId, Server, ServerOptimizer, Trained, Training,
};
use burn_dp::privacy::{Delta, PrivacyPlan};
use burn_dp::seed::SeedSource;
use serde_json::{Value, json};

use super::flat;

const NUMBERS: usize = 50;
const DELTA: f64 = 1e-2;
const TRIALS: usize = 160;

/// A round with noise for ε, and a canary client that moves one number as far as it can.
struct World {
    /// The noise that is drawn, in units of what is accounted for.
    noise: f64,
}

const EPSILON: f64 = 1.0;

fn privacy(noise: f64) -> PrivacyPlan {
    let builder = || {
        PrivacyPlan::builder()
            .sampling_rate(1.0)
            .expected_batch_size(3.0)
            .steps(1)
            .clipping(flat(1.0))
    };
    let promised = builder().target(EPSILON, DELTA).build().expect("a plan");
    let drawn = promised.noise_multiplier().value() * noise;
    builder().noise_multiplier(drawn).build().expect("a plan")
}

fn clients() -> Vec<ClientId> {
    ["canary", "one", "two"].map(|name| ClientId::new(name).expect("a name")).to_vec()
}

impl Task for World {
    fn plan(&self, _: &Path) -> Result<FederatedPlan, TaskError> {
        let manifest = Manifest::new(vec![("w".into(), vec![NUMBERS])], [0; 32])?;
        let run = RunId::new("audit")?;
        let plan = FederatedPlan::builder(run, manifest, clients(), privacy(self.noise));
        Ok(plan.optimizer(ServerOptimizer::Average { learning_rate: 1.0 }).build()?)
    }

    fn weights(&self) -> Result<Vec<f32>, TaskError> {
        Ok(vec![0.0; NUMBERS])
    }

    fn train(&self, training: &Training<'_>, state: &Path) -> Result<Trained, TaskError> {
        let canary = state.to_string_lossy().contains("canary");
        let mut weights = training.request.weights.clone();
        let moved = usize::from(!canary);
        weights[moved] += if canary { 50.0 } else { 0.3 };
        Ok(weights.into())
    }

    fn seed(&self) -> SeedSource {
        SeedSource::OperatingSystem
    }
}

/// The number that the canary moves, after a whole run through files.
fn released(world: &World, with_canary: bool, root: &Path) -> f64 {
    let path = |of: &str| root.join(of);
    let call = |role: &str, who: &str| {
        let (folder, state) = (path(who).join("work"), path(who).join("state"));
        run(world, [role.into(), folder.into(), OsString::from(state)]).expect("a call")
    };
    let told = |failed: &[&str]| {
        let told = json!({ "now": 1.0, "online": ["canary", "one", "two"], "failed": failed });
        put(&path("server").join("work/in/online.json"), told.to_string().as_bytes());
    };
    told(&[]);
    let line: Value = serde_json::from_str(&call("server", "server")).expect("JSON");
    assert_eq!(line["send"].as_array().expect("a list").len(), 3);
    let request = fs::read(path("server").join("work/out/request")).expect("a request");
    for client in ["canary", "one", "two"] {
        if client == "canary" && !with_canary {
            continue;
        }
        put(&path(client).join("work/in/request"), &request);
        let _ = call("client", client);
        let reply = fs::read(path(client).join("work/out/reply")).expect("a reply");
        put(&path("server").join("work/in").join(client).join("reply"), &reply);
    }
    told(if with_canary { &[] } else { &["canary"] });
    let line: Value = serde_json::from_str(&call("server", "server")).expect("JSON");
    assert_eq!(line["done"], json!(true));
    let state = fs::read(path("server").join("state/server.state")).expect("a state");
    let plan = world.plan(root).expect("a plan");
    let server = Server::resume(plan, &state, SeedSource::OperatingSystem).expect("its own");
    f64::from(server.weights()[0])
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
    fs::write(path, bytes).expect("it can be written");
}

/// A lower bound of ε with 99 % confidence, from guessing the world by a threshold that was fixed before: Clopper-Pearson bounds of
/// both errors (Nasr et al. 2021, arXiv 2101.04535).
fn lower_bound(world: &World) -> f64 {
    let count = |with_canary: bool| {
        let said = |_: &usize| {
            let root = tempfile::tempdir().expect("a folder");
            released(world, with_canary, root.path()) > THRESHOLD
        };
        (0..TRIALS).filter(said).count()
    };
    let (right, wrong) = (count(true), count(false));
    // One minus each error, and each error, with 99 % confidence for both together.
    let true_positives = 1.0 - upper(TRIALS - right, TRIALS, 0.005);
    let false_positives = upper(wrong, TRIALS, 0.005);
    let true_negatives = 1.0 - false_positives;
    let false_negatives = 1.0 - true_positives;
    let one = ((true_positives - DELTA) / false_positives).max(f64::MIN_POSITIVE).ln();
    let other = ((true_negatives - DELTA) / false_negatives).max(f64::MIN_POSITIVE).ln();
    one.max(other).max(0.0)
}

/// Half of what the canary moves its number by.
const THRESHOLD: f64 = 1.0 / 3.0 / 2.0;

/// The largest probability under which so few successes have at least probability `alpha` (Clopper & Pearson 1934), by bisection.
fn upper(successes: usize, trials: usize, alpha: f64) -> f64 {
    let at_most = |p: f64| -> f64 {
        let mut term = (trials as f64 * (1.0 - p).ln()).exp();
        let mut total = term;
        for k in 0..successes {
            term *= (trials - k) as f64 / (k + 1) as f64 * p / (1.0 - p);
            total += term;
        }
        total
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if at_most(middle) > alpha { low = middle } else { high = middle }
    }
    high
}

/// The promise is kept, and the test would notice if it was not: with a fifth of the noise the bound is above it.
#[test]
fn releases_tell_no_more_than_the_plan_says_and_less_noise_would_be_noticed() {
    let promised = privacy(1.0).epsilon(Delta::new(DELTA).expect("a delta")).value();
    assert!((0.99..=EPSILON).contains(&promised), "{promised}");
    let kept = lower_bound(&World { noise: 1.0 });
    assert!(kept <= EPSILON, "{kept}");
    let broken = lower_bound(&World { noise: 0.2 });
    assert!(broken > EPSILON, "{broken}");
}
