//! A transport in a few lines, which forgets all that it knows when its server dies, and an observer of all that is sent.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn_dp::federated::{Client, Request, Server};
use burn_dp::seed::SeedSource;
use serde_json::{Value, json};

use super::mean::{CLIENTS, plan};

/// A kill at a point of one call, or two.
#[derive(Debug, Clone)]
pub struct Kill {
    /// Which call of a worker, from the run's first.
    pub call: usize,
    /// The point's name, and how often the call has passed it then.
    pub point: String,
    pub then: Then,
    /// Whether the same worker is killed once more when it next passes the point.
    pub again: bool,
}

/// What follows the end of a client's process. The end of a server's process always ends the transport.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Then {
    /// The server is told that the client failed.
    Told,
    /// The transport ends too, and the next asks everybody again.
    AllEnd,
}

pub struct Federation {
    root: tempfile::TempDir,
    seed: Option<u64>,
    kill: Option<Kill>,
    calls: usize,
    /// Who has been killed, kill by kill.
    pub killed: Vec<String>,
    /// The weights after so many rounds, as bits: of each request and of each line of `releases`.
    pub released: BTreeMap<u64, Vec<u32>>,
    /// The bytes that a client has sent in a round.
    pub sent: BTreeMap<(String, u64), Vec<u8>>,
    /// Seconds.
    pub now: u64,
}

impl Federation {
    pub fn new(seed: Option<u64>, kill: Option<Kill>) -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let (released, sent) = (BTreeMap::new(), BTreeMap::new());
        Self { root, seed, kill, calls: 0, killed: Vec::new(), released, sent, now: 1000 }
    }

    pub fn work(&self, of: &str) -> PathBuf {
        self.root.path().join(of).join("work")
    }

    pub fn state(&self, of: &str) -> PathBuf {
        self.root.path().join(of).join("state")
    }

    /// As many transports as it takes.
    pub fn run_to_the_end(&mut self) {
        for _ in 0..3 {
            if self.one_transport() {
                return self.read_releases();
            }
        }
        panic!("two kills at most, and three transports did not bring the run to its end");
    }

    /// Whether the run is over; if not, a process died, and what was under way is lost.
    fn one_transport(&mut self) -> bool {
        remove(&self.work("server"));
        let mut failed = Vec::new();
        for _ in 0..20 {
            let Some(line) = self.serve(&std::mem::take(&mut failed)) else { return false };
            if line["done"] == json!(true) {
                return true;
            }
            for one in line["send"].as_array().expect("a list") {
                let to = one["to"].as_str().expect("a name");
                if !self.ask(to) {
                    match self.kill.as_ref().map(|kill| kill.then) {
                        Some(Then::Told) => failed.push(to.to_owned()),
                        _ => return false,
                    }
                }
            }
        }
        panic!("the run makes no progress");
    }

    /// One call of the server; none of it is known if it was killed.
    pub fn serve(&mut self, failed: &[String]) -> Option<Value> {
        let told = json!({ "now": self.now, "online": CLIENTS, "waiting": [], "failed": failed });
        put(&self.work("server").join("in/online.json"), told.to_string().as_bytes());
        remove(&self.work("server").join("out"));
        let line = self.call("server", "server")?;
        remove(&self.work("server").join("in"));
        Some(serde_json::from_str(&line).expect("a line of JSON"))
    }

    /// Carries the server's request to a client and its reply back; `false` where the client was killed.
    pub fn ask(&mut self, client: &str) -> bool {
        let request = fs::read(self.work("server").join("out/request")).expect("a request");
        remove(&self.work(client));
        put(&self.work(client).join("in/request"), &request);
        let request = Request::from_bytes(&request).expect("a request");
        self.observe(request.round, request.weights.iter().map(|x| x.to_bits()).collect());
        if self.call("client", client).is_none() {
            return false;
        }
        let reply = fs::read(self.work(client).join("out/reply")).expect("a reply");
        put(&self.work("server").join("in").join(client).join("reply"), &reply);
        let before = self.sent.insert((client.to_owned(), request.round), reply.clone());
        assert!(before.is_none_or(|before| before == reply), "{client} has sent two replies");
        true
    }

    /// The last line that a worker printed; nothing if it was killed.
    fn call(&mut self, role: &str, who: &str) -> Option<String> {
        let mut command = self.command(role, who);
        command.env("BURN_DP_FAIL_LOG", self.points_of(self.calls));
        let kill = self.kill.as_ref().filter(|kill| match &self.killed[..] {
            [] => kill.call == self.calls,
            [first] => kill.again && first == who,
            _ => false,
        });
        if let Some(kill) = kill {
            command.env("BURN_DP_FAIL_AT", &kill.point);
        }
        let sure = kill.is_some() && self.killed.is_empty();
        let armed = kill.is_some();
        self.calls += 1;
        let output = command.output().expect("it can be run");
        if armed && output.status.code().is_none() {
            self.killed.push(who.to_owned());
            return None;
        }
        assert!(!sure && output.status.success(), "{who} failed or lived: {}", said(&output));
        let printed = String::from_utf8(output.stdout).expect("text");
        Some(printed.lines().last().expect("a line").to_owned())
    }

    /// This program, as a worker.
    pub fn command(&self, role: &str, who: &str) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(role).arg(self.work(who)).arg(self.state(who)).env_remove("BURN_DP_SEED");
        if let Some(seed) = self.seed {
            command.env("BURN_DP_SEED", seed.to_string());
        }
        command
    }

    /// The points that were passed, call by call, in order.
    pub fn points(&self) -> Vec<Vec<String>> {
        let of = |call| fs::read_to_string(self.points_of(call)).expect("points");
        (0..self.calls).map(|call| of(call).lines().map(str::to_owned).collect()).collect()
    }

    fn points_of(&self, call: usize) -> PathBuf {
        self.root.path().join(format!("points-{call}"))
    }

    /// What the server's state holds.
    pub fn server(&self) -> Server {
        let state = fs::read(self.state("server").join("server.state")).expect("a state");
        let seed = self.seed.map_or(SeedSource::OperatingSystem, SeedSource::Reproducible);
        Server::resume(plan().expect("a plan"), &state, seed).expect("a state of the plan")
    }

    /// How many rounds a client has answered.
    pub fn answered(&self, client: &str) -> u64 {
        let Ok(state) = fs::read(self.state(client).join("client.state")) else { return 0 };
        let run = plan().expect("a plan").terms().run().clone();
        Client::resume(&state).expect("a client's state").answered(&run)
    }

    /// Takes note of what the server's task was told of, and that the ledger had paid for it.
    fn read_releases(&mut self) {
        let lines = fs::read_to_string(self.state("server").join("releases")).expect("releases");
        for line in lines.lines() {
            let numbers: Vec<u32> = line.split(' ').map(|n| n.parse().expect("a number")).collect();
            let [round, spent, weights @ ..] = &numbers[..] else { panic!("a line: {line}") };
            assert_eq!(round, spent, "the ledger has as many rounds as were released");
            self.observe(u64::from(*round), weights.to_vec());
        }
    }

    fn observe(&mut self, round: u64, weights: Vec<u32>) {
        let before = self.released.insert(round, weights.clone());
        assert!(before.is_none_or(|before| before == weights), "two releases of round {round}");
    }
}

pub fn put(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
    fs::write(path, bytes).expect("it can be written");
}

pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn remove(folder: &Path) {
    if folder.exists() {
        fs::remove_dir_all(folder).expect("it can be removed");
    }
}
