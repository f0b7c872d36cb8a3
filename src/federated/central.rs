//! Client-level privacy at a trusted server: how noise, rates and norms differ from round to round and from client to client, and
//! which events that makes. This is the one place where rounds become events.

mod late;
mod schedule;
mod tiers;

pub use late::Late;
pub(super) use late::LateState;
pub use schedule::{AdaptiveNoise, Schedule};
pub use tiers::Tier;

use serde::Serialize;

use self::tiers::Tiers;
use super::ids::ClientId;
use crate::clipping::{Clipping, ClippingState};
use crate::error::{Error, Result, SettingError};
use crate::noise::Noise;
use crate::plan::PrivacyPlan;
use crate::privacy::{
    Delta, DpEvent, Epsilon, Ledger, NoiseMultiplier, PrivacyAccountant, RenyiFilter, SamplingRate,
    Spending, calibrate_noise_multiplier,
};
use crate::sampling::Sampling;
use crate::seed::Seed;

/// The noise of each round is remembered.
const MOST_ROUNDS: u64 = 1_000_000;

type Accounted<T = Ledger> = burn_dp_accounting::Result<T>;

/// Everything that the guarantee of a run at a trusted server depends on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Central {
    privacy: PrivacyPlan,
    schedule: Schedule,
    late: Option<Late>,
    tiers: Tiers,
    /// What an adaptive schedule may spend.
    budget: Option<(Epsilon, Delta)>,
}

impl Central {
    /// Where the privacy plan has a target, its noise is found anew if rounds are not the plan's plain steps.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings out of range or that exclude each other; as calibration.
    pub(super) fn new(
        privacy: PrivacyPlan,
        schedule: Schedule,
        late: Option<Late>,
        tiers: Vec<Tier>,
        population: &[ClientId],
    ) -> Result<Self> {
        if privacy.selection().is_some() {
            return Err(conflict("selection", "federated run"));
        }
        let rounds = privacy.steps().value();
        if rounds > MOST_ROUNDS {
            return Err(Error::setting("steps", rounds, "at most a million rounds"));
        }
        let tiers = Tiers::new(&privacy, tiers, population)?;
        let adaptive_clipping = privacy.clipping().count_noise_std().is_some();
        if schedule != Schedule::Constant && adaptive_clipping {
            return Err(conflict("adaptive clipping", "schedule of noise"));
        }
        if !tiers.is_empty() && !matches!(privacy.clipping(), Clipping::Flat { .. }) {
            return Err(conflict("tiers", "clipping that is not flat"));
        }
        schedule.check(rounds)?;
        if let Some(late) = &late {
            late.check()?;
            if adaptive_clipping {
                // The count sees who is silent too, in every round, and not only as often as a client may contribute.
                return Err(conflict("adaptive clipping", "late replies"));
            }
        }
        let budget = match (&schedule, privacy.target(), late) {
            (Schedule::Adaptive(_), _, Some(_)) => {
                return Err(conflict("late replies", "adaptive schedule of noise"));
            }
            (Schedule::Adaptive(_), None, None) => {
                return Err(SettingError::Missing { name: "target" }.into());
            }
            (Schedule::Adaptive(_), target, None) => target,
            _ => None,
        };
        let central = Self { privacy, schedule, late, tiers, budget };
        match central.privacy.target() {
            Some(target) if !central.is_plain() && central.budget.is_none() => {
                central.calibrated(target)
            }
            _ => Ok(central),
        }
    }

    /// The plan without schedule, late replies and tiers.
    pub(super) const fn privacy(&self) -> &PrivacyPlan {
        &self.privacy
    }

    pub(super) const fn late(&self) -> Option<Late> {
        self.late
    }

    /// The public divisor of a round's noised sum.
    pub(super) const fn divisor(&self) -> f64 {
        self.privacy.divisor()
    }

    /// The clients of the round's cohort, in order.
    pub(super) fn sample(
        &self,
        seed: &Seed,
        population: &[ClientId],
        round: u64,
    ) -> Result<Vec<ClientId>> {
        if !self.tiers.is_empty() {
            return self.tiers.sample(seed, round);
        }
        let sampler = self.privacy.sampling().sampler(seed, population.len())?;
        let sampled = sampler.sample(round).into_iter();
        Ok(sampled.filter_map(|index| population.get(index).cloned()).collect())
    }

    /// The share of the clipping norm within which a client's contribution stays.
    pub(super) fn share_of(&self, client: &ClientId) -> f64 {
        self.tiers.share_of(client)
    }

    /// The noise on a round's sum, in the contributions' unit.
    pub(super) fn noise_std(&self, clipping: &ClippingState, factor: f64) -> f64 {
        self.privacy.noise_std(clipping) * factor
    }

    /// The factor of the first round's noise.
    pub(super) fn first_factor(&self) -> f64 {
        self.schedule.first()
    }

    /// The factor of the next round's noise, after this sum was released with noise of `std`. From releases only.
    pub(super) fn next_factor(&self, factors: &[f64], released: &[f64], std: f64) -> f64 {
        self.schedule.next(factors, released, std)
    }

    /// Whether there is budget for a round with noise of factor `next`, after rounds with these.
    ///
    /// # Errors
    /// As accounting.
    pub(super) fn affords(&self, factors: &[f64], next: f64) -> Result<bool> {
        let Some((epsilon, delta)) = self.budget else { return Ok(true) };
        let (noise, adjacency) = (self.privacy.noise(), self.privacy.adjacency());
        for tier in self.tiers.all(&self.privacy) {
            let planned = self.event(noise, tier, self.first_factor())?;
            let planned = planned.repeated(self.privacy.steps().value());
            let mut filter = RenyiFilter::for_planned(adjacency, epsilon, delta, &planned)?;
            let mut wanted = self.ledger(noise, tier, factors)?;
            wanted.record(self.event(noise, tier, next)?, 1)?;
            for (event, count) in wanted.entries() {
                if filter.try_spend(event, *count)? == Spending::Refused {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Whether a run can have released rounds with these factors, and `next` is that of the next.
    ///
    /// # Errors
    /// As accounting.
    pub(super) fn is_possible(&self, factors: &[f64], next: f64) -> Result<bool> {
        let possible = self.schedule.is_possible(factors, next);
        match factors.split_last() {
            Some((last, before)) if possible => self.affords(before, *last),
            _ => Ok(possible),
        }
    }

    /// What rounds with these factors have released about a client of each tier; of one where there are none.
    ///
    /// # Errors
    /// [`Error::Setting`] where there are more than 2^64 - 1 releases in all.
    pub(super) fn ledgers(&self, factors: &[f64]) -> Result<Vec<Ledger>> {
        let of = |tier| Ok(self.ledger(self.privacy.noise(), tier, factors)?);
        self.tiers.all(&self.privacy).map(of).collect()
    }

    /// ε of rounds with these factors, for the clients for whom it is largest. Under an adaptive schedule it is the budget: what was
    /// spent depends on what was released, and proves nothing by itself.
    ///
    /// # Errors
    /// When no accountant has a bound; [`Error::Setting`] for another δ than the budget's.
    pub(super) fn epsilon(&self, factors: &[f64], delta: Delta) -> Result<Epsilon> {
        if let Some((epsilon, of)) = self.budget {
            if delta < of {
                let requirement = "at least that of the budget";
                return Err(Error::setting("delta", delta, requirement));
            }
            return Ok(epsilon);
        }
        let mut largest = Epsilon::new(0.0)?;
        for ledger in self.ledgers(factors)? {
            let epsilon = ledger.epsilon(delta, self.privacy.adjacency())?;
            largest = if epsilon > largest { epsilon } else { largest };
        }
        Ok(largest)
    }

    /// The factors of all rounds, where they are known before.
    pub(super) fn planned_factors(&self) -> Vec<f64> {
        self.schedule.planned(self.privacy.steps().value())
    }

    /// How the rounds differ from plain steps, in words.
    pub(super) fn in_words(&self) -> String {
        let late = self.late.map(Late::in_words).unwrap_or_default();
        format!("{}{}{late}", self.schedule.in_words(), self.tiers.in_words())
    }

    /// Whether every round is a step of the privacy plan.
    fn is_plain(&self) -> bool {
        self.schedule == Schedule::Constant && self.late.is_none() && self.tiers.is_empty()
    }

    /// Rounds become events here. With late replies a client contributes to a bounded number of rounds, in whatever pattern; the
    /// costliest is that of the rounds with the least noise, and sampling amplifies nothing.
    fn ledger(&self, noise: Noise, tier: (SamplingRate, f64), factors: &[f64]) -> Accounted {
        let mut factors = factors.to_vec();
        if let Some(late) = self.late {
            factors.sort_unstable_by(f64::total_cmp);
            factors.truncate(usize::try_from(late.participations).unwrap_or(usize::MAX));
        }
        let mut ledger = self.privacy.earlier().clone();
        for factor in factors {
            ledger.record(self.event(noise, tier, factor)?, 1)?;
        }
        Ok(ledger)
    }

    fn event(
        &self,
        noise: Noise,
        (rate, share): (SamplingRate, f64),
        factor: f64,
    ) -> Accounted<DpEvent> {
        let release = noise.scaled(factor / share)?.event();
        Ok(match self.late {
            None if self.tiers.is_empty() => self.privacy.sampling().event(release),
            None => Sampling::Poisson { rate }.event(release),
            Some(_) => release,
        })
    }

    /// With the least noise at which every tier meets the target.
    fn calibrated(mut self, (epsilon, delta): (Epsilon, Delta)) -> Result<Self> {
        let factors = self.planned_factors();
        let accountant = || PrivacyAccountant::new(self.privacy.adjacency());
        let mut most = NoiseMultiplier::new(0.0)?;
        for tier in self.tiers.all(&self.privacy) {
            let run = |multiplier| {
                let noise = self.privacy.noise().with_multiplier(multiplier);
                Ok(self.ledger(noise, tier, &factors)?.event())
            };
            let least = calibrate_noise_multiplier(epsilon, delta, accountant, run)?;
            most = if least.value() > most.value() { least } else { most };
        }
        self.privacy = self.privacy.with_noise_multiplier(most)?;
        Ok(self)
    }
}

fn conflict(first: &'static str, second: &'static str) -> Error {
    SettingError::Conflicting { first, second }.into()
}
