//! What a run is: the same for server and clients, and checked once.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::central::{Central, Late, Schedule, Tier};
use super::encoding::Encoding;
use super::ids::{ClientId, RunId};
use super::kind::Kind;
use super::manifest::Manifest;
use super::server_optimizer::ServerOptimizer;
use super::unit::{Proposal, Protection, Unit};
use crate::clipping::{Clipping, ClippingState};
use crate::error::{Error, Result, SettingError};
use crate::privacy::{ClippingNorm, Delta, Epsilon, SamplingRate};

/// A reply may be longer than its numbers by so much: header, names, and what the encoding adds to each parameter.
const OVERHEAD: usize = 4096;

/// A federated run: what is trained, who may take part, and whom it protects ([`Unit`]).
#[derive(Debug, Clone, PartialEq)]
pub struct FederatedPlan {
    terms: Terms,
    population: Vec<ClientId>,
    aggregation: Aggregation,
    optimizer: ServerOptimizer,
    deadline: u64,
    /// The clipping group of each parameter.
    groups: Vec<usize>,
}

/// How the server makes one mean of many contributions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) enum Aggregation {
    /// It clips, sums, adds noise, divides and accounts.
    Central(Box<Central>),
    /// Contributions are private already, so it takes the mean of those that have come.
    Mean {
        /// The probability with which a client is asked.
        asked: SamplingRate,
        /// What is longer is scaled down.
        longest: ClippingNorm,
    },
}

/// What clients are told of a plan, and hold the server to: the same in every round of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredTerms")]
pub struct Terms {
    run: RunId,
    fingerprint: [u8; 32],
    manifest: Manifest,
    protection: Protection,
    kind: Kind,
    weighting: Weighting,
    encoding: Encoding,
    rounds: u64,
}

/// How much clients count. Never by their plain number of examples: one client with many would be the model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Weighting {
    /// All alike.
    #[default]
    Uniform,
    /// A client multiplies its contribution by min(its examples / `cap`, 1), before anything is clipped. The divisor stays public.
    Capped {
        /// From how many examples on a client counts in full.
        cap: u64,
    },
}

impl FederatedPlan {
    /// Starts a plan of a run that trains `manifest` over the registered clients and protects `unit`.
    ///
    /// The population is everybody who may be asked. It is public, and has to be: register clients by key, or one of them
    /// could be many.
    pub fn builder(
        run: RunId,
        manifest: Manifest,
        population: Vec<ClientId>,
        unit: impl Into<Unit>,
    ) -> FederatedPlanBuilder {
        FederatedPlanBuilder {
            run,
            manifest,
            population,
            unit: unit.into(),
            kind: Kind::Weights,
            weighting: Weighting::Uniform,
            optimizer: ServerOptimizer::Average { learning_rate: 1.0 },
            encoding: None,
            deadline: 3600,
            schedule: Schedule::Constant,
            late: None,
            tiers: Vec::new(),
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

    /// How the server moves the weights.
    pub const fn optimizer(&self) -> ServerOptimizer {
        self.optimizer
    }

    /// Seconds after which a round ends without those who have not answered.
    pub const fn deadline(&self) -> u64 {
        self.deadline
    }

    /// ε of the whole run: of a client under [`Unit::Client`], for those for whom it is largest; otherwise what is proposed to
    /// each client, whose own policy decides.
    ///
    /// # Errors
    /// When no accountant has a bound.
    pub fn epsilon(&self, delta: Delta) -> Result<Epsilon> {
        match (&self.aggregation, &self.terms.protection) {
            (Aggregation::Central(central), _) => {
                central.epsilon(&central.planned_factors(), delta)
            }
            (_, Protection::Record(proposal) | Protection::Local(proposal)) => {
                Ok(proposal.plan().epsilon(delta))
            }
            (Aggregation::Mean { .. }, Protection::Central) => Ok(Epsilon::INFINITY),
        }
    }

    /// How far one client moves the sum of a round in L2 norm, where the server adds the noise.
    pub fn sensitivity(&self, clipping: &ClippingState) -> Option<f64> {
        match &self.aggregation {
            Aggregation::Central(central) => Some(central.privacy().sensitivity(clipping)),
            Aggregation::Mean { .. } => None,
        }
    }

    pub(super) const fn aggregation(&self) -> &Aggregation {
        &self.aggregation
    }

    /// Where the server adds the noise.
    pub(super) fn central(&self) -> Option<&Central> {
        match &self.aggregation {
            Aggregation::Central(central) => Some(central),
            Aggregation::Mean { .. } => None,
        }
    }

    /// How the server bounds contributions.
    pub(super) fn clipping(&self) -> Clipping {
        match &self.aggregation {
            Aggregation::Central(central) => central.privacy().clipping().clone(),
            Aggregation::Mean { longest, .. } => Clipping::Flat { clipping_norm: *longest },
        }
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

    /// What clients send.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// How much clients count.
    pub const fn weighting(&self) -> Weighting {
        self.weighting
    }

    /// How contributions are written.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// How many rounds there are.
    pub const fn rounds(&self) -> u64 {
        self.rounds
    }

    pub(super) const fn protection(&self) -> &Protection {
        &self.protection
    }

    /// What all clients of a round share: public.
    pub(super) fn seed_of(&self, round: u64) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.fingerprint);
        hash.update(round.to_le_bytes());
        hash.finalize().into()
    }
}

/// Terms as a server sends them: a client takes none that could not have been made.
#[derive(Deserialize)]
struct StoredTerms {
    run: RunId,
    fingerprint: [u8; 32],
    manifest: Manifest,
    protection: Protection,
    kind: Kind,
    weighting: Weighting,
    encoding: Encoding,
    rounds: u64,
}

impl TryFrom<StoredTerms> for Terms {
    type Error = Error;

    fn try_from(stored: StoredTerms) -> Result<Self> {
        let StoredTerms { run, fingerprint, manifest, protection, .. } = stored;
        let StoredTerms { kind, weighting, encoding, rounds, .. } = stored;
        let terms =
            Self { run, fingerprint, manifest, protection, kind, weighting, encoding, rounds };
        terms.check()?;
        Ok(terms)
    }
}

impl Terms {
    /// # Errors
    /// [`Error::Setting`] for parts that are out of range, or do not fit each other.
    fn check(&self) -> Result<()> {
        self.protection.check()?;
        self.kind.check(&self.manifest)?;
        self.encoding.check(self.manifest.len())?;
        if self.weighting == (Weighting::Capped { cap: 0 }) {
            return Err(Error::setting("cap", 0, "at least 1"));
        }
        match (self.encoding, self.kind) {
            (Encoding::Bits, Kind::Weights | Kind::Predictions) => {
                let (first, second) = ("bits as encoding", "another kind than masks");
                Err(SettingError::Conflicting { first, second }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Collects the settings of a [`FederatedPlan`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build`"]
pub struct FederatedPlanBuilder {
    run: RunId,
    manifest: Manifest,
    population: Vec<ClientId>,
    unit: Unit,
    kind: Kind,
    weighting: Weighting,
    optimizer: ServerOptimizer,
    encoding: Option<Encoding>,
    deadline: u64,
    schedule: Schedule,
    late: Option<Late>,
    tiers: Vec<Tier>,
}

impl FederatedPlanBuilder {
    /// What clients send; weights unless set.
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// How much clients count; all alike unless set.
    pub fn weighting(mut self, weighting: Weighting) -> Self {
        self.weighting = weighting;
        self
    }

    /// How the server moves weights; FedAvg with a learning rate of 1 unless set. Other kinds than weights do not use it.
    pub fn optimizer(mut self, optimizer: ServerOptimizer) -> Self {
        self.optimizer = optimizer;
        self
    }

    /// How clients write contributions; unless set dense, and bits for masks.
    pub fn encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = Some(encoding);
        self
    }

    /// Seconds after which a round ends without those who have not answered; an hour unless set.
    pub fn deadline(mut self, seconds: u64) -> Self {
        self.deadline = seconds;
        self
    }

    /// How much noise each round gets, under [`Unit::Client`]; the plan's in each round unless set.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Lets replies count that come after their round, under [`Unit::Client`]; they are dropped unless set.
    pub fn late(mut self, late: Late) -> Self {
        self.late = Some(late);
        self
    }

    /// Clients with promises of their own, under [`Unit::Client`]. The plan's sampling rate is not used then.
    pub fn tiers(mut self, tiers: Vec<Tier>) -> Self {
        self.tiers = tiers;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Setting`] where a client occurs twice or there is none, where the privacy plan's expected batch size is not
    /// the expected cohort, for settings out of range or that exclude each other, and where the plan pays for a
    /// private selection, which a federated run does not make; the errors of clipping groups that do not cover the
    /// manifest, and of a target that no noise meets.
    pub fn build(mut self) -> Result<FederatedPlan> {
        self.population.sort_unstable();
        // Names are those of files, and on some disks case makes no difference: one client would be two.
        let lowercase = |client: &ClientId| client.as_str().to_ascii_lowercase();
        let mut names: Vec<String> = self.population.iter().map(lowercase).collect();
        names.sort_unstable();
        if let Some([client, _]) = names.array_windows().find(|[a, b]| a == b) {
            let requirement = "clients that occur once, and do not differ in case alone";
            return Err(Error::setting("population", client, requirement));
        }
        if self.population.is_empty() {
            return Err(Error::setting("population", 0, "at least one client"));
        }
        self.optimizer.check()?;
        let (aggregation, protection, rounds) = self.parts()?;
        let Self { run, manifest, population, kind, weighting, optimizer, deadline, .. } = self;
        let encoding = self.encoding.unwrap_or(match kind {
            Kind::Masks(_) => Encoding::Bits,
            Kind::Weights | Kind::Predictions => Encoding::Dense,
        });
        let settings = (kind, weighting, optimizer, encoding, deadline);
        let everything = (&run, &manifest, &population, &aggregation, &protection, settings);
        let bytes = rmp_serde::to_vec(&everything)
            .map_err(|error| Error::setting("federated plan", error, "serializable"))?;
        let fingerprint = Sha256::digest(&bytes).into();
        let terms =
            Terms { run, fingerprint, manifest, protection, kind, weighting, encoding, rounds };
        terms.check()?;
        let mut plan = FederatedPlan {
            terms,
            population,
            aggregation,
            optimizer,
            deadline,
            groups: Vec::new(),
        };
        plan.groups = plan.clipping().groups_of(&plan.terms.manifest.paths(), &[])?;
        Ok(plan)
    }

    fn parts(&mut self) -> Result<(Aggregation, Protection, u64)> {
        let schedule = std::mem::take(&mut self.schedule);
        let (late, tiers) = (self.late, std::mem::take(&mut self.tiers));
        let plain = schedule == Schedule::Constant && late.is_none() && tiers.is_empty();
        match self.unit.clone() {
            Unit::Client(privacy) => {
                let rounds = privacy.steps().value();
                let central = Central::new(privacy, schedule, late, tiers, &self.population)?;
                Ok((Aggregation::Central(Box::new(central)), Protection::Central, rounds))
            }
            Unit::Record(_) | Unit::Local(_) if !plain => {
                let (first, second) = ("schedule, late replies or tiers", "clients' own privacy");
                Err(SettingError::Conflicting { first, second }.into())
            }
            Unit::Record(proposal) => {
                Ok((mean(&proposal), Protection::Record(proposal.clone()), proposal.rounds()))
            }
            Unit::Local(proposal) => {
                let clipping = proposal.plan().clipping();
                clipping.groups_of(&self.manifest.paths(), &[])?;
                Ok((mean(&proposal), Protection::Local(proposal.clone()), proposal.rounds()))
            }
        }
    }
}

fn mean(proposal: &Proposal) -> Aggregation {
    Aggregation::Mean { asked: proposal.asked(), longest: proposal.longest() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_whose_encoding_does_not_fit_are_not_read() {
        let read = |encoding| {
            let run = RunId::new("run").expect("a name");
            let manifest = Manifest::new(vec![("w".into(), vec![4])], [0; 32]).expect("a manifest");
            let terms = Terms {
                run,
                fingerprint: [0; 32],
                manifest,
                protection: Protection::Central,
                kind: Kind::Weights,
                weighting: Weighting::Uniform,
                encoding,
                rounds: 1,
            };
            let bytes = rmp_serde::to_vec(&terms).expect("bytes");
            rmp_serde::from_slice::<Terms>(&bytes)
        };
        assert!(read(Encoding::Quantized { bits: 8 }).is_ok());
        for encoding in [
            Encoding::Quantized { bits: 0 },
            Encoding::Quantized { bits: 200 },
            Encoding::TopK { keep: 5 },
            Encoding::RandomK { keep: 0 },
            Encoding::Bits,
        ] {
            assert!(read(encoding).is_err(), "{encoding:?}");
        }
    }
}
