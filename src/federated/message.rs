//! What travels: a request to a client, and its reply.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::encoding::{Encoded, numbers};
use super::ids::RunId;
use super::plan::Terms;
use crate::error::{Error, FederatedError, Result};
use crate::sealed_file::{self, Broken};

const REQUEST: &[u8; 8] = b"BDPFEDRQ";
const REPLY: &[u8; 8] = b"BDPFEDRP";
const VERSION: u32 = 1;

/// What a server asks of a client: to train from these weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What the run is about.
    pub terms: Terms,
    /// The round, from 0.
    pub round: u64,
    /// The weights to begin from, in the manifest's order, flat.
    pub weights: Vec<f32>,
}

/// What a client answers. Where the server adds the noise, its contribution is private until then.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply {
    pub(super) run: RunId,
    pub(super) round: u64,
    pub(super) fingerprint: [u8; 32],
    pub(super) body: Body,
}

/// What is in a reply.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Body {
    /// What the client adds to the round.
    Contribution(Encoded),
    /// The node's policy does not grant what was asked, or its budget is spent. That follows from public settings, and says
    /// nothing about data.
    Refused,
}

#[derive(Serialize, Deserialize)]
struct RequestBody {
    terms: Terms,
    round: u64,
    weights: ByteBuf,
}

impl Request {
    /// As bytes.
    ///
    /// # Errors
    /// [`FederatedError::Unreadable`] where it cannot be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let weights: Vec<u8> = self.weights.iter().flat_map(|x| x.to_le_bytes()).collect();
        let (terms, weights) = (self.terms.clone(), ByteBuf::from(weights));
        sealed(REQUEST, VERSION, "request", &RequestBody { terms, round: self.round, weights })
    }

    /// From bytes.
    ///
    /// # Errors
    /// [`FederatedError`] for bytes that are truncated, corrupt, of another version, or whose weights are not those of
    /// their own manifest.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let RequestBody { terms, round, weights } = opened(REQUEST, VERSION, "request", bytes)?;
        let weights = numbers(&weights, terms.manifest().len())?;
        if !weights.iter().all(|weight| weight.is_finite()) {
            return Err(Error::Federated(FederatedError::NotFinite));
        }
        Ok(Self { terms, round, weights })
    }
}

impl Reply {
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        sealed(REPLY, VERSION, "reply", self)
    }

    /// From bytes of a stranger.
    ///
    /// # Errors
    /// [`FederatedError`] for bytes that are truncated, corrupt or of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        opened(REPLY, VERSION, "reply", bytes)
    }
}

/// A body under a header with a checksum.
pub(super) fn sealed(
    magic: &[u8; 8],
    version: u32,
    what: &'static str,
    body: &impl Serialize,
) -> Result<Vec<u8>> {
    let failed = |reason: String| Error::Federated(FederatedError::Unreadable { what, reason });
    let body = rmp_serde::to_vec(body).map_err(|error| failed(error.to_string()))?;
    Ok(sealed_file::seal(magic, version, &body))
}

/// The body of [`sealed`] bytes.
pub(super) fn opened<T: DeserializeOwned>(
    magic: &[u8; 8],
    version: u32,
    what: &'static str,
    bytes: &[u8],
) -> Result<T> {
    let broken = |broken| match broken {
        Broken::Version(found) => FederatedError::Version { what, found, supported: version },
        Broken::Reason(reason) => FederatedError::Unreadable { what, reason },
    };
    let body = sealed_file::open(magic, version, what, bytes).map_err(broken)?;
    let unreadable = |error: rmp_serde::decode::Error| FederatedError::Unreadable {
        what,
        reason: error.to_string(),
    };
    Ok(rmp_serde::from_slice(body).map_err(unreadable)?)
}
