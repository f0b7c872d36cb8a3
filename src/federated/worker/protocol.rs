//! What is said to the transport, and by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::ids::ClientId;
use crate::error::{Error, FederatedError, Result};

/// Who is there.
pub(super) struct Online {
    /// Seconds.
    pub(super) now: u64,
    pub(super) online: Vec<String>,
    /// Asked, and may still answer.
    pub(super) waiting: Vec<String>,
    pub(super) failed: Vec<String>,
}

impl Online {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Told {
            now: f64,
            online: Vec<String>,
            #[serde(default)]
            waiting: Vec<String>,
            failed: Vec<String>,
        }
        let Told { now, online, waiting, failed } =
            serde_json::from_slice(bytes).map_err(|error| {
                let (what, reason) = ("list of who is online", error.to_string());
                Error::Federated(FederatedError::Unreadable { what, reason })
            })?;
        // Rounds down, and a time before 1970 is 1970.
        Ok(Self { now: now as u64, online, waiting, failed })
    }
}

/// What a server wants done.
pub(super) struct Sending<'s> {
    pub(super) to: Vec<&'s ClientId>,
    /// The file that everybody gets, under the same name.
    pub(super) file: &'s str,
    /// Seconds until the round's deadline.
    pub(super) wait: u64,
    pub(super) label: String,
    pub(super) done: bool,
}

/// As the line that the transport reads.
pub(super) fn print(sending: &Sending<'_>) -> Result<String> {
    #[derive(Serialize)]
    struct One<'s> {
        to: &'s str,
        files: BTreeMap<&'s str, &'s str>,
    }
    #[derive(Serialize)]
    struct Line<'s> {
        send: Vec<One<'s>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        seconds: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        wait: Option<u64>,
        label: &'s str,
        done: bool,
    }
    let Sending { to, file, wait, label, done } = sending;
    let one =
        |client: &&'_ ClientId| (client.as_str().to_owned(), BTreeMap::from([(*file, *file)]));
    let all: Vec<(String, BTreeMap<&str, &str>)> = to.iter().map(one).collect();
    let send: Vec<One<'_>> =
        all.iter().map(|(to, files)| One { to, files: files.clone() }).collect();
    // The transport takes times above 0.
    let wait = (*wait).max(1);
    let seconds = (!send.is_empty()).then_some(wait);
    let line = Line { send, seconds, wait: (!done).then_some(wait), label, done: *done };
    serde_json::to_string(&line).map_err(|error| {
        let (what, reason) = ("answer to the transport", error.to_string());
        Error::Federated(FederatedError::Unreadable { what, reason })
    })
}
