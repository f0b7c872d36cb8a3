//! Straight-line arithmetic over many numbers, in the processor's widest vectors and on all
//! threads.

use pulp::Arch;
use rayon::prelude::*;

/// The numbers that a thread takes at a time: enough to be worth the overhead, few enough to stay
/// in its cache.
const CHUNK: usize = 1 << 14;

/// Runs `work` on pieces of `numbers`. Each piece is a whole number of rows of length `row`.
pub(super) fn by_rows(numbers: &mut [f32], row: usize, work: impl Fn(&mut [f32]) + Sync) {
    numbers.par_chunks_mut(piece(row)).for_each(|numbers| Arch::new().dispatch(|| work(numbers)));
}

/// The same, together with the numbers at the same places of another slice of the same length.
pub(super) fn by_pairs(
    numbers: &mut [f32],
    others: &[f32],
    row: usize,
    work: impl Fn(&mut [f32], &[f32]) + Sync,
) {
    let pairs = numbers.par_chunks_mut(piece(row)).zip(others.par_chunks(piece(row)));
    pairs.for_each(|(numbers, others)| Arch::new().dispatch(|| work(numbers, others)));
}

fn piece(row: usize) -> usize {
    let row = row.max(1);
    row * (CHUNK / row).max(1)
}

/// e^x for x <= 0, and zero where the result is subnormal: 2^n·e^r with |r| <= ln(2) / 2 and a
/// polynomial (Cephes). NaN stays.
#[inline(always)]
pub(super) fn exp_of_negative(x: f32) -> f32 {
    const C: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    /// The smallest integer whose exponential is a normal number: e^-87.
    const SMALLEST: f32 = -87.0;
    /// Adding this rounds to an integer, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let power = if x < SMALLEST { SMALLEST } else { x };
    let shifted = power * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = power - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let polynomial = C.iter().fold(0.0, |sum, c| sum * r + c) * r * r + r + 1.0;
    let two_to_n = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let e = polynomial * two_to_n;
    if x < SMALLEST { 0.0 } else { e }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_the_last_digits_of_f32() {
        let worst = (0..=870_000).map(|i| {
            let x = i as f32 * -1e-4;
            let exact = f64::from(x).exp();
            (f64::from(exp_of_negative(x)) - exact).abs() / exact
        });
        let worst = worst.fold(0.0, f64::max);
        assert!(worst < 2e-7, "{worst:e}");
        assert_eq!([0.0, -0.0].map(exp_of_negative), [1.0, 1.0]);
        assert_eq!([-87.1, f32::MIN, f32::NEG_INFINITY].map(exp_of_negative), [0.0; 3]);
        assert!(exp_of_negative(f32::NAN).is_nan());
    }

    #[test]
    fn every_row_is_in_one_piece() {
        for row in [1, 7, 128, CHUNK - 1, CHUNK + 1, 3 * CHUNK] {
            let mut numbers = vec![0.0; row * 5];
            let others = numbers.clone();
            by_rows(&mut numbers, row, |piece| {
                assert!(piece.len().is_multiple_of(row));
                piece.iter_mut().for_each(|x| *x += 1.0);
            });
            by_pairs(&mut numbers, &others, row, |piece, others| {
                assert!(piece.len().is_multiple_of(row));
                assert_eq!(piece.len(), others.len());
                piece.iter_mut().for_each(|x| *x += 1.0);
            });
            assert_eq!(numbers, vec![2.0; row * 5]);
        }
    }
}
