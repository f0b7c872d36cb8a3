//! Gaussian noise: drawn on many threads, with one result.

use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::seed::{Domain, Seed, Stream};

/// The number of scalars for which one region of the keystream is used.
///
/// A scalar takes about 1.02 draws of 64 bits, so the 2^27 draws of a region last for 2^14 scalars (the
/// probability that they do not is below 2^-1,000,000), and the 2^40 regions of a stream for 2^54
/// scalars, more than an address space holds.
const BLOCK: usize = 1 << 14;

/// The number of scalars that are measured before they get their noise.
const PART: usize = 128;

/// Below this the noise would be rounded to the few smallest numbers of f32.
const SMALLEST_STD: f64 = 1e-30;

/// Above this the noise could overflow f32: the generator's largest |z| is below 14.
const LARGEST_STD: f64 = 1e37;

/// `len` scalars of N(0, `std`²), rounded to f32, as [`add_gaussian`] adds them to zeros.
///
/// They are a pure function of (seed, domain, step, tensor, len, std). A shorter `len` gives a
/// prefix. Never release two values with the noise of one (seed, domain, step, tensor).
///
/// # Errors
/// [`Error::Setting`] if `std` is outside the domain that [`add_gaussian`] states, or if `len`
/// scalars do not fit in memory.
pub fn gaussian(
    seed: &Seed,
    domain: Domain,
    step: u64,
    tensor: u64,
    len: usize,
    std: f64,
) -> Result<Vec<f32>> {
    let mut noise = Vec::new();
    noise
        .try_reserve_exact(len)
        .map_err(|_| Error::setting("len", len, "a number of scalars that fits in memory"))?;
    noise.resize(len, 0.0);
    add_gaussian(&mut noise, seed, domain, step, tensor, std)?;
    Ok(noise)
}

/// Adds independent noise N(0, `std`²) to each of `values`, which are tensor number `tensor` of a
/// step.
///
/// `std` has the unit of `values`: noise multiplier times sensitivity for the Gaussian mechanism
/// (Dwork and Roth 2014, appendix A; Abadi et al. 2016, algorithm 1). It must be between 1e-30 and
/// 1e37, so that f32 can hold the noise, or 0, which leaves `values` bit-identical. The noise is
/// always finite, below 14 `std`.
///
/// The normal numbers are drawn in f64 by the ziggurat method (Marsaglia and Tsang 2000; Doornik
/// 2005: 52 random bits, and 8 others for the layer). The method is exact up to that resolution.
/// Noise and value are added in f64 and rounded to f32 once. Rounding a release is post-processing
/// and costs no privacy.
///
/// # What floating point leaves open
/// The guarantee holds for real arithmetic. The set of f64 that value plus noise can take depends
/// on the value, and an adversary who sees every bit of a release can learn from that (Mironov
/// 2012; Jin et al. 2022; Haney et al. 2022). The final rounding to f32 hides 29 bits of it, but
/// that is not a proof. The time that the ziggurat takes also depends on the noise. A mode that
/// closes this (integer grid and exact discrete Gaussian: Canonne, Kamath and Steinke 2020) is
/// future work.
///
/// # Errors
/// [`Error::Setting`] if `std` is neither 0 nor between 1e-30 and 1e37. `values` are then
/// unchanged.
pub fn add_gaussian(
    values: &mut [f32],
    seed: &Seed,
    domain: Domain,
    step: u64,
    tensor: u64,
    std: f64,
) -> Result<()> {
    add_gaussian_measuring(values, seed, domain, step, tensor, std, 0.0).map(|_| ())
}

/// `values` plus the noise of [`add_gaussian`], added in double precision and rounded to single
/// once.
///
/// Sums in double precision must not get noise that was rounded already. The grid of such noise is
/// coarser than theirs, so the lowest bits of the result would be those of the sum alone.
///
/// # Errors
/// As [`add_gaussian`].
pub(crate) fn noised(
    values: &[f64],
    seed: &Seed,
    domain: Domain,
    step: u64,
    tensor: u64,
    std: f64,
) -> Result<Vec<f32>> {
    if std == 0.0 {
        return Ok(values.iter().map(|value| *value as f32).collect());
    }
    check_std(std)?;
    let stream = seed.stream(domain, step, tensor);
    let block = |(number, block): (usize, &[f64])| -> Vec<f32> {
        let mut rng = stream.bulk(number);
        let noised = block.iter().map(|value| {
            let z: f64 = StandardNormal.sample(&mut rng);
            (value + std * z) as f32
        });
        noised.collect()
    };
    let blocks: Vec<Vec<f32>> = values.par_chunks(BLOCK).enumerate().map(block).collect();
    Ok(blocks.concat())
}

/// [`add_gaussian`], which also returns Σ (`scale` · value)² of the original values, accurate to a
/// few digits. A scale that single precision cannot hold counts as less.
pub(crate) fn add_gaussian_measuring(
    values: &mut [f32],
    seed: &Seed,
    domain: Domain,
    step: u64,
    tensor: u64,
    std: f64,
    scale: f64,
) -> Result<f64> {
    let scale = scale.min(f64::from(f32::MAX)) as f32;
    if std == 0.0 {
        let squares =
            |block: &[f32]| block.chunks(PART).map(|part| squares(part, scale)).sum::<f64>();
        return Ok(values.par_chunks(BLOCK).map(squares).sum());
    }
    check_std(std)?;
    let stream = seed.stream(domain, step, tensor);
    let block = |(number, block)| add_block(block, &stream, number, std, scale);
    if values.len() <= BLOCK {
        // For a small tensor, handing one block to the thread pool would cost more than its noise.
        return Ok(block((0, values)));
    }
    Ok(values.par_chunks_mut(BLOCK).enumerate().map(block).sum())
}

/// Whether single precision can hold noise that is not zero.
fn check_std(std: f64) -> Result<()> {
    match (SMALLEST_STD..=LARGEST_STD).contains(&std) {
        true => Ok(()),
        false => Err(Error::setting("std", std, "0, or between 1e-30 and 1e37")),
    }
}

/// The noise of block `number` starts at a region of its own, so threads need no common order.
/// Returns the squares of the original values.
fn add_block(block: &mut [f32], stream: &Stream, number: usize, std: f64, scale: f32) -> f64 {
    let mut rng = stream.bulk(number);
    let mut total = 0.0;
    // The parts are so short that drawing for one leaves time to fetch the next.
    for part in block.chunks_mut(PART) {
        total += squares(part, scale);
        for value in part {
            let z: f64 = StandardNormal.sample(&mut rng);
            *value = (f64::from(*value) + std * z) as f32;
        }
    }
    total
}

/// Σ (`scale` · x)² of a part, in running sums that the compiler can vectorize.
fn squares(part: &[f32], scale: f32) -> f64 {
    let mut sums = [0.0f32; 16];
    let lanes = part.chunks_exact(sums.len());
    let rest: f32 = lanes.remainder().iter().map(|x| (x * scale) * (x * scale)).sum();
    for lane in lanes {
        for (sum, x) in sums.iter_mut().zip(lane) {
            *sum += (x * scale) * (x * scale);
        }
    }
    f64::from(rest) + sums.iter().map(|sum| f64::from(*sum)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::SettingError;

    fn noise(len: usize, std: f64) -> Result<Vec<f32>> {
        gaussian(&Seed::reproducible(5), Domain::GradientNoise, 1, 2, len, std)
    }

    #[test]
    fn zero_std_leaves_every_bit_unchanged() -> Result<()> {
        let before = [1.5, -0.0, 0.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE / 4.0];
        for zero in [0.0, -0.0] {
            let mut after = before;
            let seed = Seed::reproducible(5);
            add_gaussian(&mut after, &seed, Domain::GradientNoise, 0, 0, zero)?;
            assert_eq!(before.map(f32::to_bits), after.map(f32::to_bits));
            assert_eq!(noise(3, zero)?, [0.0; 3]);
        }
        Ok(())
    }

    #[test]
    fn a_std_that_is_no_std_is_refused_and_changes_nothing() {
        let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -1e-300, 1e-31, 1.1e37];
        for std in bad {
            let mut values = [1.0, 2.0];
            let seed = Seed::reproducible(5);
            let refused = add_gaussian(&mut values, &seed, Domain::CountNoise, 0, 0, std);
            assert!(
                matches!(refused, Err(Error::Setting(SettingError::Invalid { name: "std", .. }))),
                "{std}"
            );
            assert_eq!(values, [1.0, 2.0]);
            assert!(noise(2, std).is_err());
        }
    }

    #[test]
    fn a_length_beyond_memory_is_refused() {
        assert!(matches!(
            noise(usize::MAX, 1.0),
            Err(Error::Setting(SettingError::Invalid { name: "len", .. }))
        ));
    }

    #[test]
    fn noise_of_the_extreme_stds_is_finite_and_not_zero() -> Result<()> {
        for std in [SMALLEST_STD, LARGEST_STD] {
            let noise = noise(100_000, std)?;
            assert!(noise.iter().all(|z| z.is_finite() && f64::from(z.abs()) < 14.0 * std));
            assert!(noise.iter().filter(|z| **z == 0.0).count() <= 1);
        }
        Ok(())
    }

    #[test]
    fn no_scalars_need_no_noise() -> Result<()> {
        assert!(noise(0, 1.0)?.is_empty());
        Ok(())
    }

    #[test]
    fn what_is_measured_is_the_values_before_the_noise() -> Result<()> {
        for len in [0, 1, 15, 16, 17, BLOCK, 2 * BLOCK + 3] {
            for std in [0.0, 1.0] {
                let mut values: Vec<f32> = (0..len).map(|i| (i % 7) as f32 - 3.0).collect();
                let exact = values.iter().map(|x| (0.5 * f64::from(*x)).powi(2)).sum::<f64>();
                let seed = Seed::reproducible(5);
                let (domain, plain) = (Domain::GradientNoise, values.clone());
                let found = add_gaussian_measuring(&mut values, &seed, domain, 1, 2, std, 0.5)?;
                assert!((found - exact).abs() <= 1e-5 * exact, "{found} and {exact}");
                let mut alone = plain;
                add_gaussian(&mut alone, &seed, domain, 1, 2, std)?;
                assert_eq!(values, alone);
            }
        }
        Ok(())
    }

    #[test]
    fn noise_on_double_precision_is_rounded_with_the_sum_and_not_before() -> Result<()> {
        let seed = Seed::reproducible(5);
        let plain = noise(2 * BLOCK + 3, 1.0)?;
        let on = |value: f64| {
            let values = vec![value; plain.len()];
            noised(&values, &seed, Domain::GradientNoise, 1, 2, 1.0)
        };
        assert_eq!(on(0.0)?, plain, "the same draws");
        for value in [0.1, 1e-9, 3.0 + 1e-12] {
            for (sum, noise) in on(value)?.iter().zip(&plain) {
                let exact = value + f64::from(*noise);
                assert!((f64::from(*sum) - exact).abs() <= 3e-7 * (1.0 + exact.abs()));
            }
        }
        Ok(())
    }

    #[test]
    fn doubling_the_std_doubles_the_noise_exactly() -> Result<()> {
        let (once, twice) = (noise(BLOCK + 7, 0.75)?, noise(BLOCK + 7, 1.5)?);
        assert!(once.iter().zip(&twice).all(|(a, b)| 2.0 * a == *b));
        Ok(())
    }

    #[test]
    fn a_shorter_tensor_gets_a_prefix_whatever_the_blocks() -> Result<()> {
        let long = noise(3 * BLOCK + 5, 1.0)?;
        for len in [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            assert_eq!(noise(len, 1.0)?, long[..len], "len = {len}");
        }
        Ok(())
    }
}
