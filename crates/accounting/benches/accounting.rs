//! Time of privacy questions, on one core: `cargo bench -p burn-dp-accounting`.
//!
//! `benches/peers/accounting.py` asks other libraries the same and compares.

use criterion::{Criterion, criterion_group, criterion_main};

use burn_dp_accounting::{
    Accountant, Adjacency, Delta, DpEvent, Epsilon, NoiseMultiplier, PldAccountant,
    PrivacyAccountant, RdpAccountant, SamplingRate, calibrate_noise_multiplier,
};

fn step(rate: f64, z: f64) -> DpEvent {
    DpEvent::poisson_sampled_gaussian(
        SamplingRate::new(rate).unwrap(),
        NoiseMultiplier::new(z).unwrap(),
    )
}

/// ε of `count` steps at q = 0.01, σ = 1, δ = 1e-5, from an empty accountant.
fn epsilon<A: Accountant>(new: impl Fn() -> A, count: u64) -> Epsilon {
    let mut accountant = new();
    accountant.compose(&step(0.01, 1.0), count).unwrap();
    accountant.epsilon(Delta::new(1e-5).unwrap())
}

/// Settings where losses are rare and large, or steps very many: rate, σ, steps and δ.
const RARE: [(&str, f64, f64, u64, f64); 5] = [
    ("one_step", 0.00105, 1.0, 1, 1e-15),
    ("q1e-9_t1e3", 1e-9, 1.0, 1000, 1e-15),
    ("q1e-11_t5e5", 9.8e-11, 1.264, 491_846, 4.85e-11),
    ("q1e-8_t1e7", 1.3e-8, 0.386, 10_862_755, 7.5e-15),
    ("q0.02_t1e9", 0.02, 3.0, 1_000_000_000, 1e-6),
];

/// The noise for ε = 2 at δ = 1e-5, q = 0.01 and 1000 steps.
fn calibrate<A: Accountant>(new: impl Fn() -> A) -> NoiseMultiplier {
    let (target, delta) = (Epsilon::new(2.0).unwrap(), Delta::new(1e-5).unwrap());
    let run = |z: NoiseMultiplier| Ok(step(0.01, z.value()).repeated(1000));
    calibrate_noise_multiplier(target, delta, new, run).unwrap()
}

fn benches(c: &mut Criterion) {
    let renyi = || RdpAccountant::new(Adjacency::AddRemove);
    let pld = || PldAccountant::new(Adjacency::AddRemove);
    let best = || PrivacyAccountant::new(Adjacency::AddRemove);
    let mut group = c.benchmark_group("accounting");
    group.sample_size(10);
    group.bench_function("rdp_epsilon_1e4", |b| b.iter(|| epsilon(renyi, 10_000)));
    group.bench_function("pld_epsilon_1e4", |b| b.iter(|| epsilon(pld, 10_000)));
    group.bench_function("pld_epsilon_1e6", |b| b.iter(|| epsilon(pld, 1_000_000)));
    group.bench_function("best_epsilon_1e4", |b| b.iter(|| epsilon(best, 10_000)));
    group.bench_function("rdp_calibrate", |b| b.iter(|| calibrate(renyi)));
    group.bench_function("pld_calibrate", |b| b.iter(|| calibrate(pld)));
    group.bench_function("best_calibrate", |b| b.iter(|| calibrate(best)));
    for (name, rate, z, steps, delta) in RARE {
        let mut accountant = best();
        accountant.compose(&step(rate, z), steps).unwrap();
        let delta = Delta::new(delta).unwrap();
        group.bench_function(format!("rare_{name}_epsilon"), |b| {
            b.iter(|| accountant.epsilon(delta))
        });
        let bracket = || (accountant.lower_bound(delta), accountant.bound(delta));
        group.bench_function(format!("rare_{name}_bracket"), |b| b.iter(bracket));
        let one = Epsilon::new(1.0).unwrap();
        group.bench_function(format!("rare_{name}_delta"), |b| b.iter(|| accountant.delta(one)));
    }
    group.finish();
}

criterion_group!(accounting, benches);
criterion_main!(accounting);
