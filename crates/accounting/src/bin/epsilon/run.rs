//! The run that is asked about.

use burn_dp_accounting::Result;
use burn_dp_accounting::{
    Adjacency, Delta, DpEvent, GroupSize, NoiseMultiplier, SamplingRate, Steps,
};

use super::accountants::{Accountants, Epsilons};

/// A run of DP-SGD, and the data sets that its guarantee compares.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub rate: SamplingRate,
    pub noise_multiplier: NoiseMultiplier,
    pub steps: Steps,
    pub delta: Delta,
    pub adjacency: Adjacency,
    pub group: GroupSize,
}

impl Run {
    pub fn step(&self) -> DpEvent {
        DpEvent::poisson_sampled_gaussian(self.rate, self.noise_multiplier)
    }

    pub fn event(&self) -> DpEvent {
        self.step().repeated(self.steps.value())
    }

    pub fn epsilons(&self) -> Result<Epsilons> {
        Ok(Accountants::of(&self.event(), self.adjacency, self.group)?.epsilons(self.delta))
    }
}
