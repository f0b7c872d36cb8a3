//! Events from plain numbers.

#![allow(dead_code, reason = "each test crate uses a part")]

use burn_dp_accounting::{
    Accountant, Delta, DpEvent, Epsilon, NoiseMultiplier, RunCount, SamplingRate, ZeroConcentration,
};

pub fn delta(value: f64) -> Delta {
    Delta::new(value).unwrap()
}

pub fn epsilon(value: f64) -> Epsilon {
    Epsilon::new(value).unwrap()
}

pub fn gaussian(z: f64) -> DpEvent {
    DpEvent::gaussian(NoiseMultiplier::new(z).unwrap())
}

pub fn laplace(z: f64) -> DpEvent {
    DpEvent::Laplace { noise_multiplier: NoiseMultiplier::new(z).unwrap() }
}

pub fn pure(each: f64) -> DpEvent {
    DpEvent::PureDp { epsilon: epsilon(each) }
}

pub fn zcdp(rho: f64) -> DpEvent {
    DpEvent::ZeroConcentrated { rho: ZeroConcentration::new(rho).unwrap() }
}

pub fn selection(each: f64, selections: u64) -> DpEvent {
    DpEvent::ExponentialSelection { epsilon: epsilon(each), selections }
}

pub fn poisson(rate: f64, event: DpEvent) -> DpEvent {
    DpEvent::PoissonSampled { rate: SamplingRate::new(rate).unwrap(), event: Box::new(event) }
}

/// One step of DP-SGD.
pub fn step(rate: f64, z: f64) -> DpEvent {
    poisson(rate, gaussian(z))
}

pub fn truncated(rate: f64, dataset_size: u64, largest_batch: u64, event: DpEvent) -> DpEvent {
    DpEvent::TruncatedPoissonSampled {
        rate: SamplingRate::new(rate).unwrap(),
        dataset_size,
        largest_batch,
        event: Box::new(event),
    }
}

pub fn fixed_size(dataset_size: u64, batch_size: u64, event: DpEvent) -> DpEvent {
    DpEvent::SampledWithoutReplacement { dataset_size, batch_size, event: Box::new(event) }
}

pub fn best_of(event: DpEvent, runs: RunCount) -> DpEvent {
    DpEvent::RepeatAndSelect { event: Box::new(event), runs }
}

/// The accountant with `count` runs of the event in it.
pub fn composed<A: Accountant>(mut accountant: A, event: &DpEvent, count: u64) -> A {
    accountant.compose(event, count).unwrap();
    accountant
}
