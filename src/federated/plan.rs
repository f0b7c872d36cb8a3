//! What a run is: the same for server and clients, and checked once.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::encoding::Encoding;
use super::ids::{ClientId, RunId};
use super::manifest::Manifest;
use super::server_optimizer::ServerOptimizer;
use crate::error::{Error, Result, SettingError};
use crate::plan::PrivacyPlan;

/// A reply may be longer than its numbers by so much: header, names, and what the encoding adds to each parameter.
const OVERHEAD: usize = 4096;

/// A federated run under client-level privacy.
///
/// Whom it protects: a *client*, with everything that it holds. The
/// [`PrivacyPlan`] is that of the server: its sampling rate is the probability with which a client is asked in a round, its
/// expected batch size the expected cohort, its steps are the rounds, its clipping norm bounds one client's update.
#[derive(Debug, Clone, PartialEq)]
pub struct FederatedPlan {
    terms: Terms,
    population: Vec<ClientId>,
    privacy: PrivacyPlan,
    optimizer: ServerOptimizer,
    deadline: u64,
    /// The clipping group of each parameter.
    groups: Vec<usize>,
}

/// What clients are told of a plan, and hold the server to: the same in every round of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredTerms")]
pub struct Terms {
    run: RunId,
    fingerprint: [u8; 32],
    manifest: Manifest,
    encoding: Encoding,
    rounds: u64,
}

impl FederatedPlan {
    /// Starts a plan of a run that trains `manifest` over the registered clients under `privacy`.
    ///
    /// The population is everybody who may be asked. It is public, and has to be: register clients by key, or one of them
    /// could be many.
    pub fn builder(
        run: RunId,
        manifest: Manifest,
        population: Vec<ClientId>,
        privacy: PrivacyPlan,
    ) -> FederatedPlanBuilder {
        FederatedPlanBuilder {
            run,
            manifest,
            population,
            privacy,
            optimizer: ServerOptimizer::Average { learning_rate: 1.0 },
            encoding: Encoding::Dense,
            deadline: 3600,
        }
    }

    /// What clients are told.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Everybody who may be asked, in order.
    pub fn population(&self) -> &[ClientId] {
        &self.population
    }

    /// The server's privacy plan.
    pub const fn privacy(&self) -> &PrivacyPlan {
        &self.privacy
    }

    /// How the server moves the weights.
    pub const fn optimizer(&self) -> ServerOptimizer {
        self.optimizer
    }

    /// Seconds after which a round ends without those who have not answered.
    pub const fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Length and clipping group of each parameter.
    pub(super) fn tensors(&self) -> Vec<(usize, usize)> {
        self.terms.manifest.lengths().zip(self.groups.iter().copied()).collect()
    }

    /// No honest reply is longer, in bytes.
    pub fn longest_reply(&self) -> usize {
        let manifest = &self.terms.manifest;
        OVERHEAD
            .saturating_add(manifest.len().saturating_mul(10))
            .saturating_add(16 * manifest.tensors().len())
    }
}

impl Terms {
    /// The run.
    pub const fn run(&self) -> &RunId {
        &self.run
    }

    /// SHA-256 over the whole plan.
    pub const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// What is trained.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How updates are written.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// How many rounds there are.
    pub const fn rounds(&self) -> u64 {
        self.rounds
    }

    /// What all clients of a round share: public.
    pub(super) fn seed_of(&self, round: u64) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.fingerprint);
        hash.update(round.to_le_bytes());
        hash.finalize().into()
    }
}

/// Terms as a server sends them: a client takes none whose encoding does not fit their manifest.
#[derive(Deserialize)]
struct StoredTerms {
    run: RunId,
    fingerprint: [u8; 32],
    manifest: Manifest,
    encoding: Encoding,
    rounds: u64,
}

impl TryFrom<StoredTerms> for Terms {
    type Error = Error;

    fn try_from(stored: StoredTerms) -> Result<Self> {
        let StoredTerms { run, fingerprint, manifest, encoding, rounds } = stored;
        encoding.check(manifest.len())?;
        Ok(Self { run, fingerprint, manifest, encoding, rounds })
    }
}

/// Collects the settings of a [`FederatedPlan`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct FederatedPlanBuilder {
    run: RunId,
    manifest: Manifest,
    population: Vec<ClientId>,
    privacy: PrivacyPlan,
    optimizer: ServerOptimizer,
    encoding: Encoding,
    deadline: u64,
}

impl FederatedPlanBuilder {
    /// How the server moves the weights; FedAvg with a learning rate of 1 unless set.
    pub fn optimizer(mut self, optimizer: ServerOptimizer) -> Self {
        self.optimizer = optimizer;
        self
    }

    /// How clients write updates; dense unless set.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Seconds after which a round ends without those who have not answered; an hour unless set.
    pub fn deadline(mut self, seconds: u64) -> Self {
        self.deadline = seconds;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`] where a client occurs twice or there is none, where the privacy plan's expected batch size is not
    /// its sampling rate times the number of clients, for an optimizer or encoding out of range, and where the plan pays for a
    /// private selection, which a federated run does not make; the errors of clipping groups that do not cover the
    /// manifest.
    pub fn build(self) -> Result<FederatedPlan> {
        let Self { run, manifest, mut population, privacy, optimizer, encoding, deadline } = self;
        population.sort_unstable();
        let twice = population.windows(2).find(|pair| pair[0] == pair[1]);
        if let Some([client, _]) = twice {
            return Err(Error::setting("population", client, "clients that occur once"));
        }
        let expected = privacy.sampling_rate().value() * population.len() as f64;
        if population.is_empty() || (privacy.divisor() / expected - 1.0).abs() > 1e-9 {
            return Err(Error::setting(
                "expected_batch_size",
                privacy.divisor(),
                "the sampling rate times the number of clients",
            ));
        }
        if privacy.selection().is_some() {
            let (first, second) = ("selection", "federated run");
            return Err(SettingError::Conflicting { first, second }.into());
        }
        optimizer.check()?;
        encoding.check(manifest.len())?;
        let groups = privacy.clipping().groups_of(&manifest.paths(), &[])?;
        let rounds = privacy.steps().value();
        let everything = (&run, &manifest, &population, &privacy, (optimizer, encoding, deadline));
        let bytes = rmp_serde::to_vec(&everything)
            .map_err(|error| Error::setting("federated plan", error, "serializable"))?;
        let fingerprint = Sha256::digest(&bytes).into();
        let terms = Terms { run, fingerprint, manifest, encoding, rounds };
        Ok(FederatedPlan { terms, population, privacy, optimizer, deadline, groups })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_whose_encoding_does_not_fit_are_not_read() {
        let read = |encoding| {
            let run = RunId::new("run").expect("a name");
            let manifest = Manifest::new(vec![("w".into(), vec![4])], [0; 32]).expect("a manifest");
            let terms = Terms { run, fingerprint: [0; 32], manifest, encoding, rounds: 1 };
            let bytes = rmp_serde::to_vec(&terms).expect("bytes");
            rmp_serde::from_slice::<Terms>(&bytes)
        };
        assert!(read(Encoding::Quantized { bits: 8 }).is_ok());
        for encoding in [
            Encoding::Quantized { bits: 0 },
            Encoding::Quantized { bits: 200 },
            Encoding::TopK { keep: 5 },
            Encoding::RandomK { keep: 0 },
        ] {
            assert!(read(encoding).is_err(), "{encoding:?}");
        }
    }
}
