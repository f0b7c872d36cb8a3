//! What a node grants: its operator's policy, and what has been spent on each data set.

use serde::{Deserialize, Serialize};

use super::ids::{DataSetId, RunId};
use super::unit::Proposal;
use crate::error::{Error, FederatedError, Result};
use crate::plan::PrivacyPlan;
use crate::privacy::{
    Adjacency, Delta, DpEvent, Epsilon, Ledger, NoiseMultiplier, RenyiFilter, SamplingRate,
    Spending,
};

/// What the operator of a node allows. Servers propose; a node takes the stricter of a proposal and this.
///
/// ```
/// use burn_dp::federated::NodePolicy;
///
/// let policy = NodePolicy::from_toml(
///     r#"
///     data_set = "ward-7-2026"        # what the budget belongs to; one name for one data set, in all runs
///     records = 4000                  # a public, rounded number of records: the divisor of their sums
///     epsilon = 3.0                   # the budget of the data set, all runs together
///     delta = 1e-6
///     largest_sampling_rate = 0.05    # optional
///     smallest_noise_multiplier = 0.5 # optional
///     runs = ["sentiment-1"]          # optional: no other run is answered
///     "#,
/// )?;
/// # Ok::<(), burn_dp::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodePolicy {
    /// The data set that is protected. Its budget is over all runs.
    pub data_set: DataSetId,
    /// A public number of records: the divisor of their sums, and what the node counts by where clients count by examples. Rounded,
    /// since the exact one may say whether somebody is among them.
    pub records: u64,
    /// ε of everything that ever leaves the node about the data set.
    pub epsilon: Epsilon,
    /// δ of the same.
    pub delta: Delta,
    /// What neighboring data sets are.
    #[serde(default)]
    pub adjacency: PolicyAdjacency,
    /// No record enters a step with a larger probability.
    #[serde(default)]
    pub largest_sampling_rate: Option<SamplingRate>,
    /// No step has less noise.
    #[serde(default)]
    pub smallest_noise_multiplier: Option<NoiseMultiplier>,
    /// The only runs that are answered, if there are any.
    #[serde(default)]
    pub runs: Option<Vec<RunId>>,
    /// Whether runs are answered in which the server is trusted with un-noised contributions; otherwise not.
    #[serde(default)]
    pub trust_server: bool,
}

/// What neighboring data sets are, as a policy says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyAdjacency {
    /// A record is in one of them only.
    #[default]
    AddRemove,
    /// One record is replaced by another.
    ReplaceOne,
}

impl NodePolicy {
    /// From the text of a TOML file.
    ///
    /// # Errors
    /// [`FederatedError::Unreadable`] for text that is no policy, with what is wrong, and for numbers out of range.
    pub fn from_toml(text: &str) -> Result<Self> {
        let wrong = |reason: String| {
            Error::Federated(FederatedError::Unreadable { what: "node's policy", reason })
        };
        let policy: Self = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if policy.records == 0 || !policy.epsilon.is_finite() {
            return Err(wrong("records are at least 1, and epsilon is finite".to_owned()));
        }
        Ok(policy)
    }

    /// # Errors
    /// [`FederatedError::RunNotAllowed`].
    pub(super) fn check_run(&self, run: &RunId) -> Result<()> {
        match &self.runs {
            Some(runs) if !runs.contains(run) => {
                Err(Error::Federated(FederatedError::RunNotAllowed { run: run.to_string() }))
            }
            _ => Ok(()),
        }
    }

    /// The plan of one round of training on records: the stricter of proposal and policy.
    ///
    /// # Errors
    /// [`Error::Setting`] for a proposal that does not fit, such as clipping that adapts so much that no noise is left.
    pub(super) fn records_plan(&self, proposal: &Proposal) -> Result<PrivacyPlan> {
        let plan = proposal.plan();
        let rate = plan.sampling_rate().value();
        let rate = self.largest_sampling_rate.map_or(rate, |most| rate.min(most.value()));
        PrivacyPlan::builder()
            .sampling_rate(rate)
            .expected_batch_size(rate * self.records as f64)
            .steps(proposal.steps_of_a_round())
            .clipping(plan.clipping().clone())
            .noise_multiplier(self.noise_multiplier(plan))
            .adjacency(self.adjacency.into())
            .build()
    }

    /// The plan of one round of local privacy.
    ///
    /// # Errors
    /// As [`records_plan`](Self::records_plan).
    pub(super) fn local_plan(&self, proposal: &Proposal) -> Result<PrivacyPlan> {
        let plan = proposal.plan();
        PrivacyPlan::builder()
            .sampling_rate(1.0)
            .expected_batch_size(1.0)
            .steps(1)
            .clipping(plan.clipping().clone())
            .noise_multiplier(self.noise_multiplier(plan))
            .adjacency(Adjacency::ReplaceOne)
            .build()
    }

    /// The event of a release that is made under replace-one, for this policy's adjacency: under add/remove the release moves by
    /// two contributions where one record can change all that a client sends.
    pub(super) fn local_event(&self, plan: &PrivacyPlan) -> Result<DpEvent> {
        match self.adjacency {
            PolicyAdjacency::ReplaceOne => Ok(plan.noise().event()),
            PolicyAdjacency::AddRemove => Ok(plan.noise().scaled(0.5)?.event()),
        }
    }

    fn noise_multiplier(&self, plan: &PrivacyPlan) -> f64 {
        let proposed = plan.noise_multiplier().value();
        self.smallest_noise_multiplier.map_or(proposed, |least| proposed.max(least.value()))
    }
}

impl From<PolicyAdjacency> for Adjacency {
    fn from(of: PolicyAdjacency) -> Self {
        match of {
            PolicyAdjacency::AddRemove => Self::AddRemove,
            PolicyAdjacency::ReplaceOne => Self::ReplaceOne,
        }
    }
}

/// What has been spent on a data set, over all runs. The server adapts what it asks to what it has seen, so adding up costs proves
/// nothing: every release has to be granted by a Rényi filter (Feldman & Zrnic 2021, arXiv 2008.11193; Lécuyer 2021, arXiv
/// 2103.01379), T5.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Spent {
    /// The one order of the filter, fixed before anything was spent.
    order: f64,
    /// What the events are about.
    adjacency: PolicyAdjacency,
    ledger: Ledger,
}

impl Spent {
    /// Nothing yet. The order is the best one for `planned`, which is public.
    ///
    /// # Errors
    /// [`Error::Accounting`] for a budget that pays for nothing.
    pub(super) fn nothing(policy: &NodePolicy, planned: &DpEvent) -> Result<Self> {
        let (epsilon, delta) = (policy.epsilon, policy.delta);
        let filter = RenyiFilter::for_planned(policy.adjacency.into(), epsilon, delta, planned)?;
        let (order, adjacency) = (filter.order(), policy.adjacency);
        Ok(Self { order, adjacency, ledger: Ledger::new() })
    }

    /// With `count` runs of `event`, if the policy's budget pays for them.
    ///
    /// # Errors
    /// [`FederatedError::BudgetSpent`] if it does not; [`Error::Setting`] where the policy's adjacency is not that of what was spent.
    pub(super) fn with(&self, policy: &NodePolicy, event: DpEvent, count: u64) -> Result<Self> {
        let mut after = self.clone();
        after.ledger.record(event, count)?;
        after.filter(policy)?;
        Ok(after)
    }

    /// The filter that has granted everything in the ledger.
    fn filter(&self, policy: &NodePolicy) -> Result<RenyiFilter> {
        let NodePolicy { epsilon, delta, adjacency, .. } = *policy;
        if adjacency != self.adjacency {
            let requirement = "that of what was spent on the data set before";
            return Err(Error::setting("adjacency", Adjacency::from(adjacency), requirement));
        }
        let mut filter = RenyiFilter::at_order(adjacency.into(), epsilon, delta, self.order)?;
        for (event, count) in self.ledger.entries() {
            if filter.try_spend(event, *count)? == Spending::Refused {
                let data_set = policy.data_set.to_string();
                let (epsilon, delta) = (epsilon.value(), delta.value());
                let spent = FederatedError::BudgetSpent { data_set, epsilon, delta };
                return Err(Error::Federated(spent));
            }
        }
        Ok(filter)
    }

    /// The share of the policy's budget that is spent, from 0 to 1.
    ///
    /// # Errors
    /// As [`with`](Self::with).
    pub(super) fn share(&self, policy: &NodePolicy) -> Result<f64> {
        let filter = self.filter(policy)?;
        Ok(filter.spent() / filter.budget())
    }

    pub(super) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }
}
