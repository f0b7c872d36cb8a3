//! The worker behind a transport: files in, files out, and a state that survives.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use burn_dp::error::{Error, FederatedError};
use burn_dp::federated::worker::{Task, TaskError, run};
use burn_dp::federated::{
    ClientId, Encoding, FederatedPlan, Late, RunId, Server, Trained, Training, simulate,
};
use burn_dp::seed::SeedSource;
use serde_json::{Value, json};

use super::{CLIENTS, ROUNDS, SEED, client, flat, plan, trained};

/// The task of one client, or of the server.
struct Hospital(ClientId);

impl Task for Hospital {
    fn plan(&self, _: &Path) -> Result<FederatedPlan, TaskError> {
        Ok(plan(flat(1.0), 0.7, Encoding::Dense))
    }

    fn weights(&self) -> Result<Vec<f32>, TaskError> {
        Ok(vec![0.0; 16])
    }

    fn train(&self, training: &Training<'_>, _: &Path) -> Result<Trained, TaskError> {
        Ok(trained(&self.0, training)?.into())
    }

    fn seed(&self) -> SeedSource {
        SEED
    }
}

/// A transport as simple as can be: folders for everybody.
struct Transport {
    root: tempfile::TempDir,
    waiting: BTreeSet<String>,
    failed: BTreeSet<String>,
    now: f64,
}

impl Transport {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        Self { root, waiting: BTreeSet::new(), failed: BTreeSet::new(), now: 1000.5 }
    }

    fn path(&self, of: &str) -> PathBuf {
        self.root.path().join(of)
    }

    fn call(&self, role: &str, who: &str) -> burn_dp::Result<String> {
        let (folder, state) = (self.path(who).join("work"), self.path(who).join("state"));
        let arguments: Vec<OsString> = vec![role.into(), folder.into(), state.into()];
        let id = ClientId::new(if role == "server" { "server" } else { who }).expect("a name");
        run(&Hospital(id), arguments)
    }

    fn server(&mut self) -> Value {
        let online: Vec<String> = (0..CLIENTS).map(|i| client(i).to_string()).collect();
        let told = json!({
            "now": self.now, "online": online, "waiting": self.waiting, "failed": self.failed,
        });
        put(&self.path("server").join("work/in/online.json"), told.to_string().as_bytes());
        let line = self.call("server", "server").expect("a step");
        let _ = fs::remove_dir_all(self.path("server").join("work/in"));
        self.failed.clear();
        serde_json::from_str(&line).expect("a line of JSON")
    }

    /// What the server asks for is done by the clients, whose replies wait for its next call.
    fn deliver(&mut self, line: &Value) {
        let request = fs::read(self.path("server").join("work/out/request")).unwrap_or_default();
        for one in line["send"].as_array().expect("a list") {
            let to = one["to"].as_str().expect("a name");
            assert_eq!(one["files"], json!({"request": "request"}));
            put(&self.path(to).join("work/in/request"), &request);
            assert_eq!(self.call("client", to).expect("an answer"), "{}");
            let reply = fs::read(self.path(to).join("work/out/reply")).expect("a reply");
            put(&self.path("server").join("work/in").join(to).join("reply"), &reply);
        }
    }
}

fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
    fs::write(path, bytes).expect("it can be written");
}

fn weights_of(transport: &Transport) -> Vec<f32> {
    let state = fs::read(transport.path("server").join("state/server.state")).expect("a state");
    let plan = plan(flat(1.0), 0.7, Encoding::Dense);
    let server = Server::resume(plan, &state, SEED).expect("its own");
    assert_eq!(server.round(), ROUNDS);
    server.weights().to_vec()
}

fn simulated() -> Vec<f32> {
    let plan = plan(flat(1.0), 0.7, Encoding::Dense);
    simulate(plan, vec![0.0; 16], SEED, trained, |_| ()).expect("a run").weights
}

#[test]
fn a_run_through_files_is_the_simulators_bit_for_bit() {
    let mut transport = Transport::new();
    let mut calls = 0;
    loop {
        let line = transport.server();
        calls += 1;
        if line["done"] == json!(true) {
            assert_eq!(line["send"], json!([]));
            break;
        }
        assert!(line["wait"].as_u64().expect("a time") > 0);
        transport.deliver(&line);
    }
    assert_eq!(calls, ROUNDS + 1);
    assert_eq!(weights_of(&transport), simulated());
    let left = fs::read_dir(transport.path("server").join("state")).expect("a folder");
    let left: Vec<_> = left.map(|file| file.expect("a file").file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("round-")), "{left:?}");
}

/// Replies come one by one, the transport forgets whom it asked, and some are delivered again.
#[test]
fn a_transport_that_forgets_changes_nothing() {
    let mut transport = Transport::new();
    loop {
        let line = transport.server();
        if line["done"] == json!(true) {
            break;
        }
        for one in line["send"].as_array().expect("a list") {
            let alone = json!({ "send": [one] });
            transport.deliver(&alone);
            let again = transport.server();
            if again["done"] == json!(true) || again["label"] != line["label"] {
                transport.deliver(&again);
                break;
            }
        }
    }
    assert_eq!(weights_of(&transport), simulated());
}

/// Killed after its state was durable and before its output was read, or with half a file written, a worker is run again.
#[test]
fn lost_outputs_and_half_written_files_change_nothing() {
    for seed in 0..12_u32 {
        let mut draws = seed;
        let mut unlucky = |one_in: u32| {
            draws = draws.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (draws >> 16).is_multiple_of(one_in)
        };
        let mut transport = Transport::new();
        let mut calls = 0;
        loop {
            let line = transport.server();
            calls += 1;
            assert!(calls < 500, "it makes progress");
            if unlucky(2) {
                put(&transport.path("server").join("state/server.partial"), b"half a sta");
                continue;
            }
            if line["done"] == json!(true) {
                break;
            }
            for one in line["send"].as_array().expect("a list") {
                let to = one["to"].as_str().expect("a name");
                transport.deliver(&json!({ "send": [one] }));
                if unlucky(3) {
                    let lost = transport.path("server").join("work/in").join(to);
                    fs::remove_dir_all(lost).expect("a reply");
                    put(&transport.path(to).join("state/client.partial"), b"half a sta");
                }
            }
        }
        assert_eq!(weights_of(&transport), simulated(), "seed {seed}");
    }
}

#[test]
fn a_failure_is_kept_and_a_deadline_ends_the_round() {
    let mut transport = Transport::new();
    let line = transport.server();
    transport.failed.insert(client(0).to_string());
    transport.waiting = (1..CLIENTS).map(|i| client(i).to_string()).collect();
    let waiting = transport.server();
    assert_eq!((&waiting["send"], &waiting["label"]), (&json!([]), &line["label"]));
    transport.now += 61.0;
    let next = transport.server();
    assert_ne!(next["label"], line["label"]);
    assert_eq!(next["send"].as_array().expect("a list").len(), CLIENTS, "all are asked anew");
}

#[test]
fn a_second_process_on_one_state_fails_at_once() {
    let transport = Transport::new();
    let state = transport.path("server").join("state");
    fs::create_dir_all(&state).expect("a folder");
    let lock = fs::File::create(state.join("lock")).expect("a file");
    lock.lock().expect("it is free");
    let refused = transport.call("server", "server");
    let in_use = matches!(refused, Err(Error::Federated(FederatedError::StateInUse { .. })));
    assert!(in_use, "{refused:?}");
}

#[test]
fn arguments_that_are_none_are_refused() {
    let task = Hospital(client(0));
    let run = |words: &[&str]| run(&task, words.iter().map(OsString::from));
    assert_eq!(run(&["--protocol"]).expect("a number"), "1");
    for words in [&[][..], &["server"], &["client", "a"], &["other", "a", "b"]] {
        assert!(matches!(run(words), Err(Error::Federated(FederatedError::Arguments))));
    }
}

/// A hospital under a budget, and one that lets replies come late.
struct Guarded;

impl Task for Guarded {
    fn plan(&self, _: &Path) -> Result<FederatedPlan, TaskError> {
        let late = Late { rounds: 2, weight: 0.5, participations: 9 };
        let run = RunId::new("late")?;
        let clients = (0..CLIENTS).map(client).collect();
        let privacy = super::privacy(flat(1.0), 0.0, CLIENTS);
        let plan = FederatedPlan::builder(run, super::manifest(), clients, privacy);
        Ok(plan.late(late).deadline(60).build()?)
    }

    fn weights(&self) -> Result<Vec<f32>, TaskError> {
        Ok(vec![0.0; 16])
    }

    fn train(&self, training: &Training<'_>, _: &Path) -> Result<Trained, TaskError> {
        Ok(trained(&client(3), training)?.into())
    }
}

/// A late reply is kept with the round in which it comes, through restarts, and counts once.
#[test]
fn late_replies_arrive_through_files() {
    let root = tempfile::tempdir().expect("a folder");
    let path = |of: &str| root.path().join(of);
    let server = |now: f64| {
        let told = json!({ "now": now, "online": [client(3).as_str()], "failed": [] });
        put(&path("server/work/in/online.json"), told.to_string().as_bytes());
        let arguments = ["server".into(), path("server/work").into(), path("server/state").into()];
        let line = run(&Guarded, arguments as [OsString; 3]).expect("a step");
        let _ = fs::remove_dir_all(path("server/work/in"));
        serde_json::from_str::<Value>(&line).expect("JSON")
    };
    let weights = || {
        let state = fs::read(path("server/state/server.state")).expect("a state");
        let plan = Guarded.plan(root.path()).expect("a plan");
        let server = Server::resume(plan, &state, SeedSource::OperatingSystem).expect("its own");
        (server.round(), server.weights().to_vec())
    };
    server(0.0);
    let request = fs::read(path("server/work/out/request")).expect("a request");
    server(60.0);
    assert_eq!(weights(), (1, vec![0.0; 16]));
    put(&path("client/work/in/request"), &request);
    let arguments = ["client".into(), path("client/work").into(), path("client/state").into()];
    run(&Guarded, arguments as [OsString; 3]).expect("an answer");
    let reply = fs::read(path("client/work/out/reply")).expect("a reply");
    let deliver = || {
        put(&path("server/work/in").join(client(3).as_str()).join("reply"), &reply);
    };
    deliver();
    server(61.0);
    // Another process, with nothing new; and the same reply again.
    server(62.0);
    deliver();
    server(119.0);
    assert_eq!(weights().0, 1);
    server(120.0);
    let (round, moved) = weights();
    let norm = moved.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() * CLIENTS as f64;
    assert_eq!(round, 2);
    // Half of an update of length one, more or less.
    assert!((0.4..0.6).contains(&norm), "{norm}");
    deliver();
    server(180.0);
    assert_eq!(weights(), (3, moved));
}

/// The policy is the operator's file; a bad one stops the node, and a refusal is a reply.
#[test]
fn a_nodes_policy_is_read_from_its_state_folder() {
    let root = tempfile::tempdir().expect("a folder");
    let path = |of: &str| root.path().join(of);
    let mut server = super::start(plan(flat(1.0), 0.7, Encoding::Dense));
    let request = server.step(super::everybody(), 0).expect("a round").send.remove(0).1;
    put(&path("work/in/request"), &request);
    let call = || {
        let arguments = ["client".into(), path("work").into(), path("state").into()];
        run(&Hospital(client(0)), arguments as [OsString; 3])
    };
    put(&path("state/policy.toml"), b"epsilon = 1.0");
    let unreadable = call();
    let is = matches!(unreadable, Err(Error::Federated(FederatedError::Unreadable { .. })));
    assert!(is, "{unreadable:?}");
    let policy = "data_set = \"ward\"\nrecords = 10\nepsilon = 1.0\ndelta = 1e-5\n";
    put(&path("state/policy.toml"), policy.as_bytes());
    assert_eq!(call().expect("a refusal"), "{}");
    let refusal = fs::read(path("work/out/reply")).expect("a reply");
    assert!(!path("state/client.state").exists());
    put(&path("state/policy.toml"), format!("{policy}trust_server = true").as_bytes());
    assert_eq!(call().expect("an answer"), "{}");
    assert!(fs::read(path("work/out/reply")).expect("a reply").len() > refusal.len());
}
