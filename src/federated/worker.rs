//! The program that a transport runs at each end: `server FOLDER STATE` or `client FOLDER STATE`.
//!
//! A transport (`burn-dp-flower`, on the Flower engine) moves files and knows nothing else. It puts what has arrived into
//! `FOLDER/in`, runs this program, and sends what is in `FOLDER/out` as the last line of the output says. `STATE` is the
//! program's own, and has to survive: on a server the open round and the ledger, on a client its last replies.
//!
//! | | in | out |
//! |---|---|---|
//! | `client` | `request` | `reply` |
//! | `server` | `online.json`: `{"now", "online", "waiting", "failed"}`; `<client>/reply` | `request`; `{"send", "seconds", "wait", "label", "done"}` |
//!
//! A node's operator sets limits in `STATE/policy.toml` ([`NodePolicy`]); `budget STATE` tells what has been spent of them.
//!
//! An exit code other than 0 means that nothing was sent and nothing may be. Whatever is printed or written to `out` is durable
//! in `STATE` before, by a rename; so the program may be killed at any point, and run again.
//!
//! ```
//! use std::path::Path;
//!
//! use burn_dp::federated::worker::{Task, TaskError, run};
//! use burn_dp::federated::{ClientId, FederatedPlan, Manifest, RunId, Trained, Training};
//! use burn_dp::privacy::{Clipping, PrivacyPlan};
//!
//! struct Average;
//!
//! impl Task for Average {
//!     fn plan(&self, state: &Path) -> Result<FederatedPlan, TaskError> {
//!         let names = std::fs::read_to_string(state.join("clients.txt"))?;
//!         let clients: Vec<ClientId> = names.lines().map(ClientId::new).collect::<Result<_, _>>()?;
//!         let privacy = PrivacyPlan::builder()
//!             .target(8.0, 1e-4)
//!             .sampling_rate(1.0)
//!             .expected_batch_size(clients.len() as f64)
//!             .steps(10)
//!             .clipping(Clipping::flat(1.0))
//!             .build()?;
//!         let manifest = Manifest::new(vec![("mean".into(), vec![1])], [0; 32])?;
//!         Ok(FederatedPlan::builder(RunId::new("mean-1")?, manifest, clients, privacy).build()?)
//!     }
//!
//!     fn weights(&self) -> Result<Vec<f32>, TaskError> {
//!         Ok(vec![0.0])
//!     }
//!
//!     fn train(&self, training: &Training, state: &Path) -> Result<Trained, TaskError> {
//!         let mine: f32 = std::fs::read_to_string(state.join("number"))?.trim().parse()?;
//!         let now = training.request.weights[0];
//!         Ok(Trained::new(vec![now + 0.5 * (mine - now)]))
//!     }
//! }
//!
//! // In a program of its own: `fn main() -> ExitCode { worker::main(&Average) }`
//! assert_eq!(run(&Average, ["--protocol".into()])?, "1");
//! # Ok::<(), burn_dp::Error>(())
//! ```

mod disk;
mod fail_point;
mod protocol;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use self::disk::Disk;
use self::fail_point::fail_point;
use self::protocol::{Online, Sending, print};
use super::client::Client;
use super::ids::ClientId;
use super::plan::FederatedPlan;
use super::policy::NodePolicy;
use super::server::{Inbox, Server, Timing};
use super::training::{Trained, Training};
use crate::error::{Error, FederatedError, Result};
use crate::seed::SeedSource;

/// The version of the protocol between a transport and this program.
pub const PROTOCOL: u32 = 1;

/// What the operator of a node allows, in its state folder: a [`NodePolicy`].
const POLICY: &str = "policy.toml";

/// A task's own error. What it says stays where the task ran.
pub type TaskError = Box<dyn core::error::Error + Send + Sync>;

/// What a user brings: the plan and the first weights at the server, the training at a client.
pub trait Task {
    /// The plan of the run: the same at each start of the server's program. `state` is the server's folder, where its operator may
    /// have put the list of clients.
    ///
    /// # Errors
    /// The task's own.
    fn plan(&self, state: &Path) -> Result<FederatedPlan, TaskError>;

    /// The weights that the run begins from, in the manifest's order, flat.
    ///
    /// # Errors
    /// The task's own.
    fn weights(&self) -> Result<Vec<f32>, TaskError>;

    /// New numbers, of a request's, by this client's data. `state` is the client's folder. For a burn model begin with
    /// [`weights::of_request`](super::weights::of_request), which refuses a run on top of another model.
    ///
    /// # Errors
    /// The task's own. The server learns that this client failed, and nothing else.
    fn train(&self, training: &Training, state: &Path) -> Result<Trained, TaskError>;

    /// Is told of the server after each call that released a round, with weights and ledger: to evaluate on public data, or to
    /// write the model. After a crash it may be told twice of one round, but never not at all of the last.
    ///
    /// # Errors
    /// The task's own, which ends the program. The release stands.
    fn released(&self, _server: &Server) -> Result<(), TaskError> {
        Ok(())
    }

    /// Where randomness of server and clients comes from: the operating system, unless the run is an experiment without privacy.
    fn seed(&self) -> SeedSource {
        SeedSource::OperatingSystem
    }
}

/// Whether a program's first argument is one of a worker's, for programs that take others as well.
pub fn is_worker_argument(first: &str) -> bool {
    ["server", "client", "budget", "--protocol"].contains(&first)
}

/// The `main` of a worker: runs what the arguments say, and tells errors on the standard error output.
pub fn main(task: &impl Task) -> ExitCode {
    match run(task, std::env::args_os().skip(1)) {
        Ok(line) => {
            fail_point("before", "line");
            println!("{line}");
            fail_point("printed", "line");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What `main` does, with arguments of the caller's; the line to print.
///
/// # Errors
/// [`FederatedError::Arguments`] for arguments that are none of these, [`FederatedError::Storage`] for files, and those of
/// the roles.
pub fn run(task: &impl Task, arguments: impl IntoIterator<Item = OsString>) -> Result<String> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match (&words[..], &arguments[..]) {
        (["--protocol"], _) => Ok(PROTOCOL.to_string()),
        (["client", ..], [_, folder, state]) => client(task, folder.as_ref(), state.as_ref()),
        (["server", ..], [_, folder, state]) => server(task, folder.as_ref(), state.as_ref()),
        (["budget", ..], [_, state]) => node(&Disk::locked(state.as_ref())?)?.budget(),
        _ => Err(Error::Federated(FederatedError::Arguments)),
    }
}

fn client(task: &impl Task, folder: &Path, state: &Path) -> Result<String> {
    let disk = Disk::locked(state)?;
    let request = disk::read(&folder.join("in").join("request"))?;
    let mut known = node(&disk)?.with_seed(task.seed());
    let answer = known.answer(&request, |training| task.train(training, state))?;
    if let Some(refused) = &answer.refused {
        // For the node's operator: what a client's program prints stays at the node.
        eprintln!("refused: {refused}");
    }
    if let Some(state) = answer.state {
        disk.replace("client.state", &state)?;
    }
    disk::write(&folder.join("out").join("reply"), &answer.reply)?;
    Ok("{}".to_owned())
}

/// The client as it is on disk, under its operator's policy.
fn node(disk: &Disk) -> Result<Client> {
    let known = disk.read("client.state")?;
    let known = known.map_or(Ok(Client::new()), |state| Client::resume(&state))?;
    match disk.read(POLICY)? {
        Some(policy) => {
            Ok(known.with_policy(NodePolicy::from_toml(&String::from_utf8_lossy(&policy))?))
        }
        None => Ok(known),
    }
}

fn server(task: &impl Task, folder: &Path, state: &Path) -> Result<String> {
    let disk = Disk::locked(state)?;
    let plan = task.plan(state).map_err(failed)?;
    let mut server = match disk.read("server.state")? {
        Some(state) => Server::resume(plan, &state, task.seed())?,
        None => Server::start(plan, task.weights().map_err(failed)?, task.seed())?,
    };
    let (inbox, now) = arrived(&folder.join("in"), &disk, &server)?;
    let step = server.step(inbox, now)?;
    if let Some(state) = &step.state {
        disk.replace("server.state", state)?;
    }
    for (client, error) in &step.refused {
        log::warn!("what {client} sent counts as zero: {error}");
    }
    tell(task, &disk, &server)?;
    // One file for everybody: the transport sends it once.
    if let Some((_, request)) = step.send.first() {
        disk::write(&folder.join("out").join("request"), request)?;
    }
    let to = step.send.iter().map(|(client, _)| client).collect();
    let label = format!("{} of {} rounds", server.round(), server.plan().terms().rounds());
    print(&Sending { to, file: "request", wait: step.wait, label, done: step.done })
}

/// Tells the task of a release that it has not been told of.
fn tell(task: &impl Task, disk: &Disk, server: &Server) -> Result<()> {
    let round = server.round().to_le_bytes();
    if server.round() == 0 || disk.read("told")?.is_some_and(|told| told == round) {
        return Ok(());
    }
    fail_point("before", "released");
    task.released(server).map_err(failed)?;
    fail_point("after", "released");
    disk.forget_outcomes_before(server.round())?;
    disk.replace("told", &round)
}

/// What has arrived for the open round, now and in earlier calls. The first outcome of each client is made durable here, so
/// that it stays the first.
fn arrived(folder: &Path, disk: &Disk, server: &Server) -> Result<(Inbox, u64)> {
    let told = Online::from_bytes(&disk::read(&folder.join("online.json"))?)?;
    let round = server.round();
    let mut inbox = Inbox {
        online: named(&told.online).collect(),
        waiting: named(&told.waiting).collect(),
        ..Inbox::default()
    };
    for client in server.plan().population() {
        let reply = folder.join(client.as_str()).join("reply");
        match disk::read_up_to(&reply, server.plan().longest_reply())? {
            Some(bytes) => match server.timing_of(client, &bytes) {
                Timing::InTime => disk.keep_outcome(round, client, Some(&bytes))?,
                Timing::Late(_) => disk.keep_late(round, client, &bytes)?,
                Timing::TooLate => {}
            },
            // It has answered, but not with a reply: asked again, it would do so again until the deadline.
            None if folder.join(client.as_str()).is_dir() => {
                disk.keep_outcome(round, client, None)?;
            }
            None => {}
        }
    }
    for client in named(&told.failed) {
        if server.plan().population().binary_search(&client).is_ok() {
            disk.keep_outcome(round, &client, None)?;
        }
    }
    for client in server.plan().population() {
        match disk.outcome(round, client)? {
            Some(bytes) if bytes.is_empty() => inbox.failed.push(client.clone()),
            Some(bytes) => inbox.replies.push((client.clone(), bytes)),
            None => {}
        }
        if let Some(late) = disk.late(round, client)? {
            inbox.replies.push((client.clone(), late));
        }
    }
    Ok((inbox, told.now))
}

/// The names that can be a client's.
fn named(names: &[String]) -> impl Iterator<Item = ClientId> {
    names.iter().filter_map(|name| ClientId::new(name.clone()).ok())
}

fn failed(source: TaskError) -> Error {
    Error::Federated(FederatedError::Task { source })
}
