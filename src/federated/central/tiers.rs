//! Clients with promises of their own.

use serde::Serialize;

use super::super::ids::ClientId;
use crate::error::{Error, Result};
use crate::plan::PrivacyPlan;
use crate::privacy::{ClippingNorm, SamplingRate};
use crate::sampling::PoissonSampler;
use crate::seed::Seed;

/// Clients that are asked more rarely, or count for less, and so pay less.
///
/// Who is in which tier is public and must not depend on data.
#[derive(Debug, Clone, PartialEq)]
pub struct Tier {
    /// Its clients.
    pub clients: Vec<ClientId>,
    /// The probability with which each is asked in a round.
    pub sampling_rate: f64,
    /// The L2 norm to which each contribution is clipped: at most the plan's, in units of which noise is drawn.
    pub clipping_norm: f64,
}

/// All clients, each in one tier; empty where everybody is alike.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Tiers {
    /// Clients in order, rate, and share of the plan's clipping norm.
    tiers: Vec<(Vec<ClientId>, SamplingRate, f64)>,
}

impl Tiers {
    /// # Errors
    /// [`Error::Setting`] where a client is in no tier or in two, for rates or norms out of range, and where the plan's expected
    /// batch size is not the expected cohort.
    pub(super) fn new(
        privacy: &PrivacyPlan,
        tiers: Vec<Tier>,
        population: &[ClientId],
    ) -> Result<Self> {
        let largest = privacy.clipping().initial_state().clipping_norm().value();
        let checked = |tier: Tier| {
            let Tier { mut clients, sampling_rate, clipping_norm } = tier;
            clients.sort_unstable();
            let norm = ClippingNorm::new(clipping_norm)?.value();
            if norm > largest {
                let requirement = "at most the plan's";
                return Err(Error::setting("clipping norm of a tier", norm, requirement));
            }
            // Rounded down: what stays within the share stays within the norm.
            let share = if norm == largest { 1.0 } else { (norm / largest).next_down() };
            if share <= 0.0 {
                let requirement = "not so far below the plan's";
                return Err(Error::setting("clipping norm of a tier", norm, requirement));
            }
            Ok((clients, SamplingRate::new(sampling_rate)?, share))
        };
        let tiers: Vec<_> = tiers.into_iter().map(checked).collect::<Result<_>>()?;
        let expected: f64 = match &tiers[..] {
            [] => privacy.sampling_rate().value() * population.len() as f64,
            tiers => tiers.iter().map(|(of, rate, _)| rate.value() * of.len() as f64).sum(),
        };
        if population.is_empty() || (privacy.divisor() / expected - 1.0).abs() > 1e-9 {
            return Err(Error::setting(
                "expected_batch_size",
                privacy.divisor(),
                "the expected cohort: sampling rate times number of clients, added up over tiers",
            ));
        }
        let mut members: Vec<&ClientId> = tiers.iter().flat_map(|(of, ..)| of).collect();
        members.sort_unstable();
        if !tiers.is_empty() && !members.iter().copied().eq(population) {
            let requirement = "each client in one of them";
            return Err(Error::setting("tiers", tiers.len(), requirement));
        }
        Ok(Self { tiers })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    pub(super) fn share_of(&self, client: &ClientId) -> f64 {
        let tier = self.tiers.iter().find(|(of, ..)| of.binary_search(client).is_ok());
        tier.map_or(1.0, |(_, _, share)| *share)
    }

    /// Rate and share of each; the plan's where everybody is alike.
    pub(super) fn all(&self, plan: &PrivacyPlan) -> impl Iterator<Item = (SamplingRate, f64)> {
        let alike = self.is_empty().then(|| (plan.sampling_rate(), 1.0));
        alike.into_iter().chain(self.tiers.iter().map(|(_, rate, share)| (*rate, *share)))
    }

    /// The cohort of a round, in order: each client at its tier's rate.
    pub(super) fn sample(&self, seed: &Seed, round: u64) -> Result<Vec<ClientId>> {
        let mut cohort = Vec::new();
        for (number, (clients, rate, _)) in self.tiers.iter().enumerate() {
            let sampler = PoissonSampler::new(&seed.child(number as u64), *rate, clients.len())?;
            let sampled = sampler.sample(round).into_iter();
            cohort.extend(sampled.filter_map(|index| clients.get(index).cloned()));
        }
        cohort.sort_unstable();
        Ok(cohort)
    }

    pub(super) fn in_words(&self) -> String {
        let tier = |(clients, rate, share): &(Vec<ClientId>, SamplingRate, f64)| {
            let (clients, rate) = (clients.len(), rate.value());
            format!("Tier: {clients} clients, rate {rate}, {share} of the clipping norm.\n")
        };
        self.tiers.iter().map(tier).collect()
    }
}
