//! What the settings promise, as the plan that both ends hold each other to.

use anyhow::Result;
use burn_dp::federated::{ClientId, FederatedPlan, Manifest, RunId};
use burn_dp::privacy::{Clipping, PrivacyPlan};

use crate::settings::Settings;

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
    let privacy = PrivacyPlan::builder()
        .sampling_rate(rate)
        .expected_batch_size(rate * clients.len() as f64)
        .steps(settings.rounds)
        .clipping(Clipping::flat(settings.clipping_norm));
    let privacy = match settings.epsilon.0 {
        Some(epsilon) => privacy.target(epsilon, settings.delta),
        None => privacy.noise_multiplier(0.0),
    };
    Ok(FederatedPlan::builder(RunId::new("federated")?, manifest, clients, privacy.build()?)
        .optimizer(settings.optimizer())
        .encoding(settings.encoding)
        .deadline(3600)
        .build()?)
}
