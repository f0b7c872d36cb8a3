//! What the settings promise, as the plan that both ends hold each other to.

use anyhow::{Context, Result};
use burn_dp::federated::{
    self, ClientId, DataSetId, FederatedPlan, Manifest, NodePolicy, PolicyAdjacency, Proposal,
    RunId,
};
use burn_dp::privacy::{
    Adjacency, Clipping, Delta, DpEvent, Epsilon, NoiseMultiplier, PrivacyPlan, PrivacyPlanBuilder,
    RdpAccountant, SamplingRate, calibrate_noise_multiplier,
};

use crate::settings::{Settings, Unit};

/// The plan of a run of these clients.
///
/// # Errors
/// For settings out of range.
pub fn plan(
    settings: &Settings,
    manifest: Manifest,
    clients: Vec<ClientId>,
) -> Result<FederatedPlan> {
    let rate = (settings.cohort / clients.len() as f64).min(1.0);
    let unit = match settings.unit {
        Unit::Client => client_level(settings, rate, clients.len())?.into(),
        Unit::Record => federated::Unit::Record(record_level(settings)?.participation(rate)?),
        Unit::Local => federated::Unit::Local(local(settings)?.participation(rate)?),
    };
    let plan = FederatedPlan::builder(RunId::new("federated")?, manifest, clients, unit)
        .kind(settings.kind())
        .optimizer(settings.optimizer())
        .schedule(settings.noise())
        .deadline(3600);
    let plan = match settings.encoding {
        Some(encoding) => plan.encoding(encoding),
        None => plan,
    };
    Ok(plan.build()?)
}

/// What a node's operator allows in the simulation: the run's budget, for the run. `records` is public, unless the settings have a
/// public number.
///
/// # Errors
/// For settings out of range.
pub fn policy(settings: &Settings, records: usize) -> Result<NodePolicy> {
    Ok(NodePolicy {
        data_set: DataSetId::new("simulated")?,
        records: settings.records.unwrap_or(records).max(1) as u64,
        epsilon: budget(settings)?,
        delta: Delta::new(settings.delta)?,
        adjacency: match settings.unit {
            Unit::Local => PolicyAdjacency::ReplaceOne,
            Unit::Client | Unit::Record => PolicyAdjacency::AddRemove,
        },
        largest_sampling_rate: None,
        smallest_noise_multiplier: None,
        runs: None,
        trust_server: false,
    })
}

/// The server adds the noise.
fn client_level(settings: &Settings, rate: f64, clients: usize) -> Result<PrivacyPlan> {
    let plan = PrivacyPlan::builder()
        .sampling_rate(rate)
        .expected_batch_size(rate * clients as f64)
        .steps(settings.rounds)
        .clipping(Clipping::flat(settings.clipping_norm));
    let plan = match settings.epsilon.0 {
        Some(epsilon) => plan.target(epsilon, settings.delta),
        None => plan.noise_multiplier(0.0),
    };
    Ok(plan.build()?)
}

/// Every client takes DP-SGD's steps on its own records.
fn record_level(settings: &Settings) -> Result<Proposal> {
    let rate = SamplingRate::new(settings.sampling_rate)?;
    let steps = settings.rounds * settings.local_steps as u64;
    let step = |noise| DpEvent::poisson_sampled_gaussian(rate, noise);
    let noise = noise(settings, Adjacency::AddRemove, steps, step)?;
    let plan = noised(settings, noise).sampling_rate(rate).steps(steps);
    Ok(Proposal::new(plan.build()?, settings.rounds)?)
}

/// Every client adds noise to what it sends.
fn local(settings: &Settings) -> Result<Proposal> {
    let noise = noise(settings, Adjacency::ReplaceOne, settings.rounds, DpEvent::gaussian)?;
    let plan = noised(settings, noise).sampling_rate(1.0).steps(settings.rounds);
    Ok(Proposal::new(plan.adjacency(Adjacency::ReplaceOne).build()?, settings.rounds)?)
}

/// The least noise with which a node's budget pays for all steps. Nodes ask a Rényi filter, so the calibration does too.
fn noise(
    settings: &Settings,
    adjacency: Adjacency,
    steps: u64,
    step: impl Fn(NoiseMultiplier) -> DpEvent,
) -> Result<NoiseMultiplier> {
    let (epsilon, delta) = (budget(settings)?, Delta::new(settings.delta)?);
    // A filter has one order only, chosen for the plan; what is left below the budget is for rounding.
    let epsilon = Epsilon::new(epsilon.value() * (1.0 - 1e-6))?;
    let accountant = || RdpAccountant::new(adjacency);
    let run = |noise| Ok(step(noise).repeated(steps));
    Ok(calibrate_noise_multiplier(epsilon, delta, accountant, run)?)
}

fn noised(settings: &Settings, noise: NoiseMultiplier) -> PrivacyPlanBuilder {
    PrivacyPlan::builder()
        .expected_batch_size(1.0)
        .clipping(Clipping::flat(settings.clipping_norm))
        .noise_multiplier(noise)
}

fn budget(settings: &Settings) -> Result<Epsilon> {
    let advice = "give --epsilon: clients that protect themselves need a budget";
    Ok(Epsilon::new(settings.epsilon.0.context(advice)?)?)
}
