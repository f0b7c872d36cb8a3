//! Gaussian noise from the CSPRNG, added as in a step, on one thread: `cargo bench --bench noise`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

use burn_dp::noise::add_gaussian;
use burn_dp::seed::{Domain, Seed};

const LEN: usize = 1 << 24;

fn noise(c: &mut Criterion) {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    let seed = Seed::reproducible(1);
    let mut values = vec![0.0; LEN];
    let mut group = c.benchmark_group("gaussian noise, one core");
    group.sample_size(10).throughput(Throughput::Elements(LEN as u64));
    group.bench_function("add_gaussian", |b| {
        b.iter(|| {
            one.install(|| add_gaussian(&mut values, &seed, Domain::GradientNoise, 0, 0, 1.0))
        })
    });
    group.finish();
}

criterion_group!(benches, noise);
criterion_main!(benches);
