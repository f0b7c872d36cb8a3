//! The program that a transport runs at each end.
//!
//! In the state folder lie files of its operator: at both ends `settings`, the flags of `simulate` in one line; at the server
//! `clients.txt`, the clients' names, one a line; at a client `share`: `2/300` for the second of 300 clients, and
//! `policy.toml` where the client protects itself.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use burn_dp::federated::worker::{self, Task, TaskError};
use burn_dp::federated::{ClientId, FederatedPlan, Server, Trained, Training};
use burn_dp::seed::SeedSource;
use burn_dp::{Error, error::FederatedError};
use clap::Parser;

use crate::learner::{Learner, Turn, learner};
use crate::partition::{dirichlet, share_in_words};
use crate::plan::plan;
use crate::report::digest;
use crate::settings::Settings;

/// What `server`, `client`, `budget` and `--protocol` do.
pub fn worker(arguments: &[OsString]) -> ExitCode {
    match answer(arguments) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn answer(arguments: &[OsString]) -> Result<String> {
    match arguments {
        [word] if word == "--protocol" => Ok(worker::PROTOCOL.to_string()),
        [_, .., state] => {
            let settings = settings(Path::new(state))?;
            let learner = learner(&settings)?;
            Ok(worker::run(&Worker { settings, learner }, arguments.iter().cloned())?)
        }
        _ => Err(Error::Federated(FederatedError::Arguments).into()),
    }
}

struct Worker {
    settings: Settings,
    learner: Box<dyn Learner>,
}

impl Task for Worker {
    fn plan(&self, state: &Path) -> Result<FederatedPlan, TaskError> {
        let text = text(&state.join("clients.txt"))?;
        let names = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let clients = names.map(ClientId::new).collect::<Result<_, _>>()?;
        Ok(plan(&self.settings, self.learner.manifest().clone(), clients)?)
    }

    fn weights(&self) -> Result<Vec<f32>, TaskError> {
        Ok(self.learner.start()?)
    }

    fn train(&self, training: &Training, state: &Path) -> Result<Trained, TaskError> {
        let (client, clients) = share_in_words(&text(&state.join("share"))?)?;
        let learner = &self.learner;
        if training.request.terms.manifest() != learner.manifest() {
            return Err("the run trains another model than the settings here".into());
        }
        let shares = dirichlet(learner.labels(), clients, self.settings.alpha)?;
        let turn = Turn { settings: &self.settings, share: &shares[client], client };
        Ok(learner.train(&turn, training)?)
    }

    fn released(&self, server: &Server) -> Result<(), TaskError> {
        let accuracy = self.learner.accuracy(server.weights())?;
        let (round, digest) = (server.round(), digest(server.weights()));
        eprintln!(
            "round {round}: {:.2} % of held-out records, digest {digest:08x}",
            100.0 * accuracy
        );
        Ok(())
    }

    fn seed(&self) -> SeedSource {
        self.settings.seed.map_or(SeedSource::OperatingSystem, SeedSource::Reproducible)
    }
}

fn settings(state: &Path) -> Result<Settings> {
    let file = state.join("settings");
    settings_of(&text(&file)?).with_context(|| format!("in {}", file.display()))
}

fn settings_of(flags: &str) -> Result<Settings> {
    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        settings: Settings,
    }
    let words = ["settings"].into_iter().chain(flags.split_whitespace());
    Ok(Flags::try_parse_from(words)?.settings)
}

fn text(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
