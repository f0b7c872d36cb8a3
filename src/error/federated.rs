//! What goes wrong between institutions.

/// What goes wrong in federated training.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FederatedError {
    /// Bytes of a message or a state cannot be read.
    #[error("the {what} cannot be read: {reason}")]
    Unreadable {
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },

    /// A message or a state of another version of the format.
    #[error(
        "the {what} has format {found}, and this library reads {supported}: run one version at both ends"
    )]
    Version {
        /// What it is.
        what: &'static str,
        /// The version found.
        found: u32,
        /// The version supported.
        supported: u32,
    },

    /// A message belongs to something else.
    #[error(
        "the {what} is of another {of}: answer the request of the run, round and plan that is open"
    )]
    OfAnother {
        /// What it is.
        what: &'static str,
        /// In what it differs.
        of: &'static str,
    },

    /// An update does not have the shape that the manifest says.
    #[error("the update has {found} numbers, and the manifest says {expected}")]
    WrongLength {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },

    /// A number of an update is not finite.
    #[error(
        "the update has a number that is not finite: look at the client's data and learning rate"
    )]
    NotFinite,

    /// What was trained is not what the run is made of.
    #[error("what was trained does not fit the kind of the run: {reason}")]
    NotOfKind {
        /// What is expected.
        reason: &'static str,
    },

    /// A run in which clients count by their examples, and training did not say how many there were.
    #[error(
        "in this run clients count by their examples: say how many with `Trained::of_examples`"
    )]
    ExamplesMissing,

    /// A node without a policy was asked for what needs one.
    #[error(
        "the run leaves privacy to the node, and the node has no policy: put a `policy.toml` into its state folder that          names the data set and its budget"
    )]
    NoPolicy,

    /// The node's policy does not name the run.
    #[error(
        "the node's policy does not allow the run {run}: add it to `runs` if it should take part"
    )]
    RunNotAllowed {
        /// The run.
        run: String,
    },

    /// The server wants contributions without noise.
    #[error(
        "in this run the server adds the noise and sees contributions without it, and the node's policy does not trust it: set          `trust_server = true` if it should"
    )]
    ServerNotTrusted,

    /// The budget of a data set does not pay for what was asked.
    #[error(
        "what is left of the budget of {data_set} ({epsilon}, {delta}) does not pay for this round: nothing was spent, and nothing          was sent"
    )]
    BudgetSpent {
        /// The data set.
        data_set: String,
        /// ε of its budget.
        epsilon: f64,
        /// δ of its budget.
        delta: f64,
    },

    /// Training on records says that it released something else than was granted.
    #[error(
        "the training's ledger is not that of the plan that was granted: build the optimizer with `Training::privacy`, take at          most its steps, and hand the optimizer's ledger back with `Trained::with_ledger`"
    )]
    NotAsGranted,

    /// A server was asked what clients account for.
    #[error(
        "in this run each node accounts for itself: its worker tells what its data set has spent"
    )]
    AccountedByClients,

    /// A client has refused.
    #[error("the client's policy does not grant what was asked, or its budget is spent")]
    RefusedByClient,

    /// A server asks for a round that lies behind.
    #[error(
        "the server asks for round {asked}, and round {seen} has been answered: its state is older than this \
         client's, as after a restored backup; start a new run"
    )]
    RoundBehind {
        /// The round that it asks for.
        asked: u64,
        /// The last that was answered.
        seen: u64,
    },

    /// The training of a client failed.
    #[error(
        "the client's training failed ({source}): nothing was spent, and the server counts nothing from it"
    )]
    Training {
        /// Its own error.
        source: Box<dyn core::error::Error + Send + Sync>,
    },

    /// What a worker's user has written failed at the server.
    #[error(
        "the worker's task failed ({source}): what was released stands; mend it, and start the run again"
    )]
    Task {
        /// Its own error.
        source: Box<dyn core::error::Error + Send + Sync>,
    },

    /// A worker's arguments.
    #[error(
        "the arguments are `server FOLDER STATE`, `client FOLDER STATE`, `budget STATE` or `--protocol`"
    )]
    Arguments,

    /// Another process uses a state folder.
    #[error(
        "another process uses the state in {folder}: one run has one server, and one client one worker"
    )]
    StateInUse {
        /// The folder.
        folder: String,
    },

    /// A file of a worker cannot be read or written.
    #[error(
        "the file {path} cannot be read or written ({source}): check that its folder is there and can be written to"
    )]
    Storage {
        /// The file.
        path: String,
        /// What the operating system said.
        source: std::io::Error,
    },
}
